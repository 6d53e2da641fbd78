"""Tests of the outlet: the same receivers as PyDispatcher's ``send``, in the same order, only faster."""

from __future__ import annotations

import functools
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydispatch import dispatcher

from cnx.connections.connection import Connection
from cnx.connections.delivery import Delivery
from cnx.framing import LIMIT, FixedSize
from cnx.signals.emitter import Outlet
from cnx.signals.subscriptions import Signal, Subscription, emit, subscribe

PATIENCE = 10.0


class Happening(Signal):
    """Two signals; the outlet tells the first."""

    TOLD = "told"
    OTHER = "other"


class Sender:
    """Something with an outlet, which hears of changes as connections do."""

    def __init__(self) -> None:
        self.outlet = Outlet(self, Happening.TOLD, "data", refreshed=True)

    def _on_subscribers_changed(self) -> None:
        self.outlet.refresh()


class Deaf:
    """A sender that does not hear of changes."""


Log = list[tuple[int, Any]]


def plain(number: int, log: Log) -> Callable[..., Any]:
    """Return a handler that takes the argument alone."""
    return lambda data: log.append((number, data))


def defaults(number: int, log: Log) -> Callable[..., Any]:
    """Return a handler that takes more, but need not be given it."""
    return lambda data, extra=5: log.append((number, (data, extra)))


def about(number: int, log: Log) -> Callable[..., Any]:
    """Return a handler that wants to know whose signal it is."""
    return lambda sender, data, signal: log.append((number, (id(sender), data, signal)))


def everything(number: int, log: Log) -> Callable[..., Any]:
    """Return a handler that takes whatever there is."""
    return lambda **given: log.append((number, sorted(given)))


def nothing(number: int, log: Log) -> Callable[..., Any]:
    """Return a handler that takes nothing."""
    return lambda: log.append((number, None))


class Callback:
    """An object with two methods that are handlers; it is one itself."""

    def __init__(self, number: int, log: Log) -> None:
        self.number = number
        self.log = log

    def method(self, data: Any) -> None:
        """Take the argument alone."""
        self.log.append((self.number, data))

    def method_with_sender(self, data: Any, sender: Any = None) -> None:
        """Take more than the argument."""
        self.log.append((self.number, (data, id(sender))))

    def __call__(self, data: Any) -> None:
        """Be a handler."""
        self.log.append((self.number, ("called", data)))


KINDS: list[Callable[[int, Log], Any]] = [plain, defaults, about, everything, nothing, Callback]
HOW = ["itself", "method", "method_with_sender"]
SENDERS = ["own", "other", "any"]
SIGNALS = [Happening.TOLD, Happening.OTHER, dispatcher.Any]

slot = st.integers(0, 5)
step = st.one_of(
    st.tuples(
        st.just("connect"),
        slot,
        st.sampled_from(HOW),
        st.sampled_from(SENDERS),
        st.sampled_from(SIGNALS),
        st.booleans(),
    ),
    st.tuples(
        st.just("disconnect"),
        slot,
        st.sampled_from(HOW),
        st.sampled_from(SENDERS),
        st.sampled_from(SIGNALS),
        st.booleans(),
    ),
    st.tuples(st.just("subscribe"), slot, st.sampled_from(HOW), st.sampled_from(SENDERS), st.sampled_from(SIGNALS)),
    st.tuples(st.just("cancel"), slot),
    st.tuples(st.just("die"), slot),
    st.tuples(st.just("tell")),
)


