"""Exchanging datagrams: pipelined, matched by message id, bounded, and never lost in silence."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest

import cnx
from cnx.clients.tecoroute import (
    Connector,
    ConnectorConnectionError,
    ConnectorResponseError,
    Statistics,
    TecorouteSimulator,
    set_clock,
)
from cnx.clients.tecoroute.client import session as client_session
from cnx.clients.tecoroute.client import window as client_window
from cnx.clients.tecoroute.client.policy import Rules
from cnx.clients.tecoroute.client.session import Session
from cnx.clients.tecoroute.client.window import Pending
from cnx.clients.tecoroute.protocol.session import decode
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts
from cnx.faults import delay, faults, merge, split
from tests.helpers.tecoroute_service import (
    LOGIN_REQUESTS,
    PATIENCE,
    Caller,
    HookedConnection,
    connected,
    epsnet,
    manual_service,
    wait_for_data,
)

DATAGRAM_RECEIVED = Connector.PlcSignals.DATAGRAM_RECEIVED
RULES = Rules(1.0, 1, 1, 1.0, None)


def test_requests_are_pipelined() -> None:
    """Sending does not wait for answers: five requests are there before the first answer, in their order."""
    simulator = manual_service()
    with connected(simulator) as connector:
        sent = [epsnet(number) for number in range(5)]
        for datagram in sent:
            connector.send(datagram)
        assert wait_for_data(simulator, 5) == sent
        simulator.push(*sent)
        assert [connector.receive(PATIENCE) for _ in sent] == sent


def test_thousands_of_requests_without_an_answer() -> None:
    """If that many are allowed, thousands of requests go out while no answer comes."""
    simulator = manual_service()
    with connected(simulator, max_outstanding=5000) as connector:
        for number in range(5000):
            connector.send(epsnet(number), timeout=PATIENCE)
        assert wait_for_data(simulator, 5000)[-1] == epsnet(4999)


@pytest.mark.parametrize("fault", [split(1), split(7), merge(4096, within=0.01), delay(0.001, jitter=0.001)], ids=str)
def test_stream_in_unusual_pieces(fault: Any) -> None:
    """However the network cuts both streams, every message arrives whole and in order."""
    simulator = TecorouteSimulator()
    sent = [epsnet(number, bytes(number + 1)) for number in range(50)]
    with connected(simulator) as connector, faults(simulator, fault):
        for datagram in sent:
            connector.send(datagram)
        assert [connector.receive(PATIENCE) for _ in sent] == sent


def test_thousand_messages_both_ways() -> None:
    """Each of a thousand messages comes back, in order."""
    with connected(TecorouteSimulator()) as connector:
        sent = [epsnet(number, bytes(number % 300 + 1)) for number in range(1000)]
        sender = Caller(lambda: [connector.send(datagram, timeout=PATIENCE) for datagram in sent])
        assert [connector.receive(PATIENCE) for _ in sent] == sent
        sender.outcome()


@pytest.mark.parametrize("size", [1, 24, 1500, 65507])
def test_sizes(size: int) -> None:
    """Datagrams of all sizes pass, up to the largest that UDP has."""
    with connected(TecorouteSimulator()) as connector:
        datagram = bytes(range(256)) * 256
        assert connector.request(datagram[:size], PATIENCE) == datagram[:size]


def test_known_service() -> None:
    """A PLC acknowledges that its clock was set."""
    simulator = TecorouteSimulator(Accounts(plcs={"AB_1234": MODELS["acknowledge"]}))
    with connected(simulator) as connector:
        assert connector.request(set_clock(datetime(2026, 1, 1)), PATIENCE) == bytes.fromhex("020102000001e500")


def test_answers_in_another_order() -> None:
    """Each request gets the answer with its message id, whatever comes first."""
    simulator = manual_service()
    with connected(simulator) as connector:
        callers = [Caller(connector.request, epsnet(number), PATIENCE) for number in range(3)]
        wait_for_data(simulator, 3)
        simulator.push(epsnet(2, b"C2"), epsnet(0, b"A0"), epsnet(1, b"B1"))
        assert [caller.outcome() for caller in callers] == [epsnet(0, b"A0"), epsnet(1, b"B1"), epsnet(2, b"C2")]


def test_same_message_id_twice() -> None:
    """Of two requests with one message id, the older one gets the first answer."""
    simulator = manual_service()
    with connected(simulator) as connector:
        first = Caller(connector.request, epsnet(0x1234), PATIENCE)
        wait_for_data(simulator, 1)
        second = Caller(connector.request, epsnet(0x1234), PATIENCE)
        wait_for_data(simulator, 2)
        simulator.push(epsnet(0x1234, b"one!"), epsnet(0x1234, b"two!"))
        assert (first.outcome()[6:], second.outcome()[6:]) == (b"one!", b"two!")


def test_order_is_the_fallback() -> None:
    """Answers without a message id belong to the requests without one, in their order."""
    with connected(TecorouteSimulator(delay=0.02)) as connector:
        callers = [Caller(connector.request, b"hello%d" % number, PATIENCE) for number in range(20)]
        assert [caller.outcome() for caller in callers] == [b"hello%d" % number for number in range(20)]


def test_wrong_answer_is_nobodys() -> None:
    """An answer with another message id does not end a request; it can be received, as whatever else comes."""
    simulator = manual_service()
    with connected(simulator) as connector:
        caller = Caller(connector.request, epsnet(5), PATIENCE)
        wait_for_data(simulator, 1)
        simulator.push(epsnet(4, b"old!"), b"\x2a")
        assert connector.receive(PATIENCE) == epsnet(4, b"old!")
        assert connector.receive(PATIENCE) == b"\x2a"
        simulator.push(epsnet(5, b"mine"))
        assert caller.outcome() == epsnet(5, b"mine")


def test_late_answer_is_only_counted() -> None:
    """An answer that comes after its request gave up is not taken for something else."""
    simulator = manual_service()
    with connected(simulator) as connector:
        with pytest.raises(cnx.TimedOut):
            connector.request(epsnet(1), timeout=0.01)
        simulator.push(epsnet(1, b"late"), epsnet(2, b"next"))
        assert connector.receive(PATIENCE) == epsnet(2, b"next")
        assert connector.statistics.late == 1


def test_on_answer() -> None:
    """An answer goes to the function that was given with its message, and to nobody else."""
    got: list[Any] = []
    done = threading.Event()
    with connected(TecorouteSimulator()) as connector:
        connector.send(epsnet(1), on_answer=got.append)
        connector.send(epsnet(2), on_answer=lambda datagram: (got.append(datagram), done.set()))
        assert done.wait(PATIENCE)
        assert got == [epsnet(1), epsnet(2)]
        with pytest.raises(cnx.TimedOut):
            connector.receive(0)


def test_on_answer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A function that raises is logged, and what comes next is delivered."""
    with connected(TecorouteSimulator()) as connector:
        connector.send(epsnet(1), on_answer=lambda datagram: 1 / 0)
        assert connector.request(epsnet(2), PATIENCE) == epsnet(2)
    assert "ZeroDivisionError" in caplog.text


