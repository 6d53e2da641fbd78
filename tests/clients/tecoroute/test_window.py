"""Which answer belongs to which request."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.tecoroute.client.window import Pending, Window
from cnx.errors import TimedOut
from tests.helpers.tecoroute_service import epsnet


def window_of(*pending: Pending, **options: Any) -> Window:
    """Return a window with these requests on their way since the time 0."""
    window = Window(100, **options)
    for each in pending:
        window.add(each, 0.0)
    return window


def test_answer_by_message_id() -> None:
    """An answer belongs to the oldest request with its message id."""
    first, second, other = Pending(b"\x00\x01"), Pending(b"\x00\x01"), Pending(b"\x00\x02")
    window = window_of(other, first, second)
    assert [window.take(epsnet(1), 1.0) for _ in range(3)] == [first, second, None]
    assert window.take(epsnet(2), 1.0) is other


def test_answer_without_a_message_id() -> None:
    """An answer without one belongs to the oldest request without one."""
    first, second = Pending(), Pending()
    window = window_of(Pending(b"\x00\x01"), first, second)
    assert [window.take(b"x", 1.0) for _ in range(3)] == [first, second, None]


def test_oldest() -> None:
    """The oldest request of all can be had."""
    message, keepalive = Pending(b"\x00\x01"), Pending(keepalive=True)
    window = window_of(message, keepalive)
    assert [window.take_oldest() for _ in range(3)] == [message, keepalive, None]


def test_empty_answers() -> None:
    """An empty answer belongs to a keepalive, if there was one."""
    first, second = Pending(keepalive=True), Pending(keepalive=True)
    window = window_of(Pending(), first, second, Pending())
    assert [window.take_keepalive() for _ in range(3)] == [first, second, None]


def test_messages_lose_their_places() -> None:
    """A full window has room again when its requests have waited for long; one that is awaited stays."""
    window = Window(2)
    window.add(Pending(b"\x00\x01"), 0.0)
    window.add(Pending(b"\x00\x02", awaited=True), 1.0)
    assert window.next_expiry == 10.0
    assert not window.has_room(9.0)
    assert window.has_room(10.0)
    assert len(window) == 1
    assert window.next_expiry == math.inf


def test_keepalive_before_a_message_without_an_id() -> None:
    """As long as a keepalive may be answered, what has no id may be its answer; later it is not."""
    keepalive, message = Pending(keepalive=True), Pending()
    window = window_of(keepalive, message)
    assert window.take(b"x", 1.9) is keepalive
    assert window.keepalives_answered is True
    window = window_of(keepalive, message)
    assert window.take(b"x", 2.0) is message
    assert window.keepalives_answered is False


def test_service_that_does_not_answer_keepalives() -> None:
    """Where keepalives are known not to be answered, none takes the answer of a message."""
    message = Pending()
    window = window_of(Pending(keepalive=True), message, keepalives_answered=False)
    assert window.take(b"x", 0.1) is message


def test_late_answer_to_a_keepalive() -> None:
    """What comes without an id after a keepalive, and nothing else, is its answer, however late."""
    window = window_of(Pending(keepalive=True), keepalives_answered=False)
    taken = window.take(b"x", 100.0)
    assert taken is not None
    assert taken.keepalive
    assert window.keepalives_answered is True


def test_requests_that_expired_come_last() -> None:
    """An answer belongs to a request that still has its place, rather than to one with the same id that lost it."""
    lost, fresh = Pending(b"\x00\x01"), Pending(b"\x00\x01")
    window = window_of(lost)
    window.add(fresh, 9.0)
    assert window.take(epsnet(1), 11.0) is fresh
    assert len(window) == 0
    window = window_of(lost)
    assert window.take(epsnet(1), 11.0) is lost


def test_lost_answer_costs_one_more_request() -> None:
    """With one message id for all: after a request without an answer, the next one is in doubt, and later ones work."""
    first, second, third = (Pending(b"\x00\x01", awaited=True) for _ in range(3))
    window = window_of(first)
    given_up(window, first)
    window.add(second, 2.0)
    assert window.take(epsnet(1), 2.1) is first  # which cannot be told from a late one
    given_up(window, second)
    assert len(window) == 0
    window.add(third, 4.0)
    assert window.take(epsnet(1), 4.1) is third


def test_late_answer_costs_nothing() -> None:
    """With one message id for all: an answer that is only late leaves the next one to the next request."""
    first, second = (Pending(b"\x00\x01", awaited=True) for _ in range(2))
    window = window_of(first)
    given_up(window, first)
    window.add(second, 2.0)
    assert window.take(epsnet(1), 2.1) is first
    assert window.take(epsnet(1), 2.2) is second


def given_up(window: Window, pending: Pending) -> None:
    """Let nobody wait for an answer any more, at the time 2."""
    pending.error = TimedOut("no answer")
    window.give_up(pending, 2.0)


def test_repeated_requests() -> None:
    """Who repeats a message id after a second has given up the request before; the requests of others stay."""
    old, others, soon, again = (Pending(b"\x00\x01", asker=asker) for asker in "abaa")
    window = window_of(old, others)
    window.add(soon, 0.5)
    assert len(window) == 3
    window.add(again, 1.2)
    assert [window.take(epsnet(1), 1.3) for _ in range(4)] == [others, soon, again, None]


def test_discard() -> None:
    """A request that was not sent is forgotten; once is enough."""
    pending = Pending()
    window = window_of(pending)
    window.discard(pending)
    window.discard(pending)
    assert len(window) == 0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 20)), st.randoms())
def test_every_answer_finds_its_request(numbers: list[int], random: object) -> None:
    """In whatever order answers come, each finds a request with its message id until none is left."""
    window = window_of(*[Pending(epsnet(number)[:2]) for number in numbers])
    shuffled = list(numbers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    taken = [window.take(epsnet(number), 1.0) for number in shuffled]
    assert [pending and pending.identity for pending in taken] == [epsnet(number)[:2] for number in shuffled]
    assert len(window) == 0
