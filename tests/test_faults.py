"""Faults: as values, as steps decided by a seed, and on real links."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx import faults as kinds
from cnx.faults import (
    KINDS,
    Fault,
    Plan,
    accept_close,
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    faults,
    garbage,
    half_open,
    hang_tls,
    huge_frame,
    merge,
    parse,
    refuse,
    reset,
    slow_accept,
    split,
    truncate,
    unplug,
    wrong_certificate,
)
from cnx.faults.fault import Ending, Step
from cnx.simulation import Session, Simulator
from tests.echo import Client, Echo, certificates, datagrams, dial, eventually, reachable, threads_of_cnx

SERVER_CONTEXT, CLIENT_CONTEXT = certificates()
LONG = 3600.0
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


class TestValues:
    """Faults as values and as texts."""

    @pytest.mark.parametrize("name", sorted(KINDS))
    def test_round_trip_of_the_text(self, name: str) -> None:
        """Every fault has a text, which gives the same value; the bare name gives the defaults."""
        assert parse(name) == KINDS[name]() == parse(str(KINDS[name]()))

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("delay=0.05,jitter=0.02", delay(0.05, jitter=0.02)),
            ("delay,jitter=1,direction=both", delay(jitter=1.0, direction="both")),
            (" split = 2 , direction = in ", split(2, direction="in")),
            ("half_open=3", half_open(after=3.0)),
            ("unplug=1,seconds=2", unplug(1.0, 2.0)),
            ("corrupt=1e-3", corrupt(0.001)),
        ],
    )
    def test_texts(self, text: str, fault: Fault) -> None:
        """A text names the fault, perhaps its first option, and others."""
        assert parse(text) == fault == parse(str(fault))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "unknown fault ''"),
            ("deley=1", "there are accept_close, .*delay"),
            ("delay=x", "seconds must be a number, not 'x'"),
            ("split=1.5", "size must be a number"),
            ("delay=1,speed=2", "no option 'speed'.* delay has seconds, jitter, direction"),
            ("delay=1,seconds=2", "twice"),
            ("delay=-1", "seconds of delay is from 0"),
            ("drop=2", "probability of drop is from 0 to 1"),
            ("split=0", "size of split is from 1"),
            ("split,direction=up", "in, out or both"),
            ("wrong_certificate=x", "unknown fault"),
        ],
    )
    def test_bad_texts(self, text: str, message: str) -> None:
        """The error for a bad text says what is wrong and what would be right."""
        with pytest.raises(ValueError, match=message):
            parse(text)

    def test_bad_options(self) -> None:
        """Options of the wrong type or out of range are refused when the value is made."""
        for wrong in ("1", None, True):
            with pytest.raises(TypeError, match="seconds of delay is a number"):
                delay(wrong)
        with pytest.raises(TypeError, match="whole number"):
            split(1.5)
        with pytest.raises(ValueError, match="nan"):
            delay(float("nan"))

    def test_frozen(self) -> None:
        """Faults are values: equal, hashable, not changeable."""
        assert len({delay(1.0), delay(1.0), delay(2.0)}) == 2
        with pytest.raises(dataclasses.FrozenInstanceError):
            delay(1.0).seconds = 2.0

    def test_everything_is_public(self) -> None:
        """Every fault with a text can be imported from the package."""
        assert set(KINDS) <= set(kinds.__all__)

    def test_only_faults(self) -> None:
        """A plan of other things is refused."""
        with pytest.raises(TypeError, match="not a fault: 'delay'"):
            Plan(["delay"])


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


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A running simulator with a TCP port."""
    with Echo() as simulator:
        simulator.listen_tcp()
        yield simulator


@pytest.fixture
def client(echo: Echo) -> Iterator[Client]:
    """A client that has been served once."""
    with dial(echo.urls[0]) as client:
        assert answered(client)
        yield client


def answered(client: Client, data: bytes = b"ping") -> bool:
    """Tell whether the simulator sends back what it is sent."""
    client.send(data)
    return client.receive_exactly(len(data)) == data


