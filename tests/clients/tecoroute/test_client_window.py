"""Which answer belongs to which request."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.tecoroute.client_window import Pending, Window
from tests.clients.tecoroute.service import epsnet


def window_of(*pending: Pending) -> Window:
    """Return a window with these requests on their way."""
    window = Window(100)
    for each in pending:
        window.add(each)
    return window


def test_answer_by_message_id() -> None:
    """An answer belongs to the oldest request with its message id."""
    first, second, other = Pending(b"\x00\x01"), Pending(b"\x00\x01"), Pending(b"\x00\x02")
    window = window_of(other, first, second)
    assert [window.take(epsnet(1)), window.take(epsnet(1)), window.take(epsnet(1))] == [first, second, None]
    assert window.take(epsnet(2)) is other


def test_answer_without_a_message_id() -> None:
    """An answer without one belongs to the oldest request without one."""
    first, second = Pending(), Pending()
    window = window_of(Pending(b"\x00\x01"), first, second)
    assert [window.take(b"x"), window.take(b"x"), window.take(b"x")] == [first, second, None]


def test_keepalives_and_the_oldest() -> None:
    """The oldest keepalive and the oldest request of all can be had."""
    message, keepalive = Pending(b"\x00\x01"), Pending(keepalive=True)
    window = window_of(message, keepalive)
    assert window.take_keepalive() is keepalive
    assert window.take_keepalive() is None
    assert window.take_oldest() is message
    assert window.take_oldest() is None


def test_expiry() -> None:
    """Requests are forgotten at their time."""
    early, late = Pending(expires=1.0), Pending(expires=2.0)
    window = window_of(late, early)
    assert window.next_expiry == 1.0
    assert window.expire(1.0) == [early]
    assert window.expire(1.9) == []
    assert window.expire(2.0) == [late]
    assert window.next_expiry is None


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
    taken = [window.take(epsnet(number)) for number in shuffled]
    assert [pending and pending.identity for pending in taken] == [epsnet(number)[:2] for number in shuffled]
    assert len(window) == 0
