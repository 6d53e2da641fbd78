"""Tests of the emitter: the same receivers as PyDispatcher's ``send``, in the same order, only faster."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydispatch import dispatcher

from cnx.connections.connection import Connection
from cnx.connections.delivery import Delivery
from cnx.framing import FixedSize
from cnx.signals import Emitter, Signal, Subscription, emit, has_subscribers, subscribe

PATIENCE = 10.0


class Happening(Signal):
    """Two signals; the emitter emits the first."""

    EMITTED = "emitted"
    OTHER = "other"


class Sender:
    """Something with an emitter."""

    def __init__(self) -> None:
        self.emitter = Emitter(self, Happening.EMITTED, "data")


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
SIGNALS = [Happening.EMITTED, Happening.OTHER, dispatcher.Any]

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
    st.tuples(st.just("emit")),
)


class History:
    """A history of subscriptions, with a sender, its emitter and a log."""

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
        """Carry out steps, and emit the signal after the last."""
        try:
            for what, *details in [*steps, ("emit",)]:
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

    def emit(self) -> None:
        """Emit the signal in four ways, and compare."""
        own = self.senders["own"]
        own.emitter.has_subscribers()  # lets go of cancelled handlers, which may be registered weakly as well
        expected = self.logged(lambda: dispatcher.send(signal=Happening.EMITTED, sender=own, data="x"))
        assert self.logged(lambda: own.emitter.emit("x")) == expected
        assert self.logged(lambda: own.emitter.emit_each(["x", "x"])) == expected * 2
        assert self.logged(lambda: emit(own, Happening.EMITTED, data="x")) == expected
        assert own.emitter.has_subscribers() == has_subscribers(own, Happening.EMITTED) == bool(expected)

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


EMITTED = Happening.EMITTED
KEPT_BY_A_SUBSCRIPTION: list[tuple[Any, ...]] = [
    ("connect", 4, "itself", "own", EMITTED, True),
    ("subscribe", 4, "itself", "own", EMITTED),
    ("die", 4),
    ("emit",),
    ("cancel", 0),
    ("emit",),
]
TO_ANY_SENDER: list[tuple[Any, ...]] = [
    ("subscribe", 0, "itself", "any", EMITTED),
    ("emit",),
    ("cancel", 0),
    ("emit",),
]
KEPT_BY_THE_OTHER_EMITTER: list[tuple[Any, ...]] = [
    ("connect", 0, "itself", "own", EMITTED, False),
    ("subscribe", 4, "itself", "own", dispatcher.Any),
    ("emit",),
    ("connect", 4, "itself", "own", dispatcher.Any, True),
    ("cancel", 0),
    ("die", 4),
]
AWAY_AND_BACK: list[tuple[Any, ...]] = [
    ("subscribe", 0, "itself", "own", EMITTED),
    ("emit",),
    ("cancel", 0),
    ("subscribe", 0, "itself", "own", EMITTED),
]
DATA, MESSAGE = Connection.Signals.DATA_RECEIVED, Connection.Signals.MESSAGE_RECEIVED


@settings(deadline=None, max_examples=300)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=6, max_size=6), steps=st.lists(step, max_size=25))
@example(kinds=[plain] * 6, steps=KEPT_BY_A_SUBSCRIPTION)
def test_emitter_reaches_the_receivers_of_send(kinds: list[Any], steps: list[Any]) -> None:
    """After any history of subscriptions of any kind, with handlers that die."""
    History(kinds).carry_out(steps)


class Source:
    """What a delivery needs of a connection. Its messages are single bytes."""

    reading = False

    def __init__(self) -> None:
        self.delivery = Delivery(self, FixedSize(1))  # type: ignore[arg-type]
        self.delivery._message = Emitter(self, MESSAGE, "data")  # the name that the handlers here have
        self.delivery.emitters = {MESSAGE: self.delivery._message}

    def deliver(self, data: bytes) -> None:
        """Emit what has arrived, and all of its messages."""
        self.delivery.add(data)
        while self.delivery.pending:
            self.delivery.deliver_more()


class HistoryOfConnection(History):
    """The same for the delivery of a connection, which emits data and messages."""

    def __init__(self, kinds: list[Callable[[int, Log], Any]], signal: Signal) -> None:
        super().__init__(kinds)
        self.senders |= {"own": Source(), "other": Source()}
        self.signal = signal
        self.stands_for = {Happening.EMITTED: signal, Happening.OTHER: Connection.Signals.CONNECTED}

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

    def emit(self) -> None:
        """Emit data, and the message in it, and compare."""
        own = self.senders["own"]
        for emitter in (own.delivery._data, own.delivery._message):
            emitter.has_subscribers()  # lets go of cancelled handlers, which may be registered weakly as well
        expected = self.sent()
        assert own.delivery.wanted() == bool(expected)
        assert self.logged(lambda: own.deliver(b"x")) == expected


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
@example(kinds=[plain] * 6, steps=KEPT_BY_THE_OTHER_EMITTER, signal=DATA)
def test_delivery_reaches_the_receivers_of_send(kinds: list[Any], steps: list[Any], signal: Signal) -> None:
    """After any history of subscriptions."""
    HistoryOfConnection(kinds, signal).carry_out(steps)


@pytest.fixture
def sender() -> Sender:
    """Give a sender."""
    return Sender()


def test_without_subscribers(sender: Sender) -> None:
    """An emitter without subscribers does nothing, and says so."""
    sender.emitter.emit(1)
    sender.emitter.emit_each([1, 2])
    assert not sender.emitter.has_subscribers()


def test_weak_handlers_stay_weak(sender: Sender) -> None:
    """Neither a function nor a method is kept alive by having been called."""
    log: Log = []
    function, callback = plain(1, log), Callback(2, log)
    dispatcher.connect(function, signal=Happening.EMITTED, sender=sender)
    dispatcher.connect(callback.method, signal=Happening.EMITTED, sender=sender)
    sender.emitter.emit("a")
    sender.emitter.emit_each(["b"])
    died = [weakref.ref(function), weakref.ref(callback)]
    del function, callback
    gc.collect()
    assert [reference() for reference in died] == [None, None]
    assert log == [(1, "a"), (2, "a"), (1, "b"), (2, "b")]
    assert not sender.emitter.has_subscribers()
    sender.emitter.emit("c")


def test_batch_is_not_kept_alive(sender: Sender) -> None:
    """Neither by an emitter with subscribers nor by one without."""
    for _ in range(2):
        batch = [Sender()]
        watch = weakref.ref(batch[0])
        sender.emitter.emit_each(batch)
        del batch
        gc.collect()
        assert watch() is None
        subscribe(sender, Happening.EMITTED, print)


def test_emitter_does_not_keep_its_sender_alive() -> None:
    """Also after emitting."""
    sender = Sender()
    subscribe(sender, Happening.EMITTED, lambda data, sender: None)
    emitter = sender.emitter
    emitter.emit(1)
    watch = weakref.ref(sender)
    del sender
    gc.collect()
    assert watch() is None
    assert not emitter.has_subscribers()


def test_raising_handler_is_isolated_and_named(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it is alone, one of several, weak, or filtered; every message reaches the others."""
    got: list[int] = []

    def broken(data: int) -> None:
        raise RuntimeError(data)

    def broken_too(sender: object, data: int) -> None:
        raise RuntimeError(data)

    with caplog.at_level(logging.ERROR, "cnx"):
        subscribe(sender, Happening.EMITTED, broken)
        sender.emitter.emit_each([1, 2])
        dispatcher.connect(broken_too, signal=Happening.EMITTED, sender=sender)
        subscribe(sender, Happening.EMITTED, got.append)
        sender.emitter.emit_each([3, 4])
        sender.emitter.emit(5)
    assert got == [3, 4, 5]
    names = [record.getMessage().split()[1].rpartition(".")[2] for record in caplog.records]
    assert names == ["broken"] * 2 + ["broken", "broken_too"] * 3


