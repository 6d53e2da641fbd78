"""What each fault makes of the bytes, decided by a seed, without a link."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.faults import (
    Fault,
    Plan,
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    garbage,
    huge_frame,
    merge,
    split,
    truncate,
)
from cnx.faults.fault import Ending, Step

CHUNKS = st.lists(st.binary(min_size=1, max_size=50), max_size=20)
STREAM_FAULTS = st.lists(
    st.sampled_from(
        [
            delay(0.1, 0.2),
            bandwidth(100),
            split(3, direction="both"),
            merge(3),
            corrupt(0.2, direction="both"),
            duplicate(0.4),
            drop(0.3, direction="in"),
            garbage(5, 0.5),
            truncate(40),
            huge_frame(100, after=1),
        ]
    ),
    max_size=5,
)


def steps(fault: Fault, *chunks: bytes) -> list[Step]:
    """Return what becomes of the chunks that a simulator writes."""
    pipe = Plan([fault]).enrol().outbound
    return [step for chunk in chunks for step in pipe.feed(chunk)]


def passed(course_steps: list[Step]) -> bytes:
    """Return the bytes among some steps."""
    return b"".join(step for step in course_steps if isinstance(step, bytes))


class TestSteps:
    """What each fault makes of the bytes, without a link."""

    def test_delay(self) -> None:
        """Waits stand before the chunks, longer by at most the jitter."""
        waits = steps(delay(1.0, jitter=0.5), *[b"x"] * 100)[::2]
        assert all(1.0 <= wait <= 1.5 for wait in waits)
        assert len(set(waits)) > 50
        assert steps(delay(1), b"a") == [1.0, b"a"]

    def test_bandwidth(self) -> None:
        """The waits add up to the time that the bytes take, and no piece takes long."""
        course = steps(bandwidth(1000), bytes(500))
        assert sum(step for step in course if isinstance(step, float)) == pytest.approx(0.5)
        assert passed(course) == bytes(500)
        assert len(course) == 20

    def test_split(self) -> None:
        """Pieces of the size, and a rest."""
        assert steps(split(), b"abc") == [b"a", b"b", b"c"]
        assert steps(split(2), b"abc", b"d") == [b"ab", b"c", b"d"]

    def test_merge(self) -> None:
        """Chunks come together; what is held is given away on demand."""
        pipe = Plan([merge(2, within=7.0), split(3)]).enrol().outbound
        assert pipe.holds is None
        assert list(pipe.feed(b"ab")) == []
        assert pipe.holds == 7.0
        assert list(pipe.feed(b"cd")) == [b"abc", b"d"]
        assert list(pipe.feed(b"efgh")) == []
        assert list(pipe.flush()) == [b"efg", b"h"]
        assert pipe.holds is None
        assert list(pipe.flush()) == []

    def test_corrupt(self) -> None:
        """One bit of each corrupted byte is turned round; none or all of the bytes are possible."""
        data = bytes(range(256)) * 40
        changed = [old ^ new for old, new in zip(data, passed(steps(corrupt(0.1), data)), strict=True)]
        wrong = [bits for bits in changed if bits]
        assert len(data) / 20 < len(wrong) < len(data) / 5
        assert {bits.bit_count() for bits in wrong} == {1}
        assert steps(corrupt(0.0), data) == [data]
        assert all(old != new for old, new in zip(data, passed(steps(corrupt(1.0), data)), strict=True))

    @settings(deadline=None, max_examples=50)
    @given(CHUNKS)
    def test_corrupt_does_not_depend_on_chunks(self, chunks: list[bytes]) -> None:
        """The same bytes are wrong however the stream is cut."""
        whole = b"".join(chunks)
        assert passed(steps(corrupt(0.1), *chunks)) == passed(steps(corrupt(0.1), whole))

    def test_duplicate_and_drop(self) -> None:
        """Chunks come twice, or never, about as often as said."""
        assert steps(duplicate(1.0), b"a", b"b") == [b"a", b"a", b"b", b"b"]
        assert steps(drop(1.0), b"a", b"b") == []
        assert 1100 < len(steps(duplicate(0.2), *[b"x"] * 1000)) < 1300
        assert 700 < len(steps(drop(0.2), *[b"x"] * 1000)) < 900

    def test_truncate(self) -> None:
        """So many bytes pass, then the link is closed."""
        assert steps(truncate(3), b"ab", b"cd") == [b"ab", b"c", Ending.CLOSE]
        assert steps(truncate(2), b"ab") == [b"ab", Ending.CLOSE]
        assert steps(truncate(0), b"ab") == [Ending.CLOSE]

    def test_garbage(self) -> None:
        """Garbage stands before the first chunk always, between the others by chance."""
        first, frame, *others = steps(garbage(4, probability=0.0), b"a", b"b")
        assert isinstance(first, bytes)
        assert (len(first), frame, others) == (4, b"a", [b"b"])
        assert [step for step in steps(garbage(4), b"a", b"b") if len(step) == 4] != []
        assert len(steps(garbage(4), b"a", b"b")) == 4

    def test_huge_frame(self) -> None:
        """A frame without an end comes once, where it was ordered."""
        course = steps(huge_frame(200_000, after=1), b"a", b"b", b"c")
        assert passed(course) == b"a" + b"x" * 200_000 + b"bc"

    def test_order(self) -> None:
        """Faults work on the bytes in the order they are given."""
        assert [len(s) for s in Plan([split(1), garbage(2)]).enrol().outbound.feed(b"ab")] == [2, 1, 2, 1]
        assert [len(s) for s in Plan([garbage(2), split(1)]).enrol().outbound.feed(b"ab")] == [1, 1, 1, 1]

    def test_directions(self) -> None:
        """A fault works in its own direction only."""
        for direction, (inbound, outbound) in {"in": (2, 1), "out": (1, 2), "both": (2, 2)}.items():
            course = Plan([split(1, direction=direction)]).enrol()
            assert len(list(course.inbound.feed(b"ab"))) == inbound
            assert len(list(course.outbound.feed(b"ab"))) == outbound

    @settings(deadline=None, max_examples=100)
    @given(STREAM_FAULTS, CHUNKS, st.integers())
    def test_the_seed_decides(self, values: list[Fault], chunks: list[bytes], seed: int) -> None:
        """The same faults, seed and chunks give the same steps and the same trace, link by link."""
        plans = [Plan(values, seed), Plan(values, seed)]
        courses = [[plan.enrol() for _ in range(3)] for plan in plans]
        results = [
            [
                [step for chunk in chunks for pipe in (course.inbound, course.outbound) for step in pipe.feed(chunk)]
                for course in links
            ]
            for links in courses
        ]
        assert results[0] == results[1]
        assert plans[0].trace == plans[1].trace

    def test_other_seed_other_chances(self) -> None:
        """Seeds, links and directions have chances of their own."""
        data = bytes(1000)
        noise = corrupt(0.1, direction="both")
        courses = [Plan([noise], 1).enrol(), Plan([noise], 2).enrol(), (plan := Plan([noise], 1)).enrol(), plan.enrol()]
        seen = [passed(list(pipe.feed(data))) for course in courses for pipe in (course.inbound, course.outbound)]
        assert seen[0:2] == seen[4:6]
        assert len(set(seen)) == 6

    def test_trace(self) -> None:
        """The trace tells what was decided, in words."""
        plan = Plan([delay(0.25), truncate(2)])
        list(plan.enrol().outbound.feed(b"abc"))
        assert [tuple(entry) for entry in plan.trace] == [
            (0, "out", "wait 0.250000 s"),
            (0, "out", "pass 2 bytes, crc 9e83486d"),
            (0, "out", "close"),
        ]
        assert plan.trace_of(0, "in") == []
