"""What comes at the worst moment: closing, losses, interrupts and forks, over and over."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

import cnx
from cnx.clients.tecoroute import (
    Connector,
    ConnectorConnectionError,
    ConnectorError,
    ConnectorNotConnected,
    Statistics,
    TecorouteSimulator,
)
from cnx.clients.tecoroute.client import window as client_window
from cnx.clients.tecoroute.client.policy import Rules
from cnx.clients.tecoroute.client.session import Session
from cnx.clients.tecoroute.client.window import Pending
from cnx.deadline import Deadline
from cnx.testing import wait_until
from tests.helpers.tecoroute_service import (
    AT_ONCE,
    PATIENCE,
    Caller,
    HookedConnection,
    Interrupted,
    alarm,
    connected,
    connector_to,
    epsnet,
    manual_service,
    may_be_swallowed,
    wait_for_data,
)

MANY = 2000
"""Requests that take longer than any alarm here."""

ROUNDS = 200 if os.environ.get("CNX_FULL_MATRIX") else 20


class AtTheEndOfTheLogin(Connector):
    """A connector that calls a function when it has logged in, before that is told."""

    then: Callable[[Deadline], object]

    def prepare(self, deadline: Deadline) -> None:
        """Log in, then call it."""
        super().prepare(deadline)
        self.then(deadline)


@contextmanager
def interrupted_connector(then: Callable[[Connector, Deadline], object]) -> Iterator[Connector]:
    """Give a connector to whose attempts something happens just before they succeed."""
    with TecorouteSimulator() as simulator:
        url = urlsplit(simulator.listen_tcp())
        place = {"tecoroute_host": str(url.hostname), "tecoroute_port": url.port or 0, "pace": AT_ONCE}
        connector = AtTheEndOfTheLogin("BroukPytlik", "ferda1", "AB_1234", **place)  # type: ignore[arg-type]
        connector.then = lambda deadline: then(connector, deadline)
        yield connector
        connector.teardown()


def close_meanwhile(connector: Connector, deadline: Deadline) -> None:
    """Close on another thread, and return when that has taken effect."""
    cancelled = threading.Event()
    with deadline.waking(cancelled.set):
        Caller(connector.close)
        assert cancelled.wait(PATIENCE)


def interrupt(connector: Connector, deadline: Deadline) -> None:
    """Interrupt the attempt."""
    raise Interrupted


def test_close_between_login_and_connected() -> None:
    """A link that ends before it is told of leaves nothing to wait for: run() returns, and so does receive()."""
    with interrupted_connector(close_meanwhile) as connector:
        Caller(connector.run).outcome()
        for call in (connector.receive, lambda: connector.send(b"x"), lambda: connector.request(b"x")):
            with pytest.raises(ConnectorNotConnected):
                Caller(call).outcome()


def test_interrupt_between_login_and_connected() -> None:
    """An attempt that is interrupted after the login leaves no session that nobody would end."""
    with interrupted_connector(interrupt) as connector:
        with pytest.raises(Interrupted):
            connector.connect()
        with pytest.raises(ConnectorNotConnected):
            Caller(connector.receive).outcome()
        assert not connector.is_running


def test_end_while_connected_is_told() -> None:
    """Closing in a handler of CONNECTED ends the session, as it was told of."""
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        with cnx.subscribe(connector, connector.Signals.CONNECTED, connector.close):
            Caller(connector.run).outcome()
        with pytest.raises(ConnectorNotConnected):
            Caller(connector.receive).outcome()


def test_close_at_any_moment() -> None:
    """However far it got, run() returns after close(), and each link that was told of has one end."""
    told: list[str] = []
    moments = random.Random(1)
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        with (
            cnx.subscribe(connector, connector.Signals.CONNECTED, lambda: told.append("connected")),
            cnx.subscribe(connector, connector.Signals.DISCONNECTED, lambda reason: told.append("disconnected")),
        ):
            for _ in range(ROUNDS):
                seen = len(simulator.record.snapshot())
                caller, step = Caller(connector.run), moments.randrange(1, 4)
                assert simulator.record.wait_for(lambda requests, to=seen + step: len(requests) >= to, PATIENCE)
                callers = [Caller(connector.receive), Caller(connector.request, epsnet(1))]
                connector.close()
                caller.outcome()
                for each in callers:
                    with contextlib.suppress(ConnectorError):
                        each.outcome()
    assert told == ["connected", "disconnected"] * (len(told) // 2)


def test_losses_at_any_moment() -> None:
    """However often the service goes, everybody who waits hears of it, and each link has one end."""
    told: list[str] = []
    over = threading.Event()
    simulator = manual_service()
    with simulator:
        connector = connector_to(simulator)
        manager = cnx.ConnectionManager(connector, backoff=cnx.Backoff(first=0.001, cap=0.002))

        def use(call: Callable[[], object]) -> None:
            while not over.is_set():
                with contextlib.suppress(cnx.CnxError):
                    manager.wait_until("connected", PATIENCE)
                    call()

        with (
            cnx.subscribe(connector, connector.Signals.CONNECTED, lambda: told.append("connected")),
            cnx.subscribe(connector, connector.Signals.DISCONNECTED, lambda reason: told.append("disconnected")),
        ):
            manager.connect(PATIENCE)
            calls = [lambda: connector.receive(1.0), lambda: connector.request(epsnet(1), 1.0)]
            users = [Caller(use, call) for call in [*calls, *calls]]
            for _ in range(ROUNDS):
                ends = told.count("disconnected")
                simulator.drop_sessions()
                wait_until(lambda: told.count("disconnected") > ends, "the end of the link")  # noqa: B023
                manager.wait_until("connected", PATIENCE)
            manager.teardown()
            over.set()
            for user in users:
                user.outcome()
    assert told == ["connected", "disconnected"] * (len(told) // 2)
    assert len(told) >= 2 * ROUNDS


@may_be_swallowed
def test_interrupts_in_an_attempt() -> None:
    """Wherever an alarm interrupts connect(), nothing is left open, and the next attempt succeeds."""
    moments = random.Random(2)
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        connector.connect()
        connector.disconnect()
        for _ in range(ROUNDS):
            with contextlib.suppress(Interrupted), alarm(moments.uniform(0.0001, 0.004)):
                connector.connect()
            connector.disconnect()
            assert not connector.connected
        assert connector.connect().request(epsnet(1), PATIENCE) == epsnet(1)
        connector.teardown()


@may_be_swallowed
def test_interrupts_in_requests() -> None:
    """Wherever an alarm interrupts requests, the connector goes on, and no request keeps its place."""
    moments = random.Random(3)
    with connected(TecorouteSimulator(), max_outstanding=4) as connector:
        number = 0
        for _ in range(ROUNDS):
            with contextlib.suppress(Interrupted, ConnectorError), alarm(moments.uniform(0.0005, 0.005)):
                for _ in range(MANY):  # not for ever, as the interrupt may be swallowed
                    number = (number + 1) % 65535
                    connector.request(epsnet(number), PATIENCE)
            connector.connect()  # an interrupted write ends the link
        assert connector.request(epsnet(65535), PATIENCE) == epsnet(65535)


def test_interrupted_request_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that nobody waits for any more does not hold up others for ever."""
    monkeypatch.setattr(client_window, "ANSWER_TIMEOUT", 0.05)
    simulator = manual_service()
    with connected(simulator, max_outstanding=1) as connector:
        with pytest.raises(Interrupted), alarm(0.05):
            connector.request(epsnet(1))
        connector.send(epsnet(2), timeout=PATIENCE)
        assert wait_for_data(simulator, 2)[-1] == epsnet(2)


