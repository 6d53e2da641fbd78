"""Emitting, subscribing and cancelling: all interleavings with at most two preemptions."""

from __future__ import annotations

from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import Signal, Subscription, subscribe
from tests.interleavings.conftest import Explore

SIGNALS = r"cnx/signals/\w+|pydispatch/dispatcher"


class Heard(Signal):
    DATA = "data"


class Sender:
    """A sender with one handler, and a list of what each handler got."""

    def __init__(self) -> None:
        self.emitter = Emitter(self, Heard.DATA, "data")
        self.first: list[str] = []
        self.second: list[str] = []
        self.late: list[str] = []  # what the first handler got after it was cancelled
        self.subscription: Subscription = subscribe(self, Heard.DATA, self._on_data)
        self._cancelled = False

    def _on_data(self, data: str) -> None:
        (self.late if self._cancelled else self.first).append(data)

    def emit(self) -> None:
        self.emitter.emit("1")

    def emit_two(self) -> None:
        self.emitter.emit_each(["1", "2"])

    def cancel(self) -> None:
        self.subscription.cancel()
        self._cancelled = True

    def subscribe(self) -> None:
        subscribe(self, Heard.DATA, self.second.append)


def test_a_cancelled_handler_gets_nothing_more(explore: Explore) -> None:
    """But for the one call that was in progress, it gets what was emitted before: a beginning, in order."""

    def holds(sender: Sender) -> bool:
        heard = sender.first + sender.late
        return heard == ["1", "2"][: len(heard)] and len(sender.late) <= 1 and not sender.emitter.has_subscribers()

    explore("emitting x cancelling", Sender, Sender.emit_two, Sender.cancel, holds=holds, among=SIGNALS)


def test_a_new_handler_does_not_disturb_the_others(explore: Explore) -> None:
    """It gets a rest of what is being emitted; nobody misses a piece, or gets one twice."""

    def holds(sender: Sender) -> bool:
        assert sender.first == ["1", "2"], sender.first
        assert sender.second in ([], ["2"], ["1", "2"]), sender.second
        sender.emit()
        return sender.second[-1:] == ["1"]

    explore("emitting x subscribing", Sender, Sender.emit_two, Sender.subscribe, holds=holds, among=SIGNALS)


def test_subscribing_and_cancelling_do_not_disturb_each_other(explore: Explore) -> None:
    """PyDispatcher's tables are right after both."""

    def holds(sender: Sender) -> bool:
        sender.emit()
        return sender.second == ["1"] and not sender.first and not sender.subscription.active

    explore("subscribing x cancelling", Sender, Sender.subscribe, Sender.cancel, holds=holds, among=SIGNALS)


def test_emitting_subscribing_and_cancelling_at_once(explore: Explore) -> None:
    """A change of the subscriptions is one step here, as a lock guards it."""

    def holds(sender: Sender) -> bool:
        assert sender.first in ([], ["1"]), sender.first
        before = list(sender.second)
        assert before in ([], ["1"]), before
        sender.emit()
        return sender.second == [*before, "1"] and len(sender.first) + len(sender.late) <= 1

    among = "cnx/signals/emitter"
    explore(
        "emitting x subscribing x cancelling",
        *(Sender, Sender.emit, Sender.subscribe, Sender.cancel),
        holds=holds,
        among=among,
    )