class History:
    """A history of subscriptions, with a sender, its outlet and a log."""

    def __init__(self, kinds: list[Callable[[int, Log], Any]]) -> None:
        self.log: Log = []
        self.senders: dict[str, Any] = {"own": Sender(), "other": Sender(), "any": dispatcher.Any}
        self.handlers = [kind(number, self.log) for number, kind in enumerate(kinds)]
        self.subscriptions: list[Subscription] = []

    def receiver(self, number: int, how: str) -> Any:
        """Return a handler, or one of its methods."""
        handler = self.handlers[number]
        return getattr(handler, how) if how != "itself" and isinstance(handler, Callback) else handler

    def carry_out(self, steps: list[tuple[Any, ...]]) -> None:
        """Carry out steps, and tell the signal after the last."""
        try:
            for what, *details in [*steps, ("tell",)]:
                getattr(self, what)(*details)
        finally:
            self.end()

    def connect(self, number: int, how: str, sender: str, signal: Any, weak: bool) -> None:
        """Subscribe by PyDispatcher."""
        receiver = self.receiver(number, how)
        if receiver is not None:
            dispatcher.connect(receiver, signal=signal, sender=self.senders[sender], weak=weak)

    def disconnect(self, number: int, how: str, sender: str, signal: Any, weak: bool) -> None:
        """Unsubscribe by PyDispatcher, which may find nothing."""
        receiver = self.receiver(number, how)
        if receiver is not None:
            try:
                dispatcher.disconnect(receiver, signal=signal, sender=self.senders[sender], weak=weak)
            except dispatcher.errors.DispatcherKeyError:
                pass

    def subscribe(self, number: int, how: str, sender: str, signal: Any) -> None:
        """Subscribe by cnx."""
        receiver = self.receiver(number, how)
        if receiver is not None:
            self.subscriptions.append(subscribe(self.senders[sender], signal, receiver))

    def cancel(self, number: int) -> None:
        """End one of the subscriptions."""
        if number < len(self.subscriptions):
            self.subscriptions.pop(number).cancel()

    def die(self, number: int) -> None:
        """Drop a handler, which ends what is weak."""
        self.handlers[number] = None

    def tell(self) -> None:
        """Tell the signal in four ways, and compare."""
        own = self.senders["own"]
        before = self.logged(lambda: dispatcher.send(signal=Happening.TOLD, sender=own, data="x"))
        told = [
            self.logged(lambda: own.outlet.emit("x")),
            self.logged(lambda: own.outlet.emit_each(["x"])),
            self.logged(lambda: emit(own, Happening.TOLD, data="x")),
        ]
        # a handler that only the last plan kept alive dies with that
        after = self.logged(lambda: dispatcher.send(signal=Happening.TOLD, sender=own, data="x"))
        assert all(each in (before, after) for each in told)
        assert own.outlet.wanted() == bool(after)
        twice = self.logged(lambda: own.outlet.emit_each(["x", "x"]))
        assert twice == after * 2

    def logged(self, action: Callable[[], Any]) -> Log:
        """Return what the handlers log meanwhile."""
        self.log.clear()
        action()
        return list(self.log)

    def end(self) -> None:
        """Leave nothing in PyDispatcher's tables."""
        for number in range(len(self.subscriptions)):
            self.subscriptions[number].cancel()
        for signal in list(dispatcher.connections.get(id(dispatcher.Any), {})):
            for receiver in list(dispatcher.getReceivers(dispatcher.Any, signal)):
                dispatcher.disconnect(receiver, signal=signal, sender=dispatcher.Any, weak=False)


TOLD = Happening.TOLD
KEPT_BY_A_SUBSCRIPTION: list[tuple[Any, ...]] = [
    ("connect", 4, "itself", "own", TOLD, True),
    ("subscribe", 4, "itself", "own", TOLD),
    ("die", 4),
    ("tell",),
    ("cancel", 0),
    ("tell",),
]
TO_ANY_SENDER: list[tuple[Any, ...]] = [
    ("subscribe", 0, "itself", "any", TOLD),
    ("tell",),
    ("cancel", 0),
    ("tell",),
]
AWAY_AND_BACK: list[tuple[Any, ...]] = [
    ("subscribe", 0, "itself", "own", TOLD),
    ("tell",),
    ("cancel", 0),
    ("subscribe", 0, "itself", "own", TOLD),
]
DATA, MESSAGE = Connection.Signals.DATA_RECEIVED, Connection.Signals.MESSAGE_RECEIVED


@settings(deadline=None, max_examples=300)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=6, max_size=6), steps=st.lists(step, max_size=25))
@example(kinds=[plain] * 6, steps=KEPT_BY_A_SUBSCRIPTION)
def test_outlet_reaches_whom_send_reaches(kinds: list[Any], steps: list[Any]) -> None:
    """After any history of subscriptions of any kind, with handlers that die."""
    History(kinds).carry_out(steps)


class Hearing:
    """What a delivery needs of a connection; hears of changes as that does. Its messages are single bytes."""

    reading = False

    def __init__(self) -> None:
        self.delivery = Delivery(self, FixedSize(1), LIMIT)  # type: ignore[arg-type]
        self.delivery._message = Outlet(self, MESSAGE, "data", refreshed=True)  # the name that the handlers here have

    def _on_subscribers_changed(self) -> None:
        self.delivery.refresh()