def test_signal_handler_that_sends() -> None:
    """A send that interrupts a thread which sends is refused, as it would wait for itself; the sender goes on."""
    refused: list[RuntimeError] = []

    def write(data: bytes) -> int:
        with pytest.raises(RuntimeError, match="interrupts") as caught:
            session.send(b"y", Pending(), None)
        refused.append(caught.value)
        return len(data)

    with HookedConnection(write) as connection:
        session = Session(connection, Rules(1.0, 1, 10, 1.0, None), Statistics())
        for _ in range(2):
            Caller(session.send, b"x", Pending(), PATIENCE).outcome()
    assert len(refused) == 2


def test_handler_that_closes_frees_senders() -> None:
    """Who waits to send hears at once that the link ends, although the handler that ended it still runs."""
    simulator = manual_service()
    with connected(simulator, max_outstanding=1) as connector:
        connector.send(epsnet(1))
        sender = Caller(connector.send, epsnet(2))
        ended: list[bool] = []
        done = threading.Event()

        def on_datagram(datagram: bytes) -> None:
            connector.disconnect()
            with contextlib.suppress(ConnectorNotConnected):
                sender.outcome()
            ended.append(not sender.is_alive())
            done.set()

        with cnx.subscribe(connector, connector.PlcSignals.DATAGRAM_RECEIVED, on_datagram):
            simulator.push(epsnet(9))
            assert done.wait(PATIENCE * 2)
        assert ended == [True]
        with pytest.raises(ConnectorNotConnected):
            sender.outcome()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """In a forked child the link is gone, and so is the wait for what it brings; the parent keeps it."""
    with connected(TecorouteSimulator()) as connector:
        waiting = Caller(connector.receive)
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                try:
                    connector.receive(PATIENCE)
                except ConnectorNotConnected:
                    code = 0
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert connector.request(epsnet(1), PATIENCE) == epsnet(1)
        connector.disconnect()
        with pytest.raises(ConnectorConnectionError):
            waiting.outcome()