def test_subscribers_get_what_comes() -> None:
    """What a subscriber was told, and what a request got, is not received again."""
    got: list[bytes] = []
    with connected(TecorouteSimulator()) as connector:
        with cnx.subscribe(connector, DATAGRAM_RECEIVED, lambda datagram: got.append(datagram)):
            connector.send(epsnet(1))
            assert connector.request(epsnet(2), PATIENCE) == epsnet(2)
        connector.send(epsnet(3))
        assert connector.receive(PATIENCE) == epsnet(3)
    assert got == [epsnet(1)]


def test_window_is_bounded() -> None:
    """With so many requests on their way a further one waits, and goes as soon as an answer comes."""
    simulator = manual_service()
    with connected(simulator, max_outstanding=2) as connector:
        connector.send(epsnet(0))
        connector.send(epsnet(1))
        with pytest.raises(cnx.TimedOut, match="wait for answers"):
            connector.send(epsnet(2), timeout=0.01)
        caller = Caller(connector.send, epsnet(3), timeout=PATIENCE)
        simulator.push(epsnet(0))
        caller.outcome()
        assert wait_for_data(simulator, 3)[-1] == epsnet(3)


def test_places_become_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent PLC does not hold up the sender for ever: after a time, requests lose their places."""
    monkeypatch.setattr(client_window, "ANSWER_TIMEOUT", 0.05)
    simulator = manual_service()
    with connected(simulator, max_outstanding=1) as connector:
        for number in range(3):
            connector.send(epsnet(number), timeout=PATIENCE)
        assert len(wait_for_data(simulator, 3)) == 3


def test_unread_datagrams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends and never receives is told so, before anything is lost."""
    monkeypatch.setattr(client_session, "UNREAD_LIMIT", 3)
    simulator = manual_service()
    with connected(simulator) as connector:
        caller = Caller(connector.request, epsnet(9), PATIENCE)
        wait_for_data(simulator, 1)
        simulator.push(*[epsnet(number) for number in range(5)], epsnet(9))
        caller.outcome()
        assert connector.statistics.dropped == 2
        with pytest.raises(cnx.LimitExceeded, match="wait to be received"):
            connector.send(epsnet(6))
        assert [connector.receive(PATIENCE) for _ in range(3)] == [epsnet(0), epsnet(1), epsnet(2)]
        connector.send(epsnet(7))