class HistoryOfConnection(History):
    """The same with what a connection tells its data and messages by, which remembers whom it has to tell."""

    def __init__(self, kinds: list[Callable[[int, Log], Any]], signal: Signal) -> None:
        super().__init__(kinds)
        self.senders |= {"own": Hearing(), "other": Hearing()}
        self.signal = signal
        self.stands_for = {Happening.TOLD: signal, Happening.OTHER: Connection.Signals.CONNECTED}

    def connect(self, number: int, how: str, sender: str, signal: Any, weak: bool) -> None:
        """Subscribe by PyDispatcher."""
        super().connect(number, how, sender, self.stands_for.get(signal, signal), weak)

    def disconnect(self, number: int, how: str, sender: str, signal: Any, weak: bool) -> None:
        """Unsubscribe by PyDispatcher, which may find nothing."""
        super().disconnect(number, how, sender, self.stands_for.get(signal, signal), weak)

    def subscribe(self, number: int, how: str, sender: str, signal: Any) -> None:
        """Subscribe by cnx."""
        super().subscribe(number, how, sender, self.stands_for.get(signal, signal))

    def sent(self) -> Log:
        """Return what PyDispatcher's ``send`` reaches, for data and then the message in it."""
        own = self.senders["own"]
        return self.logged(
            lambda: [dispatcher.send(signal=signal, sender=own, data=b"x") for signal in (DATA, MESSAGE)]
        )

    def tell(self) -> None:
        """Tell data, and the message in it, and compare."""
        own = self.senders["own"]
        before = self.sent()
        assert (own.delivery.audience() is not None) == bool(before)
        told = self.logged(lambda: own.delivery.deliver(b"x", own.delivery.audience()))
        after = self.sent()
        assert told in (before, after)  # a handler that only the last plan kept alive dies with that


@settings(deadline=None, max_examples=300)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=6, max_size=6),
    steps=st.lists(step, max_size=25),
    signal=st.sampled_from([DATA, MESSAGE]),
)
@example(kinds=[plain] * 6, steps=TO_ANY_SENDER, signal=DATA)
@example(kinds=[plain] * 6, steps=TO_ANY_SENDER, signal=MESSAGE)
@example(kinds=[plain] * 6, steps=KEPT_BY_A_SUBSCRIPTION, signal=DATA)
@example(kinds=[plain] * 6, steps=KEPT_BY_A_SUBSCRIPTION, signal=MESSAGE)
@example(kinds=[plain] * 6, steps=AWAY_AND_BACK, signal=MESSAGE)
def test_connection_reaches_whom_send_reaches(kinds: list[Any], steps: list[Any], signal: Signal) -> None:
    """After any history of subscriptions, also where what was told before is as it was."""
    HistoryOfConnection(kinds, signal).carry_out(steps)


@pytest.fixture
def sender() -> Sender:
    """Give a sender."""
    return Sender()


def test_nobody_is_told(sender: Sender) -> None:
    """An outlet without subscribers does nothing, and says that nobody wants to know."""
    sender.outlet.emit(1)
    sender.outlet.emit_each([1, 2])
    assert not sender.outlet.wanted()


def test_weak_handlers_stay_weak(sender: Sender) -> None:
    """Neither a plan nor a message that was told keeps a function or a method alive."""
    log: Log = []
    function, callback = plain(1, log), Callback(2, log)
    dispatcher.connect(function, signal=Happening.TOLD, sender=sender)
    dispatcher.connect(callback.method, signal=Happening.TOLD, sender=sender)
    sender.outlet.emit("a")
    sender.outlet.emit_each(["b"])
    died = [weakref.ref(function), weakref.ref(callback)]
    del function, callback
    gc.collect()
    assert [reference() for reference in died] == [None, None]
    assert log == [(1, "a"), (2, "a"), (1, "b"), (2, "b")]
    assert not sender.outlet.wanted()
    sender.outlet.emit("c")


def test_batch_is_not_kept_alive(sender: Sender) -> None:
    """Neither by an outlet with subscribers nor by one without."""
    for _ in range(2):
        batch = [Deaf()]
        watch = weakref.ref(batch[0])
        sender.outlet.emit_each(batch)
        del batch
        gc.collect()
        assert watch() is None
        subscribe(sender, Happening.TOLD, print)


def test_outlet_does_not_keep_its_sender_alive() -> None:
    """Also after telling."""
    sender = Sender()
    subscribe(sender, Happening.TOLD, lambda data, sender: None)
    outlet = sender.outlet
    outlet.emit(1)
    watch = weakref.ref(sender)
    del sender
    gc.collect()
    assert watch() is None
    assert not outlet.wanted()