class TestBytesOnLinks:
    """Faults of the bytes on a real link."""

    def test_only_inside_the_block(self, echo: Echo, client: Client) -> None:
        """A link that is open gets the faults at the start of the block and loses them at its end."""
        with faults(echo, duplicate(1.0)):
            client.send(b"a")
            assert client.receive_exactly(2) == b"aa"
        assert answered(client)

    def test_same_seed_same_bytes(self, echo: Echo) -> None:
        """Two runs with one seed are the same for the client and in the trace; a third one is not."""
        values = [corrupt(0.2), garbage(3, 0.5), split(4, direction="both"), delay(0.0001, jitter=0.001)]
        runs = []
        for seed in (5, 5, 6):
            assert eventually(lambda: not echo.sessions)
            with dial(echo.urls[0]) as client, faults(echo, *values, seed=seed) as plan:
                for number in range(10):
                    client.send(b"message %d" % number)
                    assert eventually(lambda number=number: len(plan.trace_of(0, "in")) == 3 * (number + 1))
                client.end()
                runs.append((client.receive_all(), plan.trace_of(0, "in"), plan.trace_of(0, "out")))
        assert runs[0] == runs[1]
        assert runs[0][0] != runs[2][0]

    def test_split(self, echo: Echo, client: Client) -> None:
        """What a client sends is read in single bytes."""
        with faults(echo, split(1, direction="in")) as plan:
            assert answered(client, b"abcd")
        assert len(plan.trace_of(0, "in")) == 4

    def test_merge_by_count(self, echo: Echo, client: Client) -> None:
        """A chunk waits for the next one."""
        with faults(echo, merge(2, within=LONG)):
            client.send(b"a")
            assert client.silent()
            client.send(b"b")
            assert client.receive_exactly(2) == b"ab"

    @pytest.mark.parametrize("direction", ["in", "out"])
    def test_merge_by_time(self, direction: str, echo: Echo, client: Client) -> None:
        """A chunk does not wait for ever."""
        with faults(echo, merge(1000, within=0.01, direction=direction)):
            assert answered(client, b"a")
            assert answered(client, b"b")

    @pytest.mark.parametrize("direction", ["in", "out"])
    def test_held_bytes_survive_the_block(self, direction: str, echo: Echo, client: Client) -> None:
        """What a fault holds back when it ends is passed on, before what comes later."""
        with faults(echo, merge(1000, within=LONG, direction=direction)) as plan:
            client.send(b"first ")
            assert eventually(lambda: plan.trace)
        client.send(b"second")
        assert client.receive_exactly(12) == b"first second"

    def test_all_that_was_held_is_lost(self, echo: Echo, client: Client) -> None:
        """When another fault loses what one held back, that is no end of the link."""
        with faults(echo, merge(1000, within=0.01, direction="in"), drop(1.0, direction="in")) as plan:
            client.send(b"lost")
            assert eventually(lambda: plan.trace)
            assert client.silent(0.05)
        assert answered(client)

    @pytest.mark.parametrize(
        "fault", [delay(LONG), delay(LONG, direction="in"), bandwidth(1, direction="both")], ids=str
    )
    def test_waits_end_with_the_block(self, fault: Fault, echo: Echo, client: Client) -> None:
        """What a fault delays is passed on at once when the fault is over."""
        with faults(echo, fault) as plan:
            client.send(b"delayed")
            assert eventually(lambda: plan.trace)
        assert client.receive_exactly(7) == b"delayed"

    def test_held_bytes_survive_the_end(self) -> None:
        """What a fault holds back when serve() returns is sent before the end."""

        class Brief(Simulator):
            def serve(self, session: Session) -> None:
                session.write(b"good")
                session.write(b"bye")

        with Brief() as simulator, faults(simulator, merge(1000, within=LONG)), dial(simulator.listen_tcp()) as client:
            assert client.receive_all() == b"goodbye"

    def test_truncate(self, echo: Echo, client: Client) -> None:
        """The link ends in the middle of a message."""
        with faults(echo, truncate(3)):
            client.send(b"abcdef")
            assert client.receive_all() == b"abc"

    def test_truncated_input(self, echo: Echo, client: Client) -> None:
        """The link ends in the middle of what the client sends."""
        with faults(echo, truncate(3, direction="in")):
            client.send(b"abcdef")
            assert client.receive_all() == b"abc"

    def test_drop(self, echo: Echo, client: Client) -> None:
        """What is lost is not sent later."""
        with faults(echo, drop(1.0)) as plan:
            client.send(b"lost")
            assert eventually(lambda: plan.trace_of(0, "out") == ["pass 0 bytes, crc 00000000"])
        assert answered(client)

    def test_huge_frame_and_bandwidth(self, echo: Echo, client: Client) -> None:
        """A huge frame arrives whole, also through a narrow line."""
        with faults(echo, huge_frame(100_000), bandwidth(2_000_000)):
            client.send(b"!")
            assert client.receive_exactly(100_001) == b"x" * 100_000 + b"!"

    def test_read_timeout_inside_a_delay(self) -> None:
        """A read that times out while a fault delays its bytes loses none of them."""

        class Impatient(Simulator):
            def serve(self, session: Session) -> None:
                misses = 0
                while True:
                    try:
                        data = session.read(timeout=0.01)
                    except TimeoutError:
                        misses += 1
                    else:
                        return session.write(data if misses else b"no time-out")

        slow = delay(0.3, direction="in")
        with Impatient() as simulator, faults(simulator, slow), dial(simulator.listen_tcp()) as client:
            client.send(b"kept")
            assert client.receive_all() == b"kept"

    def test_serial(self) -> None:
        """A serial line is garbled and split like any other link."""
        with Echo() as simulator, dial(simulator.listen_pty()) as client:
            with faults(simulator, corrupt(1.0), garbage(8), split(1)):
                client.send(b"abc")
                assert client.receive_exactly(11)[8:] != b"abc"
            assert answered(client)

    def test_datagrams(self) -> None:
        """Datagrams are lost, doubled and spoiled as a whole."""
        with Echo() as simulator, datagrams(simulator.listen_udp()) as sock:
            with faults(simulator, drop(1.0, direction="in")) as plan:
                sock.send(b"lost")
                assert eventually(lambda: plan.trace)
            sock.send(b"ab")
            assert sock.recv(10) == b"ba"
            with faults(simulator, duplicate(1.0), corrupt(1.0)):
                sock.send(b"ab")
                copies = [sock.recv(10), sock.recv(10)]
                assert all(len(copy) == 2 and copy != b"ba" for copy in copies)


