"""Turns at a shared line: one at a time, fair between keys, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cnx.clients.chiller.client.turns import Turn, Turns
from cnx.errors import TimedOut

TIMEOUT = 10.0


@contextmanager
def turn(turns: Turns, key: int, timeout: float = TIMEOUT) -> Iterator[None]:
    """Have a turn."""
    mine = Turn(key)
    try:
        if not turns.claim(mine):
            turns.wait(mine, timeout)
        yield
    finally:
        mine.over = True
        turns.pass_on()


class Queue:
    """Threads that wait for their turn one after the other, and then note their key."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.order: list[int] = []
        self._threads: list[threading.Thread] = []

    def add(self, key: int) -> None:
        """Let one more thread wait."""
        thread = threading.Thread(target=self._take, args=(key,))
        self._threads.append(thread)
        waiting = len(self._turns._waiting)
        thread.start()
        while len(self._turns._waiting) == waiting and thread.is_alive():
            thread.join(0.001)

    def join(self) -> list[int]:
        """Return the keys in the order in which they were served."""
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        return self.order

    def _take(self, key: int) -> None:
        with turn(self._turns, key):
            self.order.append(key)


def test_first_come_first_served() -> None:
    """For one key the order is that of asking."""
    turns = Turns()
    queue = Queue(turns)
    with turn(turns, 1):
        for key in (2, 3, 4):
            queue.add(key)
    assert queue.join() == [2, 3, 4]


def test_keys_take_turns() -> None:
    """Many threads of one key do not keep away another key that asked later."""
    turns = Turns()
    queue = Queue(turns)
    with turn(turns, 1):
        for key in (1, 1, 1, 5, 5, 7):
            queue.add(key)
    assert queue.join() == [5, 7, 1, 5, 1, 1]


def test_only_one_at_a_time() -> None:
    """However many threads ask, one has the turn."""
    turns, inside, served = Turns(), threading.Lock(), Counter[int]()

    def work(key: int) -> None:
        for _ in range(300):
            with turn(turns, key):
                assert inside.acquire(blocking=False)
                served[key] += 1
                inside.release()

    threads = [threading.Thread(target=work, args=(key,)) for key in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert served == dict.fromkeys(range(8), 300)


def test_waiting_ends() -> None:
    """Who waits too long gives up, and the turn goes on to the next."""
    turns = Turns()
    errors: list[TimedOut] = []

    def wait() -> None:
        try:
            with turn(turns, 2, 0.01):
                raise AssertionError
        except TimedOut as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    with turn(turns, 1):
        thread.start()
        thread.join(TIMEOUT)
    assert len(errors) == 1
    with turn(turns, 2, 0.0):
        pass


def test_no_turn_within_a_turn() -> None:
    """A thread that has the turn cannot ask for it again."""
    turns = Turns()
    with turn(turns, 1), pytest.raises(RuntimeError, match="handler"), turn(turns, 1):
        raise AssertionError
    with turn(turns, 1, 0.0):
        pass


def test_turn_ends_with_an_error() -> None:
    """An exception gives the turn back."""
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turn(turns, 1):
        raise ZeroDivisionError
    with turn(turns, 2, 0.0):
        pass