def test_error_answers_are_never_data() -> None:
    """An error page ends the oldest request, is not delivered, and the connector goes on."""
    simulator = manual_service()
    with connected(simulator) as connector:
        caller = Caller(connector.request, epsnet(1), PATIENCE)
        wait_for_data(simulator, 1)
        simulator.push(b"busy", status=503)
        with pytest.raises(ConnectorResponseError, match="503") as caught:
            caller.outcome()
        assert caught.value.status == 503
        simulator.push(epsnet(2))
        assert connector.receive(PATIENCE) == epsnet(2)
        assert connector.statistics.errors == 1


def test_handler_must_not_wait_for_answers() -> None:
    """What would hold up itself for ever is refused: a handler that waits for what its own thread brings."""
    caught: list[Exception] = []
    done = threading.Event()
    simulator = manual_service()
    with connected(simulator, max_outstanding=1) as connector:

        def on_datagram(datagram: bytes) -> None:
            connector.send(epsnet(1))
            for call in (lambda: connector.receive(), lambda: connector.send(epsnet(2))):
                try:
                    call()
                except (RuntimeError, cnx.LimitExceeded) as error:
                    caught.append(error)
            done.set()

        with cnx.subscribe(connector, DATAGRAM_RECEIVED, on_datagram):
            simulator.push(epsnet(0))
            assert done.wait(PATIENCE)
    assert [type(error) for error in caught] == [RuntimeError, cnx.LimitExceeded]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.send("text"), TypeError),
        (lambda c: c.send(bytes(65508)), ValueError),
        (lambda c: c.request(b""), ValueError),
        (lambda c: c.receive(-1), ValueError),
        (lambda c: c.send(b"x", timeout=float("nan")), ValueError),
    ],
)
def test_bad_messages(call: Any, error: type[Exception]) -> None:
    """What cannot be sent is refused before anything is."""
    simulator = TecorouteSimulator()
    with connected(simulator) as connector:
        with pytest.raises(error):
            call(connector)
        assert connector.request(b"end", PATIENCE) == b"end"
        assert wait_for_data(simulator, 1) == [b"end"]


def test_everybody_who_waits_hears_of_the_end() -> None:
    """Receivers, requesters and senders wake with an error when the link dies."""
    simulator = manual_service()
    with connected(simulator, max_outstanding=1) as connector:
        callers = [Caller(connector.request, epsnet(1)), Caller(connector.receive)]
        wait_for_data(simulator, 1)
        callers.append(Caller(connector.send, epsnet(2)))
        simulator.drop_sessions()
        for caller in callers:
            with pytest.raises(ConnectorConnectionError, match="closed the connection"):
                caller.outcome()


def test_received_messages_outlive_their_link() -> None:
    """What came before the end can be received after it; then comes the error."""
    simulator = manual_service()
    with connected(simulator) as connector:
        simulator.push(epsnet(1), epsnet(2))
        assert connector.receive(PATIENCE) == epsnet(1)
        connector.disconnect()
        assert connector.receive(PATIENCE) == epsnet(2)
        with pytest.raises(ConnectorConnectionError, match="not connected"):
            connector.receive()