def test_raising_handler_is_isolated_and_named(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it is alone, one of several, weak, or filtered; every message reaches the others."""
    got: list[int] = []

    def broken(data: int) -> None:
        raise RuntimeError(data)

    def broken_too(sender: object, data: int) -> None:
        raise RuntimeError(data)

    with caplog.at_level(logging.ERROR, "cnx"):
        subscribe(sender, Happening.TOLD, broken)
        sender.outlet.emit_each([1, 2])
        dispatcher.connect(broken_too, signal=Happening.TOLD, sender=sender)
        subscribe(sender, Happening.TOLD, got.append)
        sender.outlet.emit_each([3, 4])
        sender.outlet.emit(5)
    assert got == [3, 4, 5]
    names = [record.getMessage().split()[1].rpartition(".")[2] for record in caplog.records]
    assert names == ["broken"] * 2 + ["broken", "broken_too"] * 3


def test_handler_of_a_sender_that_does_not_hear_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    """A log line names the user's function, not what stands between."""
    sender = Deaf()

    def broken(data: int) -> None:
        raise RuntimeError(data)

    subscribe(sender, Happening.TOLD, broken)
    with caplog.at_level(logging.ERROR, "cnx"):
        Outlet(sender, Happening.TOLD, "data").emit(1)
    assert ".broken of" in caplog.text


def test_receivers_that_pydispatcher_cannot_call_are_reported(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    """A partial that was connected plainly fails as it does with ``send``, and stops nobody."""
    got: list[int] = []
    partial = functools.partial(print)
    dispatcher.connect(partial, signal=Happening.TOLD, sender=sender)
    subscribe(sender, Happening.TOLD, got.append)
    with caplog.at_level(logging.ERROR, "cnx"):
        sender.outlet.emit(1)
    assert got == [1]
    assert "functools.partial" in caplog.text


@pytest.mark.parametrize("make", [Sender, Deaf], ids=["hears of changes", "does not"])
@pytest.mark.parametrize("others", [0, 1])
def test_cancel_in_a_batch_counts_at_once(make: Callable[[], Any], others: int) -> None:
    """A handler that cancels its own subscription gets nothing more of the batch; others get all of it."""
    sender = make()
    outlet = getattr(sender, "outlet", None) or Outlet(sender, Happening.TOLD, "data")
    got: list[int] = []
    rest: list[int] = []

    def once(data: int) -> None:
        got.append(data)
        subscription.cancel()

    subscription = subscribe(sender, Happening.TOLD, once)
    for _ in range(others):
        subscribe(sender, Happening.TOLD, rest.append)
    outlet.emit_each([1, 2, 3])
    assert got == [1]
    assert rest == [1, 2, 3] * others


@pytest.mark.parametrize("make", [Sender, Deaf], ids=["hears of changes", "does not"])
def test_cancel_of_another_counts_for_the_message_that_is_being_told(make: Callable[[], Any]) -> None:
    """Who is cancelled by a handler before it is called is not called."""
    sender = make()
    outlet = getattr(sender, "outlet", None) or Outlet(sender, Happening.TOLD, "data")
    got: list[int] = []
    subscribe(sender, Happening.TOLD, lambda data: second.cancel())
    second = subscribe(sender, Happening.TOLD, got.append)
    outlet.emit(1)
    assert got == []


def test_cancel_of_a_subscription_to_any_sender_counts_at_once(sender: Sender) -> None:
    """Although senders do not hear of those."""
    got: list[int] = []

    def once(data: int) -> None:
        got.append(data)
        subscription.cancel()

    subscription = subscribe(dispatcher.Any, Happening.TOLD, once)
    sender.outlet.emit_each([1, 2, 3])
    assert got == [1]


def test_subscribing_in_a_batch_counts_from_the_next_message(sender: Sender) -> None:
    """Nothing is told twice, nothing is left out."""
    first: list[int] = []
    late: list[int] = []

    def welcome(data: int) -> None:
        first.append(data)
        if data == 2:
            subscribe(sender, Happening.TOLD, late.append)

    subscribe(sender, Happening.TOLD, welcome)
    sender.outlet.emit_each([1, 2, 3, 4])
    assert first == [1, 2, 3, 4]
    assert late == [3, 4]


def test_change_of_others_leaves_weak_methods_alone(sender: Sender) -> None:
    """A weakly held method goes on to get the batch when somebody else comes and goes."""
    log: Log = []
    callback = Callback(1, log)

    def restless(data: int) -> None:
        subscribe(sender, Happening.TOLD, print).cancel()

    subscribe(sender, Happening.TOLD, restless)
    dispatcher.connect(callback.method, signal=Happening.TOLD, sender=sender)
    dispatcher.connect(callback.method_with_sender, signal=Happening.TOLD, sender=sender)
    sender.outlet.emit_each([1, 2, 3])
    sender.outlet.emit(4)
    assert [data for _, data in log[::2]] == [1, 2, 3, 4]
    assert log[1::2] == [(1, (data, id(sender))) for data in (1, 2, 3, 4)]


def test_stop_in_a_batch_counts_at_once(sender: Sender) -> None:
    """After the message that is being told nobody is told anything, now or later."""
    got: list[int] = []

    def stopper(data: int) -> None:
        got.append(data)
        sender.outlet.stop()

    subscribe(sender, Happening.TOLD, stopper)
    subscribe(sender, Happening.TOLD, got.append)
    sender.outlet.emit_each([1, 2, 3])
    sender.outlet.emit_each([4])
    sender.outlet.emit(5)
    assert got == [1]


def test_cancel_from_another_thread_counts_for_the_rest_of_the_batch(sender: Sender) -> None:
    """Nothing is told twice to those who stay, and at most the call that had begun reaches the one who went."""
    steady: list[int] = []
    after: list[int] = []
    cancelled, told = threading.Event(), threading.Event()

    def meet(data: int) -> None:
        steady.append(data)
        if data == 10:
            told.set()
            assert cancelled.wait(PATIENCE)

    subscribe(sender, Happening.TOLD, meet)
    leaver = subscribe(sender, Happening.TOLD, after.append)

    def cancel() -> None:
        told.wait(PATIENCE)
        leaver.cancel()
        cancelled.set()

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    sender.outlet.emit_each(list(range(20)))
    thread.join(PATIENCE)
    assert steady == list(range(20))
    assert after == list(range(10))


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Have the interpreter switch threads a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("batch", [1, 50])
def test_nothing_is_lost_or_told_twice_while_others_come_and_go(sender: Sender, batch: int) -> None:
    """Threads subscribe and cancel while one tells: who stays is told everything once, in order."""
    steady: list[int] = []
    late: dict[int, list[int]] = {}
    subscribe(sender, Happening.TOLD, steady.append)
    over, start_together = threading.Event(), threading.Barrier(4)

    def churn(number: int) -> None:
        start_together.wait(PATIENCE)
        while not over.is_set():
            got: list[int] = []
            with subscribe(sender, Happening.TOLD, got.append):
                sender.outlet.wanted()
            seen = got.copy()  # in one step: a call that had begun before the end may still add one
            if seen and seen != list(range(seen[0], seen[0] + len(seen))):
                late[number] = seen

    threads = [threading.Thread(target=churn, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    start_together.wait(PATIENCE)
    for start in range(0, 50_000, batch):
        if batch == 1:
            sender.outlet.emit(start)
        else:
            sender.outlet.emit_each(list(range(start, start + batch)))
    over.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert steady == list(range(50_000))
    assert not late


@pytest.mark.parametrize("signal", [DATA, MESSAGE])
def test_who_has_cancelled_is_not_told_what_comes_to_an_audience_found_before(signal: Signal) -> None:
    """Another thread may cancel just between the look at the subscribers and the telling."""
    own = Hearing()
    gone: list[bytes] = []
    stays: list[bytes] = []
    subscribe(own, signal, stays.append)
    subscription = subscribe(own, signal, gone.append)
    audience = own.delivery.audience()
    subscription.cancel()
    own.delivery.deliver(b"x", audience)
    assert (gone, stays) == ([], [b"x"])


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("signal", [DATA, MESSAGE])
def test_connection_finds_who_comes_and_leaves_who_goes(signal: Signal) -> None:
    """While one thread tells, those who subscribe are told soon, and after they have cancelled at most once."""
    own = Hearing()
    steady: list[bytes] = []
    subscribe(own, MESSAGE, steady.append)
    start_together = threading.Barrier(3)
    untold: list[int] = []
    left: list[tuple[list[bytes], int]] = []

    def churn() -> None:
        start_together.wait(PATIENCE)
        for number in range(200):
            got: list[bytes] = []
            told = threading.Event()

            def take(data: bytes, got: list[bytes] = got, told: threading.Event = told) -> None:
                got.append(data)
                told.set()

            with subscribe(own, signal, take):
                if not told.wait(PATIENCE):
                    untold.append(number)
            left.append((got, len(got)))

    threads = [threading.Thread(target=churn, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    start_together.wait(PATIENCE)
    count = 0
    while any(thread.is_alive() for thread in threads):
        audience = own.delivery.audience()
        assert audience is not None
        own.delivery.deliver(bytes(50), audience)
        count += 50
    assert not untold
    assert all(len(got) <= seen + 1 for got, seen in left)  # a call that had begun before the end may add one
    assert len(steady) == count
