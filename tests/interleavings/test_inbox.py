"""The inbox, which one thread fills and others empty: all interleavings with at most two preemptions."""

from __future__ import annotations

from cnx.buffer import ReceiveBuffer
from cnx.link.inbox import Inbox
from tests.helpers.interleavings import pop_line
from tests.interleavings.conftest import Explore

INBOX = "cnx/link/inbox"


class Waiting:
    """An inbox in which some lines were cut already, and what each thread took."""

    def __init__(self) -> None:
        from cnx.link import inbox

        self.inbox = Inbox(inbox.Lock(), limit=10)
        self.inbox.put(b"1\n2\n3\n", emitted=False, keep_all=True)
        self.taken = [self.inbox.take_line()]
        self.emitted: list[bytes] = []

    def pop(self) -> None:
        """Take a line without the lock, as ``readline()`` does."""
        self.taken.append(pop_line(self.inbox))

    def take_all(self) -> None:
        """Look at the stream, for which the cut lines are put back."""
        self.taken.append(self.inbox.look(ReceiveBuffer.take_all))

    def take_two(self) -> None:
        self.taken.append(self.inbox.look(lambda buffer: buffer.take(2)))

    def put(self) -> None:
        self.inbox.put(b"4\n", emitted=True, keep_all=True)

    def put_much(self) -> None:
        self.inbox.put(b"45678\n", emitted=True, keep_all=False)
        self.inbox.put(b"9\n", emitted=True, keep_all=False)

    def emit(self) -> None:
        self.emitted = self.inbox.take_unemitted()

    def all(self) -> bytes:
        """What was taken and what is left, in the order of the numbers."""
        left = self.inbox.look(ReceiveBuffer.take_all)
        lines = b"".join(filter(None, [*self.taken, left])).splitlines(keepends=True)
        return b"".join(sorted(lines))


def test_lines_are_put_back_while_others_take_them(explore: Explore) -> None:
    """Every line is taken once or left, in order."""

    def holds(state: Waiting) -> bool:
        return state.all() == b"1\n2\n3\n"

    explore("putting lines back x taking a line", Waiting, Waiting.take_two, Waiting.pop, holds=holds, among=INBOX)


def test_what_arrives_meanwhile_comes_after(explore: Explore) -> None:
    """A piece that is added while lines are put back is behind them."""

    def holds(state: Waiting) -> bool:
        return state.all() == b"1\n2\n3\n4\n" and state.inbox.size == 0

    explore(
        "putting back x taking x arriving",
        Waiting,
        Waiting.take_two,
        Waiting.pop,
        Waiting.put,
        holds=holds,
        among=INBOX,
    )


def test_what_was_not_emitted_is_emitted_or_taken(explore: Explore) -> None:
    """What is emitted is what a reader had not taken before, in order."""

    def holds(state: Waiting) -> bool:
        return b"".join(state.emitted) in (b"2\n3\n", b"3\n") and state.all() == b"1\n2\n3\n"

    explore("emitting what waited x taking a line", Waiting, Waiting.emit, Waiting.pop, holds=holds, among=INBOX)


def test_what_is_dropped_is_counted(explore: Explore) -> None:
    """Each byte was taken, is left, or was counted as dropped; what is left is the newest."""

    def holds(state: Waiting) -> bool:
        left = state.all()
        return len(left) + state.inbox.dropped == 14 and left.endswith(b"9\n")

    explore("dropping x taking a line", Waiting, Waiting.put_much, Waiting.pop, holds=holds, among=INBOX)
