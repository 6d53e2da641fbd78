"""The life of a connector: run and close, recovery by a manager, refusals that end it, stopping at any moment."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import cnx
from cnx.clients.tecoroute import (
    ConnectorConnectionError,
    ConnectorLatencyError,
    ConnectorUserError,
    TecorouteSimulator,
)
from cnx.clients.tecoroute.simulator.service import Accounts
from cnx.testing import NewThreads, wait_until
from tests.helpers.tecoroute_service import (
    LOGIN_REQUESTS,
    PATIENCE,
    Caller,
    connected,
    connector_to,
    epsnet,
    manual_service,
    wait_for_data,
)

SOON = cnx.Backoff(first=0.01, cap=0.05)


def connections_of(simulator: TecorouteSimulator) -> int:
    """Return how many logins the service has seen the beginning of."""
    return len(simulator.record.snapshot("/INDEX.XML"))


def test_run_returns_when_closed() -> None:
    """run() connects, blocks while the link is up, and returns quietly on close()."""
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        up = threading.Event()
        with cnx.subscribe(connector, connector.Signals.CONNECTED, up.set):
            caller = Caller(connector.run)
            assert up.wait(PATIENCE)
        assert connector.is_running
        connector.close()
        caller.outcome()
        assert not connector.is_running


def test_run_again() -> None:
    """run() works any number of times on one connector."""
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        closers: list[Caller] = []
        for _ in range(3):
            with cnx.subscribe(connector, connector.Signals.CONNECTED, lambda: closers.append(Caller(connector.close))):
                Caller(connector.run).outcome()
            closers[-1].outcome()
        assert connections_of(simulator) == 3


def test_run_twice_at_once() -> None:
    """A second run() beside the first one uses the same link."""
    simulator = TecorouteSimulator()
    with connected(simulator) as connector:
        callers = [Caller(connector.run), Caller(connector.run)]
        assert connector.request(epsnet(1), PATIENCE) == epsnet(1)
        connector.close()
        for caller in callers:
            caller.outcome()
        assert connections_of(simulator) == 1


def test_run_raises_when_the_link_is_lost() -> None:
    """run() raises the reason, and does not connect anew by itself."""
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        lose = cnx.subscribe(connector, connector.Signals.CONNECTED, lambda: Caller(simulator.drop_sessions))
        with lose, pytest.raises(ConnectorConnectionError):
            Caller(connector.run).outcome()
        assert connections_of(simulator) == 1


def test_run_raises_when_the_service_is_slow() -> None:
    """A service that is left for its latency ends run() with that error."""
    with connected(manual_service(), silence_limit=0.05) as connector:
        caller = Caller(connector.run)
        connector.send(epsnet(1))
        with pytest.raises(ConnectorLatencyError):
            caller.outcome()


@pytest.mark.parametrize("step", ["/INDEX.XML", "/IAM.TXT", "/PLC.TXT"])
def test_close_during_the_login(step: str) -> None:
    """close() ends a login that hangs, and run() returns quietly."""
    with TecorouteSimulator(faults={step: "none"}) as simulator:
        connector = connector_to(simulator)
        caller = Caller(connector.run)
        assert simulator.record.wait_for(lambda requests: any(r.path == step for r in requests), PATIENCE)
        connector.close()
        caller.outcome()


def test_close_in_the_middle_of_an_answer() -> None:
    """Half an answer is not delivered when the connector is closed."""
    simulator = manual_service()
    with connected(simulator) as connector:
        simulator.push(epsnet(1))
        simulator.sessions[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        assert connector.receive(PATIENCE) == epsnet(1)
        connector.close()
        with pytest.raises(ConnectorConnectionError):
            connector.receive()


def test_nothing_is_sent_to_end_a_session() -> None:
    """The end of a session is the end of the TCP connection, and no request."""
    simulator = TecorouteSimulator()
    with connected(simulator) as connector:
        connector.request(epsnet(1), PATIENCE)
    assert len(simulator.record.snapshot()) == LOGIN_REQUESTS + 1


def test_manager_recovers() -> None:
    """Under a manager, a connector logs in again after each loss, and the PLC answers again."""
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator)
        with cnx.ConnectionManager(connector, backoff=SOON) as manager:
            for number in range(5):
                assert connector.request(epsnet(number), PATIENCE) == epsnet(number)
                lost = threading.Event()
                with cnx.subscribe(connector, connector.Signals.DISCONNECTED, lost.set):
                    simulator.drop_sessions()
                    assert lost.wait(PATIENCE)
                manager.wait_until("connected", PATIENCE)
            assert manager.counters.losses == 5


def test_wrong_password_is_fatal_for_a_manager() -> None:
    """A manager does not try a refused login again."""
    with TecorouteSimulator() as simulator:
        manager = cnx.ConnectionManager(connector_to(simulator, password="x"), backoff=SOON)
        with pytest.raises(ConnectorUserError):
            manager.connect(PATIENCE)
        assert manager.state is cnx.State.DISCONNECTED
        assert connections_of(simulator) == 1
        manager.teardown()


def test_persistent_manager_waits_after_a_refusal() -> None:
    """A manager that persists makes one attempt, and then waits the ten minutes that a refusal asks for."""
    with TecorouteSimulator() as simulator:
        manager = cnx.ConnectionManager(connector_to(simulator, password="x"), backoff=SOON, persist=True)
        with pytest.raises(cnx.TimedOut, match="ERR_PASSWORD"):
            manager.connect(0.5)
        assert manager.state is cnx.State.RECOVERING
        assert connections_of(simulator) == 1
        manager.teardown()


def test_several_users_and_plcs() -> None:
    """Connectors of several users to several PLCs do not get in each other's way."""
    accounts = Accounts(
        users={"anna": "a", "boris": "b"},
        plcs={"one": lambda datagram: datagram + b"1", "two": lambda datagram: datagram + b"2"},
    )
    simulator = TecorouteSimulator(accounts)
    anna = connector_to(simulator, username="anna", password="a", plc="one")
    boris = connector_to(simulator, username="boris", password="b", plc="two")
    with simulator, anna, boris:
        assert (anna.request(b"x", PATIENCE), boris.request(b"x", PATIENCE)) == (b"x1", b"x2")


