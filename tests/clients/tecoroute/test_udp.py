"""The UDP port: programs with real UDP sockets, and a tunnel that comes and goes."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

import cnx
from cnx.clients.tecoroute import (
    ConnectorConnectionError,
    ConnectorPlcError,
    TecorouteSimulator,
    UdpConnector,
)
from cnx.clients.tecoroute.client import udp as client_udp
from cnx.clients.tecoroute.client import window as client_window
from cnx.clients.tecoroute.client.udp_port import UdpPort
from cnx.testing import wait_until
from tests.helpers.tecoroute_service import (
    AT_ONCE,
    PATIENCE,
    Caller,
    Interrupted,
    alarm,
    epsnet,
    manual_service,
    may_be_swallowed,
    wait_for_data,
)

SOON = cnx.Backoff(first=0.01, cap=0.05)


def udp_to(simulator: TecorouteSimulator, **options: Any) -> UdpConnector:
    """Return a UDP connector on a free port, to a simulator that listens."""
    url = urlsplit(simulator.urls[0] if simulator.urls else simulator.listen_tcp())
    settings = {
        "port": 0,
        "username": "BroukPytlik",
        "password": "ferda1",
        "plc": "AB_1234",
        "tecoroute_host": url.hostname,
        "tecoroute_port": url.port,
        "pace": AT_ONCE,
        "backoff": SOON,
        **options,
    }
    return UdpConnector(**settings)


@contextmanager
def serving(simulator: TecorouteSimulator, **options: Any) -> Iterator[UdpConnector]:
    """Give a UDP connector whose tunnel is up; it and the simulator are ended after the block."""
    with simulator, udp_to(simulator, **options) as udp:
        udp.manager.wait_until("connected", PATIENCE)
        yield udp


@contextmanager
def program(udp: UdpConnector) -> Iterator[socket.socket]:
    """Give the UDP socket of a program that talks to the port."""
    family = socket.AF_INET6 if udp.address.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        assert udp._port is not None
        sock.connect(udp._port.address)
        yield sock


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is counted."""
    wait_until(condition, "the expected count")


def test_request_and_answer() -> None:
    """A datagram reaches the PLC as it is, and its answer comes back."""
    with serving(TecorouteSimulator()) as udp, program(udp) as sock:
        sock.send(epsnet(1, b"x"))
        assert sock.recv(65535) == epsnet(1, b"x")


@pytest.mark.parametrize("size", [1, 7, 1500, 65507])
def test_sizes(size: int) -> None:
    """Datagrams of all sizes pass, also such as are not EPSNET."""
    with serving(TecorouteSimulator()) as udp, program(udp) as sock:
        sock.send(bytes(size))
        assert sock.recv(65535) == bytes(size)


def test_three_programs_at_once() -> None:
    """Each of three programs gets the answers to its own datagrams, in whatever order they come."""
    simulator = manual_service()
    with serving(simulator) as udp, program(udp) as one, program(udp) as two, program(udp) as three:
        for number, sock in enumerate((one, two, three, one, two, three)):
            sock.send(epsnet(number))
        numbers = sorted(wait_for_data(simulator, 6))
        simulator.push(*reversed(numbers))
        for first, sock in enumerate((one, two, three)):
            assert {sock.recv(65535), sock.recv(65535)} == {epsnet(first), epsnet(first + 3)}


def test_programs_with_the_same_message_ids() -> None:
    """Programs that use the same message ids are answered in the order in which they asked."""
    simulator = manual_service()
    with serving(simulator) as udp, program(udp) as one, program(udp) as two:
        one.send(epsnet(7))
        wait_for_data(simulator, 1)
        two.send(epsnet(7))
        wait_for_data(simulator, 2)
        simulator.push(epsnet(7, b"1!"), epsnet(7, b"2!"))
        assert (one.recv(65535), two.recv(65535)) == (epsnet(7, b"1!"), epsnet(7, b"2!"))


def test_empty_datagram_keeps_the_session_alive() -> None:
    """An empty datagram becomes a request without data, and nobody gets an answer to it."""
    simulator = TecorouteSimulator(keepalive="byte")
    with serving(simulator) as udp, program(udp) as sock:
        sock.send(b"")
        sock.send(epsnet(1))
        assert sock.recv(65535) == epsnet(1)
        assert wait_for_data(simulator, 2) == [b"", epsnet(1)]