def test_weak_handlers_are_named_too(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    """A log line names the user's function, not the function that calls it."""

    def broken(data: int) -> None:
        raise RuntimeError(data)

    dispatcher.connect(broken, signal=Happening.EMITTED, sender=sender)
    with caplog.at_level(logging.ERROR, "cnx"):
        sender.emitter.emit(1)
    assert ".broken of" in caplog.text


def test_receivers_that_pydispatcher_cannot_call_are_reported(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    """A partial that was connected plainly fails as it does with ``send``, and stops nobody."""
    got: list[int] = []
    partial = functools.partial(print)
    dispatcher.connect(partial, signal=Happening.EMITTED, sender=sender)
    subscribe(sender, Happening.EMITTED, got.append)
    with caplog.at_level(logging.ERROR, "cnx"):
        sender.emitter.emit(1)
    assert got == [1]
    assert "functools.partial" in caplog.text


@pytest.mark.parametrize("others", [0, 1])
def test_cancel_in_a_batch_counts_at_once(sender: Sender, others: int) -> None:
    """A handler that cancels its own subscription gets nothing more of the batch; others get all of it."""
    got: list[int] = []
    rest: list[int] = []

    def once(data: int) -> None:
        got.append(data)
        subscription.cancel()

    subscription = subscribe(sender, Happening.EMITTED, once)
    for _ in range(others):
        subscribe(sender, Happening.EMITTED, rest.append)
    sender.emitter.emit_each([1, 2, 3])
    assert got == [1]
    assert rest == [1, 2, 3] * others


def test_cancel_of_another_counts_for_the_value_being_emitted(sender: Sender) -> None:
    """A handler that another one cancels before it is called is not called."""
    got: list[int] = []
    subscribe(sender, Happening.EMITTED, lambda data: second.cancel())
    second = subscribe(sender, Happening.EMITTED, got.append)
    sender.emitter.emit(1)
    assert got == []


def test_cancel_of_a_subscription_to_any_sender_counts_at_once(sender: Sender) -> None:
    """As for a subscription to the sender itself."""
    got: list[int] = []

    def once(data: int) -> None:
        got.append(data)
        subscription.cancel()

    subscription = subscribe(dispatcher.Any, Happening.EMITTED, once)
    sender.emitter.emit_each([1, 2, 3])
    assert got == [1]


def test_cancel_and_subscribe_again_in_a_batch(sender: Sender) -> None:
    """The only handler is replaced by another one, which gets the rest of the batch."""
    first: list[int] = []
    second: list[int] = []

    def once(data: int) -> None:
        first.append(data)
        subscription.cancel()
        subscribe(sender, Happening.EMITTED, second.append)

    subscription = subscribe(sender, Happening.EMITTED, once)
    sender.emitter.emit_each([1, 2, 3])
    assert (first, second) == ([1], [2, 3])


def test_plain_disconnect_counts_from_the_next_batch(sender: Sender) -> None:
    """It may, as PyDispatcher does not report it; nothing is lost by the others."""
    got: list[int] = []
    rest: list[int] = []

    def plain(data: int) -> None:
        got.append(data)

    def disconnect(data: int) -> None:
        if data == 1:
            dispatcher.disconnect(plain, signal=Happening.EMITTED, sender=sender)
        rest.append(data)

    dispatcher.connect(disconnect, signal=Happening.EMITTED, sender=sender)
    dispatcher.connect(plain, signal=Happening.EMITTED, sender=sender)
    sender.emitter.emit_each([1, 2])
    got.clear()
    sender.emitter.emit_each([3, 4])
    assert got == []
    assert rest == [1, 2, 3, 4]


def test_handler_may_emit_the_same_signal(sender: Sender) -> None:
    """The inner value reaches all handlers before the outer one reaches the next handler, as with ``send``."""
    got: list[tuple[str, int]] = []

    def again(data: int) -> None:
        got.append(("first", data))
        if data == 1:
            sender.emitter.emit(10)

    subscribe(sender, Happening.EMITTED, again)
    subscribe(sender, Happening.EMITTED, lambda data: got.append(("second", data)))
    sender.emitter.emit_each([1, 2])
    assert [data for _, data in got] == [1, 10, 10, 1, 2, 2]


def test_subscribing_in_a_batch_counts_from_the_next_value(sender: Sender) -> None:
    """Nothing is emitted twice, nothing is left out."""
    first: list[int] = []
    late: list[int] = []

    def welcome(data: int) -> None:
        first.append(data)
        if data == 2:
            subscribe(sender, Happening.EMITTED, late.append)

    subscribe(sender, Happening.EMITTED, welcome)
    sender.emitter.emit_each([1, 2, 3, 4])
    assert first == [1, 2, 3, 4]
    assert late == [3, 4]


def test_change_of_others_leaves_weak_methods_alone(sender: Sender) -> None:
    """A weakly held method goes on to get the batch when somebody else comes and goes."""
    log: Log = []
    callback = Callback(1, log)

    def restless(data: int) -> None:
        subscribe(sender, Happening.EMITTED, print).cancel()

    subscribe(sender, Happening.EMITTED, restless)
    dispatcher.connect(callback.method, signal=Happening.EMITTED, sender=sender)
    dispatcher.connect(callback.method_with_sender, signal=Happening.EMITTED, sender=sender)
    sender.emitter.emit_each([1, 2, 3])
    sender.emitter.emit(4)
    assert [data for _, data in log[::2]] == [1, 2, 3, 4]
    assert log[1::2] == [(1, (data, id(sender))) for data in (1, 2, 3, 4)]


def test_stop_in_a_batch_counts_at_once(sender: Sender) -> None:
    """No handler is called any more, now or later, not even with the value being emitted."""
    got: list[int] = []

    def stopper(data: int) -> None:
        got.append(data)
        sender.emitter.stop()

    subscribe(sender, Happening.EMITTED, stopper)
    subscribe(sender, Happening.EMITTED, got.append)
    sender.emitter.emit_each([1, 2, 3])
    sender.emitter.emit_each([4])
    sender.emitter.emit(5)
    assert got == [1]


def test_cancel_from_another_thread_counts_for_the_rest_of_the_batch(sender: Sender) -> None:
    """The handler that stays gets everything once; the cancelled one is not called any more."""
    steady: list[int] = []
    after: list[int] = []
    cancelled, halfway = threading.Event(), threading.Event()

    def meet(data: int) -> None:
        steady.append(data)
        if data == 10:
            halfway.set()
            assert cancelled.wait(PATIENCE)

    subscribe(sender, Happening.EMITTED, meet)
    leaver = subscribe(sender, Happening.EMITTED, after.append)

    def cancel() -> None:
        halfway.wait(PATIENCE)
        leaver.cancel()
        cancelled.set()

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    sender.emitter.emit_each(list(range(20)))
    thread.join(PATIENCE)
    assert steady == list(range(20))
    assert after == list(range(10))


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("batch", [1, 50])
def test_nothing_is_lost_or_emitted_twice_while_others_come_and_go(sender: Sender, batch: int) -> None:
    """Threads subscribe and cancel while one emits: a handler that stays gets everything once, in order."""
    steady: list[int] = []
    late: dict[int, list[int]] = {}
    subscribe(sender, Happening.EMITTED, steady.append)
    over, start_together = threading.Event(), threading.Barrier(4)

    def churn(number: int) -> None:
        start_together.wait(PATIENCE)
        while not over.is_set():
            got: list[int] = []
            with subscribe(sender, Happening.EMITTED, got.append):
                sender.emitter.has_subscribers()
            seen = got.copy()  # in one step: a call that had begun before the end may still add one
            if seen and seen != list(range(seen[0], seen[0] + len(seen))):
                late[number] = seen

    threads = [threading.Thread(target=churn, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    start_together.wait(PATIENCE)
    for start in range(0, 50_000, batch):
        if batch == 1:
            sender.emitter.emit(start)
        else:
            sender.emitter.emit_each(list(range(start, start + batch)))
    over.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert steady == list(range(50_000))
    assert not late


@pytest.mark.parametrize("signal", [DATA, MESSAGE])
def test_cancel_between_the_look_for_subscribers_and_the_delivery(signal: Signal) -> None:
    """The cancelled handler gets nothing; another thread may cancel at that moment."""
    own = Source()
    gone: list[bytes] = []
    stays: list[bytes] = []
    subscribe(own, signal, stays.append)
    subscription = subscribe(own, signal, gone.append)
    assert own.delivery.wanted()
    subscription.cancel()
    own.deliver(b"x")
    assert (gone, stays) == ([], [b"x"])


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("signal", [DATA, MESSAGE])
def test_delivery_while_others_come_and_go(signal: Signal) -> None:
    """A new subscriber gets data soon; after its cancel() it gets at most the call in progress."""
    own = Source()
    steady: list[bytes] = []
    subscribe(own, MESSAGE, steady.append)
    start_together = threading.Barrier(3)
    missed: list[int] = []
    left: list[tuple[list[bytes], int]] = []

    def churn() -> None:
        start_together.wait(PATIENCE)
        for number in range(200):
            got: list[bytes] = []
            called = threading.Event()

            def take(data: bytes, got: list[bytes] = got, called: threading.Event = called) -> None:
                got.append(data)
                called.set()

            with subscribe(own, signal, take):
                if not called.wait(PATIENCE):
                    missed.append(number)
            left.append((got, len(got)))

    threads = [threading.Thread(target=churn, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    start_together.wait(PATIENCE)
    count = 0
    while any(thread.is_alive() for thread in threads):
        assert own.delivery.wanted()
        own.deliver(bytes(50))
        count += 50
    assert not missed
    assert all(len(got) <= seen + 1 for got, seen in left)  # a call that had begun before the end may add one
    assert len(steady) == count
