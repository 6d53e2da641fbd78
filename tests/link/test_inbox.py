"""The inbox of a link, against the simplest thing that could be one."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.link.inbox import Inbox
from cnx.threads.locks import Lock

PUT = st.tuples(st.just("put"), st.binary(min_size=1, max_size=6), st.booleans())


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(PUT, st.tuples(st.just("take"), st.integers(1, 8)), st.tuples(st.just("take_unemitted")))))
def test_stream_is_bounded_by_what_was_emitted(steps: list[Any]) -> None:
    """Bytes come out in order; only the oldest emitted ones are dropped, and all that are dropped are counted."""
    limit = 10
    inbox = Inbox(Lock(), limit)
    waiting, unemitted, dropped = b"", 0, 0
    for name, *details in steps:
        if name == "put":
            data, wanted = details
            if wanted and unemitted:
                wanted = False  # the link emits what is older first
            inbox.put(data, emitted=wanted, keep_all=False)
            waiting += data
            unemitted = 0 if wanted else unemitted + len(data)
            lost = len(waiting) - inbox.size
            assert lost == 0 or wanted
            assert not wanted or inbox.size <= max(limit, len(data))
            waiting, dropped = waiting[lost:], dropped + lost
        elif name == "take":
            got = inbox.look(lambda buffer, size=details[0]: buffer.take(size))
            assert got == waiting[: details[0]]
            waiting = waiting[details[0] :]
            unemitted = min(unemitted, len(waiting))
        else:
            assert b"".join(inbox.take_unemitted()) == waiting[len(waiting) - unemitted :]
            unemitted = 0
        assert inbox.size == len(waiting)
        assert inbox.dropped == dropped
    assert inbox.take_dropped() == dropped
    assert inbox.take_dropped() == 0


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=3), st.none())))
def test_datagrams_stay_whole(steps: list[bytes | None]) -> None:
    """Datagrams come out one by one; an empty one counts as one byte."""
    inbox, model = Inbox(Lock(), 1000), list[bytes]()
    for data in steps:
        if data is None:
            assert inbox.take_datagram() == (model.pop(0) if model else None)
        else:
            inbox.put(data, emitted=False, keep_all=False)
            model.append(data)
        assert inbox.size == sum(max(1, len(each)) for each in model)


def test_keeps_all_while_somebody_reads() -> None:
    """A reader that waits for more than the limit gets it."""
    inbox = Inbox(Lock(), 4)
    for _ in range(5):
        inbox.put(b"abc", emitted=True, keep_all=True)
    assert inbox.look(lambda buffer: buffer.take_all()) == b"abc" * 5
    assert inbox.dropped == 0


def test_forgets_what_was_emitted_but_nothing_else() -> None:
    """A request is not answered by older messages; bytes that no subscriber has got are kept."""
    inbox = Inbox(Lock(), 100)
    inbox.put(b"old", emitted=True, keep_all=False)
    inbox.forget_emitted()
    assert inbox.size == 0
    inbox.put(b"kept", emitted=False, keep_all=False)
    inbox.forget_emitted()
    assert inbox.look(lambda buffer: buffer.take_all()) == b"kept"


@pytest.mark.usefixtures("restless_threads")
def test_lines_are_taken_without_the_lock_while_others_look() -> None:
    """Two threads take cut lines without the lock, and one looks at the stream: nobody gets a line twice or half."""
    inbox = Inbox(Lock(), 1 << 20)
    lines = [b"%d" % number * (number % 7 + 1) + b"\n" for number in range(20_000)]
    inbox.put(b"".join(lines), emitted=False, keep_all=True)
    taken: list[list[bytes]] = [[], [], []]

    def take_cut_lines(into: list[bytes]) -> None:
        while inbox.size:
            try:
                into.append(inbox.lines.popleft())
            except IndexError:
                line = inbox.take_line()
                into += [] if line is None else [line]

    def take_from_the_stream(into: list[bytes]) -> None:
        while inbox.size:
            line = inbox.look(lambda buffer: buffer.take(buffer.find(b"\n") + 1))
            into += [line] if line else []
            inbox.take_unemitted()

    threads = [
        threading.Thread(target=target, args=(into,))
        for target, into in zip((take_cut_lines, take_cut_lines, take_from_the_stream), taken, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(taken[0] + taken[1] + taken[2]) == Counter(lines)