def test_unasked_datagrams_are_counted() -> None:
    """What the PLC says to nobody goes to nobody, before and after a program was there."""
    simulator = manual_service()
    with serving(simulator) as udp, program(udp) as sock:
        simulator.push(epsnet(1))
        until(lambda: udp.statistics.unmatched == 1)
        sock.send(epsnet(2))
        wait_for_data(simulator, 1)
        simulator.push(epsnet(9), epsnet(2))
        assert sock.recv(65535) == epsnet(2)
        assert udp.statistics.unmatched == 2


def test_port_stays_open_while_the_tunnel_is_down() -> None:
    """The tunnel is brought up again, and what a program sent meanwhile is forwarded if it is young."""
    simulator = TecorouteSimulator()
    with serving(simulator, expire_after=60.0) as udp, program(udp) as sock:
        before = udp.address
        for number in range(3):
            simulator.stop()
            until(lambda: not udp.connector.connected)
            sock.send(epsnet(number))
            simulator.start()
            assert sock.recv(65535) == epsnet(number)
        assert udp.address == before
        assert udp.manager.counters.losses == 3


def test_datagrams_before_the_tunnel_is_up() -> None:
    """What comes while the first login is under way is held, and answered like all else."""
    simulator = TecorouteSimulator()
    with udp_to(simulator, expire_after=60.0) as udp, program(udp) as sock:
        sock.send(epsnet(1))
        until(lambda: udp.statistics.received == 1)
        with simulator:
            assert sock.recv(65535) == epsnet(1)
            udp.close()


def test_old_datagrams_expire() -> None:
    """What was held for too long is not forwarded when the tunnel is up again."""
    simulator = TecorouteSimulator()
    with serving(simulator, expire_after=60.0) as udp, program(udp) as sock:
        simulator.stop()
        until(lambda: not udp.connector.connected)
        sock.send(epsnet(1))
        until(lambda: len(udp._held) == 1)
        udp._held[0] = (0.0, *udp._held[0][1:])
        simulator.start()
        udp.manager.wait_until("connected", PATIENCE)
        sock.send(epsnet(2))
        assert sock.recv(65535) == epsnet(2)
        until(lambda: udp.statistics.forwarded == 1)  # an answer may come before that is counted
        assert udp.statistics.expired == 1