def test_nothing_of_an_old_link_reaches_the_next() -> None:
    """Messages that were not sent, and those that were not received, do not turn up in the next session."""
    simulator = manual_service()
    with connected(simulator, max_outstanding=1) as connector:
        connector.send(epsnet(1))
        waiting = Caller(connector.send, epsnet(2))
        simulator.push(epsnet(7), epsnet(8))
        assert connector.receive(PATIENCE) == epsnet(7)
        connector.disconnect()
        with pytest.raises(ConnectorConnectionError):
            waiting.outcome()
        connector.connect()
        connector.send(epsnet(3))
        assert wait_for_data(simulator, 2 + 3)[-1] == epsnet(3)
        assert epsnet(2) not in [*wait_for_data(simulator, 2 + 3)]
        simulator.push(epsnet(9))
        assert connector.receive(PATIENCE) == epsnet(9)
        assert connector.statistics.dropped == 1


def test_senders_of_many_threads() -> None:
    """What threads send at once is never mixed up, and each gets its own answers."""
    with connected(TecorouteSimulator(), max_outstanding=5) as connector:

        def talk(base: int) -> None:
            for number in range(base, base + 50):
                datagram = epsnet(number, bytes(number % 50))
                assert connector.request(datagram, PATIENCE) == datagram

        for caller in [Caller(talk, base) for base in range(0, 800, 100)]:
            caller.outcome()
        assert connector.statistics.received == 400


@pytest.mark.parametrize("taken", [0, 5])
def test_message_that_broke_off_may_have_been_sent(taken: int) -> None:
    """A message whose write failed may have been sent, whether or not the number of its bytes is known."""

    def write(data: bytes) -> int:
        if not taken:
            raise cnx.ConnectionLost("the transport broke") from BrokenPipeError()
        connection.raise_alarm("another thread has ended the link meanwhile")
        return taken

    with HookedConnection(write) as connection:
        session = Session(connection, RULES, Statistics())
        with pytest.raises(ConnectorConnectionError, match="cannot be sent") as caught:
            session.send(b"a message", Pending(), PATIENCE)
    assert caught.value.maybe_sent


@pytest.mark.parametrize("ended", [False, True])
def test_message_that_was_refused_was_not_sent(ended: bool) -> None:
    """A message that was refused because the link had ended, or because there is none yet, was not sent."""
    sent: list[bytes] = []

    def write(data: bytes) -> int:
        sent.append(data)
        return len(data)

    connection = HookedConnection(write)
    if ended:
        connection.connect().raise_alarm("it is over")
    session = Session(connection, RULES, Statistics())
    with pytest.raises(ConnectorConnectionError, match="cannot be sent") as caught:
        session.send(b"a message", Pending(), PATIENCE)
    assert not caught.value.maybe_sent
    assert not sent
    connection.teardown()


def test_request_of_an_ended_session_does_not_reach_the_next_link() -> None:
    """A thread that has its turn to send when its link ends is waited for before the next link can be used."""
    simulator = manual_service()
    with connected(simulator) as connector:
        claimed, go_on = threading.Event(), threading.Event()
        session = connector._last_session()
        write = session._write

        def write_late(request: bytes, timeout: float | None) -> None:
            claimed.set()
            assert go_on.wait(PATIENCE)
            write(request, timeout)

        session._write = write_late  # type: ignore[method-assign]  # as if the thread got no time before it writes
        sender = Caller(connector.send, epsnet(1))
        assert claimed.wait(PATIENCE)
        connector.disconnect()
        connecting = Caller(connector.connect)
        logins = 2 * LOGIN_REQUESTS
        assert simulator.record.wait_for(lambda requests: len(requests) == logins, PATIENCE)
        go_on.set()
        with pytest.raises(ConnectorConnectionError) as caught:
            sender.outcome()
        assert not caught.value.maybe_sent
        connecting.outcome()
        connector.send(epsnet(2))
        assert simulator.record.wait_for(lambda requests: len(requests) > logins, PATIENCE)
        assert [decode(request.body) for request in simulator.record.snapshot("/DATA.BIN")] == [epsnet(2)]