class TestLinks:
    """Faults of whole links."""

    @pytest.mark.parametrize("times", [1, 3])
    def test_refuse(self, times: int, echo: Echo, client: Client) -> None:
        """So many new clients are reset, and the next one is served; one that is there already is not meant."""
        with faults(echo, refuse(times)) as plan:
            for _ in range(times):
                with pytest.raises(ConnectionError), dial(echo.urls[0]) as refused:
                    answered(refused)
            with dial(echo.urls[0]) as welcome:
                assert answered(welcome)
            assert answered(client)
        assert [entry.step for entry in plan.trace] == ["reset"] * times

    def test_accept_close(self, echo: Echo) -> None:
        """A client is accepted and sees the end at once."""
        with faults(echo, accept_close(2)):
            for _ in range(2):
                with dial(echo.urls[0]) as client:
                    assert client.receive() == b""
            with dial(echo.urls[0]) as client:
                assert answered(client)

    def test_slow_accept(self, echo: Echo) -> None:
        """A client is served after a while."""
        with faults(echo, slow_accept(0.05)) as plan, dial(echo.urls[0]) as client:
            assert answered(client)
        assert [entry.step for entry in plan.trace] == ["wait 0.050000 s"]

    def test_slow_accept_ends_with_the_block(self, echo: Echo) -> None:
        """A client that waits for service gets it when the fault is over."""
        with ExitStack() as stack:
            with faults(echo, slow_accept(LONG)) as plan:
                client = stack.enter_context(dial(echo.urls[0]))
                assert eventually(lambda: plan.trace)
            assert answered(client)

    def test_hang_tls(self) -> None:
        """A handshake gets no answer as long as the fault lasts; the next client is served."""
        with Echo() as simulator:
            url = simulator.listen_tcp(tls=SERVER_CONTEXT)
            parts = urlsplit(url)
            with faults(simulator, hang_tls()):
                sock = socket.create_connection((parts.hostname, parts.port), 0.2)
                with sock, pytest.raises(TimeoutError):
                    CLIENT_CONTEXT.wrap_socket(sock, server_hostname="localhost")
                with dial(url, CLIENT_CONTEXT) as client:
                    assert answered(client)

    def test_hang_tls_leaves_other_links_alone(self, echo: Echo) -> None:
        """A port without TLS is served as usual."""
        with faults(echo, hang_tls()), dial(echo.urls[0]) as client:
            assert answered(client)

    def test_wrong_certificate(self) -> None:
        """A client that verifies does not accept the other certificate, and accepts the right one afterwards."""
        stranger, _ = certificates()
        with Echo() as simulator:
            url = simulator.listen_tcp(tls=SERVER_CONTEXT)
            with faults(simulator, wrong_certificate(stranger)), pytest.raises(ssl.SSLCertVerificationError):
                dial(url, CLIENT_CONTEXT)
            with dial(url, CLIENT_CONTEXT) as client:
                assert answered(client)

    def test_wrong_name(self) -> None:
        """A certificate for another host is a wrong one too."""
        context, _ = certificates("elsewhere.example")
        assert "context" not in repr(wrong_certificate(context))

    @pytest.mark.parametrize("after", [0.0, 0.05])
    def test_reset(self, after: float, echo: Echo, client: Client) -> None:
        """Links that are open are reset, at once or after a while; so are those that come."""
        with faults(echo, reset(after)) as plan:
            with pytest.raises(ConnectionResetError):
                client.receive()
            with pytest.raises(ConnectionError), dial(echo.urls[0]) as late:
                late.receive()
        assert {entry.step for entry in plan.trace} == {"reset"}

    @pytest.mark.parametrize("after", [0.0, 0.05])
    def test_half_open(self, after: float, echo: Echo, client: Client) -> None:
        """The link stays and is silent; when the fault is over, all that was sent is answered."""
        with faults(echo, half_open(after)) as plan:
            assert eventually(lambda: plan.trace)
            client.send(b"anybody there?")
            assert client.silent()
        assert client.receive_exactly(14) == b"anybody there?"

    def test_half_open_holds_the_client_back(self, echo: Echo, client: Client) -> None:
        """A half-open link takes no bytes any more, once the buffers are full."""
        with faults(echo, half_open()):
            assert client.fills_up()
        assert client.receive_exactly(4)

    @pytest.mark.parametrize("way", ["return", "close", "reset", "write"])
    def test_half_open_survives_serve(self, way: str) -> None:
        """Whatever the simulator does, the link stays as long as the fault."""

        class Quitter(Simulator):
            def serve(self, session: Session) -> None:
                session.write(b"hello")
                assert eventually(lambda: plan.trace)
                if way == "write":
                    session.write(b"into the void")
                elif way != "return":
                    getattr(session, way)()

        with Quitter() as simulator:
            with faults(simulator, half_open(0.01)) as plan, dial(simulator.listen_tcp()) as client:
                assert client.receive() == b"hello"
                assert client.silent()
            assert eventually(lambda: not simulator.sessions)

    def test_unplug_a_serial_line(self) -> None:
        """The line hangs up and loses its name, and is there again under the same name."""
        with Echo() as simulator:
            url = simulator.listen_pty()
            with dial(url) as client:
                assert answered(client)
                with faults(simulator, unplug(0.01, seconds=0.2)):
                    assert client.hung_up()
                    assert eventually(lambda: not reachable(url))
                    assert eventually(lambda: reachable(url))
                    with dial(url) as again:
                        assert answered(again)

    def test_unplug_ports(self, echo: Echo, client: Client) -> None:
        """Ports refuse clients for a while; the end of the block is the end of the outage."""
        with faults(echo, unplug(seconds=LONG)):
            with pytest.raises(ConnectionResetError):
                client.receive()
            assert eventually(lambda: not reachable(echo.urls[0]))
        assert eventually(lambda: reachable(echo.urls[0]))

    def test_from_the_start(self) -> None:
        """Faults that are in force before the start work from the start."""
        simulator = Echo()
        url = simulator.listen_tcp()
        with faults(simulator, unplug(seconds=LONG)), simulator:
            assert eventually(lambda: not reachable(url))

    def test_one_plan_at_a_time(self, echo: Echo) -> None:
        """Faults inside faults are refused, and the outer ones stay."""
        with faults(echo, accept_close()):
            with pytest.raises(RuntimeError, match=r"accept_close=1.*at once"), faults(echo, reset()):
                pass
            with dial(echo.urls[0]) as client:
                assert client.receive() == b""

    def test_nothing_else_is_injected(self, echo: Echo) -> None:
        """A thing that is no fault is refused before anything changes."""
        with pytest.raises(TypeError), faults(echo, "reset"):
            pass
        with faults(echo), dial(echo.urls[0]) as client:
            assert answered(client)