def test_held_datagrams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the tunnel is down only so many datagrams are held: the latest ones."""
    monkeypatch.setattr(client_udp, "HELD_LIMIT", 3)
    simulator = TecorouteSimulator()
    with simulator, udp_to(simulator, expire_after=60.0) as udp, program(udp) as sock:
        udp.manager.wait_until("connected", PATIENCE)
        simulator.stop()
        until(lambda: not udp.connector.connected)
        for number in range(10):
            sock.send(epsnet(number))
        until(lambda: udp.statistics.overflowed == 7)
        simulator.start()
        assert [sock.recv(65535) for _ in range(3)] == [epsnet(7), epsnet(8), epsnet(9)]


def test_silent_plc_does_not_hold_up_the_port() -> None:
    """With all places taken by unanswered requests, datagrams expire instead of piling up."""
    simulator = manual_service()
    with serving(simulator, max_outstanding=2, expire_after=0.2) as udp, program(udp) as sock:
        for number in range(5):
            sock.send(epsnet(number))
        until(lambda: udp.statistics.expired == 3)
        assert udp.statistics.forwarded == 2


@pytest.mark.parametrize(
    ("allow", "answered"),
    [(["127.0.0.1"], True), (["10.0.0.0/8", "127.0.0.0/8"], True), (["10.0.0.0/8"], False), ([], False)],
)
def test_allowed_addresses(allow: list[str], answered: bool) -> None:
    """Who is not allowed is counted and not forwarded."""
    with serving(TecorouteSimulator(), allow=allow) as udp, program(udp) as sock:
        sock.send(epsnet(1))
        until(lambda: udp.statistics.received == 1)
        if answered:
            assert sock.recv(65535) == epsnet(1)
            until(lambda: udp.statistics.forwarded == 1)  # an answer may come before that is counted
        assert (udp.statistics.refused, udp.statistics.forwarded) == ((0, 1) if answered else (1, 0))


def test_over_ipv6() -> None:
    """The port may have an IPv6 address."""
    try:
        with serving(TecorouteSimulator(), host="::1", allow=["::1"]) as udp, program(udp) as sock:
            sock.send(epsnet(1))
            assert sock.recv(65535) == epsnet(1)
    except ConnectorConnectionError:
        pytest.skip("this machine has no IPv6")


def test_ipv4_address_on_an_ipv6_port() -> None:
    """An IPv4 address is recognized in its IPv6 form."""
    allowed = client_udp.Allowed(["192.168.1.0/24"])
    assert ("::ffff:192.168.1.7", 1) in allowed
    assert ("::ffff:192.168.2.7", 1) not in allowed


def test_port_that_everybody_reaches(caplog: pytest.LogCaptureFixture) -> None:
    """A port on all interfaces without an allow-list is possible, and is warned of."""
    with TecorouteSimulator() as simulator:
        with udp_to(simulator, host="0.0.0.0", allow=["127.0.0.1"]):
            assert "every machine" not in caplog.text
        with udp_to(simulator, host="0.0.0.0"):
            assert "every machine" in caplog.text


def test_port_in_use() -> None:
    """A port that is taken is a clear error, and nothing is connected."""
    with TecorouteSimulator() as simulator, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        udp = udp_to(simulator, port=taken.getsockname()[1])
        for open_it in (udp.open, udp.run, lambda: udp.run(once=True)):
            with pytest.raises(ConnectorConnectionError, match=r"127.0.0.1 port \d+: Address already in use"):
                open_it()
        assert simulator.sessions == []
        assert not udp.is_running


def test_run_until_closed() -> None:
    """run() blocks, opens the tunnel again after a loss, and returns quietly on close(); it works again after that."""
    simulator = TecorouteSimulator()
    with simulator:
        udp = udp_to(simulator)
        for _ in range(2):
            caller = Caller(udp.run)
            until(lambda: udp.connector.connected)
            simulator.drop_sessions()
            until(lambda: udp.connector.connected and udp.is_running)
            udp.close()
            caller.outcome()
            assert not udp.is_running


@pytest.mark.parametrize("once", [True, False])
def test_run_ends_when_refused(once: bool) -> None:
    """A PLC that the service refuses ends run() with that error."""
    with TecorouteSimulator() as simulator, pytest.raises(ConnectorPlcError, match="XY_0000"):
        udp_to(simulator, plc="XY_0000").run(once=once)


def test_run_once_ends_with_the_tunnel() -> None:
    """run(once=True) ends when the tunnel is lost, and closes the port, as the published package does."""
    with TecorouteSimulator() as simulator:
        udp = udp_to(simulator)
        caller = Caller(udp.run, once=True)
        until(lambda: udp.connector.connected)
        simulator.drop_sessions()
        with pytest.raises(ConnectorConnectionError):
            caller.outcome()
        assert not udp.is_running


def test_close_while_the_service_is_away() -> None:
    """A connector that tries to reach its service can be closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    service = {"tecoroute_host": "127.0.0.1", "tecoroute_port": port, "pace": AT_ONCE}
    udp = UdpConnector(port=0, username="u", password="secret-word", plc="x", **service)
    caller = Caller(udp.run)
    until(lambda: udp.manager.counters.attempts > 0)
    assert "secret-word" not in repr(udp)
    udp.close()
    caller.outcome()


def test_close_in_a_handler() -> None:
    """A handler on the thread that brings the answers may close everything."""
    simulator = TecorouteSimulator()
    with serving(simulator) as udp, program(udp) as sock:
        closed = threading.Event()
        latency = udp.connector.PlcSignals.LATENCY_MEASURED
        with cnx.subscribe(udp.connector, latency, lambda seconds: (udp.close(), closed.set())):
            sock.send(epsnet(1))
            assert closed.wait(PATIENCE)


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70000},
        {"port": -1},
        {"host": "not a host"},
        {"allow": ["here"]},
        {"expire_after": -1},
        {"plc": ""},
        {"latency_count": 0},
    ],
    ids=str,
)
def test_bad_arguments(options: dict[str, Any]) -> None:
    """What cannot be is refused by the constructor."""
    settings: dict[str, Any] = {"username": "u", "password": "p", "plc": "x", **options}
    with pytest.raises(ValueError, match=r"."):
        UdpConnector(**settings)


def test_defaults() -> None:
    """The port is that of the published package, and the address is not all interfaces."""
    udp = UdpConnector(username="u", password="p", plc="x", name="pump")
    assert (udp.address, udp.name, udp.is_running) == ("127.0.0.1:61682", "pump", False)