def test_handler_may_tear_down() -> None:
    """A handler on the thread that brings the answers may end everything."""
    simulator = TecorouteSimulator()
    with connected(simulator) as connector:
        ended = threading.Event()
        with (
            cnx.subscribe(connector, connector.PlcSignals.DATAGRAM_RECEIVED, lambda datagram: connector.teardown()),
            cnx.subscribe(connector, connector.Signals.DISCONNECTED, ended.set),
        ):
            connector.send(epsnet(1))
            assert ended.wait(PATIENCE)
        with pytest.raises(cnx.TornDown):
            connector.connect()


def test_teardown_while_everybody_waits() -> None:
    """teardown() ends a receive and a request that would have waited for ever."""
    simulator = manual_service()
    with connected(simulator) as connector:
        callers = [Caller(connector.receive), Caller(connector.request, epsnet(1))]
        wait_for_data(simulator, 1)
        connector.teardown()
        for caller in callers:
            with pytest.raises(ConnectorConnectionError, match="teardown"):
                caller.outcome()


def test_many_connectors_share_a_thread(new_threads: NewThreads) -> None:
    """Connectors that share a listener need one thread for all of them."""
    listener = cnx.Listener("tecoroute")
    with TecorouteSimulator() as simulator:
        connectors = [connector_to(simulator, listener=listener) for _ in range(20)]
        for connector in connectors:
            connector.connect()
        for number, connector in enumerate(connectors):
            connector.send(epsnet(number))
        assert [connector.receive(PATIENCE) for connector in connectors] == [epsnet(number) for number in range(20)]
        names = [thread.name for thread in new_threads("cnx listener")]
        assert names == ["cnx listener tecoroute"]
        for connector in connectors:
            connector.teardown()


def test_nothing_is_sent_during_the_login() -> None:
    """A message is refused while the login is under way: nobody knows whether there will be a tunnel."""
    with TecorouteSimulator(faults={"/PLC.TXT": "none"}) as simulator:
        connector = connector_to(simulator)
        caller = Caller(connector.run)
        assert simulator.record.wait_for(lambda requests: len(requests) == LOGIN_REQUESTS, PATIENCE)
        assert connector.is_running
        with pytest.raises(cnx.NotConnected):
            connector.send(epsnet(1))
        connector.close()
        caller.outcome()


def test_many_connections() -> None:
    """The simulated service has room for many clients at once."""
    listener = cnx.Listener("tecoroute")
    with TecorouteSimulator() as simulator:
        connectors = [connector_to(simulator, listener=listener).connect() for _ in range(200)]
        assert {connector.request(epsnet(7), PATIENCE) for connector in connectors} == {epsnet(7)}
        assert len(simulator.sessions) == 200
        for connector in connectors:
            connector.teardown()


def test_forgotten_connector_ends() -> None:
    """The garbage collector warns of a connector that nobody uses any more, and ends its link."""
    simulator = TecorouteSimulator()
    with simulator:
        connector = connector_to(simulator).connect()
        connector.request(epsnet(1), PATIENCE)
        gone = weakref.ref(connector)
        del connector
        with pytest.warns(ResourceWarning, match="was not disconnected"):
            gc.collect()
        assert gone() is None
        wait_until(lambda: not simulator.sessions, "the end of the link")