class TestStop:
    """A stop ends every wait of every fault: nothing is left, at once, and no late thread is logged."""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", ["tcp", "tls", "serial"])
    @pytest.mark.parametrize(
        "fault",
        [
            delay(LONG),
            delay(LONG, direction="in"),
            bandwidth(1),
            merge(100, within=LONG),
            merge(100, within=LONG, direction="in"),
            huge_frame(1 << 26),
            half_open(),
        ],
        ids=str,
    )
    def test_in_the_bytes(self, fault: Fault, kind: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
        """While a fault delays, holds back or floods."""
        with Echo() as simulator:
            url = simulator.listen_pty() if kind == "serial" else simulator.listen_tcp(tls=context_of(kind))
            with dial(url, CLIENT_CONTEXT if kind == "tls" else None) as client:
                assert answered(client)
                with faults(simulator, fault) as plan:
                    client.send(b"ping")
                    assert eventually(lambda: plan.trace)
                    getattr(simulator, how)()
                    assert not threads_of_cnx()
        assert caplog.text == ""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", ["tcp", "tls"])
    @pytest.mark.parametrize("fault", [slow_accept(LONG), hang_tls()], ids=str)
    def test_at_arrival(self, fault: Fault, kind: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
        """While a client waits for service."""
        with Echo() as simulator, faults(simulator, fault), dial(simulator.listen_tcp(tls=context_of(kind))):
            assert eventually(lambda: simulator.sessions)
            getattr(simulator, how)()
            assert not threads_of_cnx()
        assert caplog.text == ""

    @pytest.mark.parametrize("fault", [reset(LONG), half_open(LONG), unplug(LONG)], ids=str)
    def test_before_its_time(self, fault: Fault, echo: Echo, client: Client) -> None:
        """While a fault is still to come."""
        with faults(echo, fault):
            assert answered(client)
            echo.stop()
            assert not threads_of_cnx()

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_while_unplugged(self, how: str, echo: Echo) -> None:
        """While the whole simulator is away; after a start it is there again."""
        echo.listen_pty()
        with faults(echo, unplug(seconds=LONG)):
            assert eventually(lambda: not any(map(reachable, echo.urls)))
            getattr(echo, how)()
            assert not threads_of_cnx()
        echo.start()
        assert all(map(reachable, echo.urls))


def context_of(kind: str) -> ssl.SSLContext | None:
    """Return what a port of that kind needs."""
    return SERVER_CONTEXT if kind == "tls" else None