def test_unknown_host() -> None:
    """A host name that does not exist is a clear error."""
    udp = UdpConnector("no-such-host.invalid", username="u", password="p", plc="x")
    with pytest.raises(ConnectorConnectionError, match=r"no-such-host.invalid"):
        udp.open()


def test_close_while_it_opens() -> None:
    """close() at any moment of run(), also with once, ends it, and leaves neither port nor tunnel open."""
    moments = random.Random(4)
    with TecorouteSimulator() as simulator:
        udp = udp_to(simulator)
        for turn in range(40):
            seen = len(simulator.record.snapshot())
            caller, step = Caller(udp.run, once=bool(turn % 2)), moments.randrange(4)
            if step:
                assert simulator.record.wait_for(lambda requests, to=seen + step: len(requests) >= to, PATIENCE)
            while caller.is_alive():  # it may not have begun when close() is called
                udp.close()
                caller.join(0.01)
            caller.outcome()
            assert not udp.is_running
            assert not udp.connector.connected


def test_opening_and_closing_of_many_threads() -> None:
    """Whatever the order in which threads open and close, all is closed in the end."""
    with TecorouteSimulator() as simulator:
        udp = udp_to(simulator)

        def open_and_close() -> None:
            for _ in range(15):
                udp.open()
                udp.close()

        for caller in [Caller(open_and_close) for _ in range(3)]:
            caller.outcome()
        udp.close()
        assert not udp.is_running
        assert not udp.connector.connected
        assert udp.manager.state is cnx.State.DISCONNECTED


def test_second_run_once() -> None:
    """A second run(once=True) is refused, as the port is taken, and the first goes on; a second run() joins it."""
    simulator = TecorouteSimulator()
    with simulator:
        udp = udp_to(simulator)
        first = Caller(udp.run)
        until(lambda: udp.connector.connected)
        with pytest.raises(ConnectorConnectionError, match="already"):
            udp.run(once=True)
        second = Caller(udp.run)
        with program(udp) as sock:
            sock.send(epsnet(1))
            assert sock.recv(65535) == epsnet(1)
        udp.close()
        first.outcome()
        second.outcome()


def test_tunnel_that_comes_up_after_the_port_was_closed() -> None:
    """A tunnel without its port is ended as soon as it is up."""
    with TecorouteSimulator() as simulator:
        udp = udp_to(simulator)
        udp.connector.try_connect()
        until(lambda: not udp.connector.connected)
        assert simulator.record.wait_for(lambda requests: len(requests) == 3, PATIENCE)


@pytest.mark.parametrize("repeats", [1, 3])
def test_lost_answer_does_not_shift_the_others(repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that use one message id for everything get their own answers again after one was lost."""
    monkeypatch.setattr(client_window, "REPEATED_AFTER", 0.0)
    simulator = manual_service()
    with serving(simulator) as udp, program(udp) as one, program(udp) as two:
        for turn in range(repeats):  # the answers to these are lost
            one.send(epsnet(0x1234, b"%d?" % turn))
            wait_for_data(simulator, turn + 1)
        one.send(epsnet(0x1234))
        wait_for_data(simulator, repeats + 1)
        simulator.push(epsnet(0x1234, b"1!"))
        assert one.recv(65535) == epsnet(0x1234, b"1!")
        two.send(epsnet(0x1234))
        wait_for_data(simulator, repeats + 2)
        simulator.push(epsnet(0x1234, b"2!"))
        assert two.recv(65535) == epsnet(0x1234, b"2!")


def test_port_that_cannot_be_opened_leaves_nothing() -> None:
    """A port that was never opened, or could not be, can be closed."""
    port = UdpPort("127.0.0.1", 0, lambda datagrams: None)
    port.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = UdpPort("127.0.0.1", taken.getsockname()[1], lambda datagrams: None)
        with pytest.raises(ConnectorConnectionError):
            port.open()
        port.close()


@may_be_swallowed
def test_interrupted_opening() -> None:
    """Wherever an alarm interrupts open(), closing leaves nothing behind."""
    moments = random.Random(5)
    with TecorouteSimulator() as simulator:
        udp = udp_to(simulator)
        udp.open()
        udp.close()
        for _ in range(40):
            with contextlib.suppress(Interrupted), alarm(moments.uniform(0.0001, 0.002)):
                udp.open()
            udp.close()
            assert not udp.is_running
