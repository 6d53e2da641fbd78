"""A master and its backup: which server is used, what is told, what survives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from cnx.clients.smartbus import BusSignals, Packet, Pulse, RegistrationRefused, SmartBusClient
from cnx.clients.smartbus.protocol.codes import CmdType, InternalCmd
from cnx.clients.smartbus.protocol.messages import RegisterAck
from cnx.clients.smartbus.protocol.packets import Address
from cnx.clients.smartbus.simulator import BusServer
from cnx.deadline import Deadline
from cnx.errors import ConnectError, ConnectionLost, NotConnected
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe
from cnx.testing import NewThreads, eventually
from tests.helpers.smartbus_peer import PATIENCE, SERVER, US, Listening, endpoint
from tests.helpers.smartbus_scene import Recorder, client_of
from tests.threads.test_process import exit_code, fork, in_child

Servers = tuple[BusServer, BusServer]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """A master and its backup."""
    with BusServer(unit=0) as master, BusServer(unit=1, bus=master.bus) as backup:
        for server in (master, backup):
            server.listen_tcp()
            server.flow("proj", "echo")(lambda *values: values)
        yield master, backup


def paired(servers: Servers, unit: int = 20, **options: Any) -> SmartBusClient:
    """Return a client of both servers that is not connected."""
    master, backup = (endpoint(server.urls[0]) for server in servers)
    return client_of(master[1], unit, 1, backup=backup, **options)


def wait_for_links(client: SmartBusClient, count: int) -> None:
    """Wait until the client is registered at so many servers."""
    assert client._uplinks.changed.wait_for(lambda: len(client._uplinks.up) == count, PATIENCE)


def server_of(servers: Servers, address: str | None) -> BusServer:
    """Return the server at an address."""
    return next(server for server in servers if address is not None and server.urls[0].endswith(address))


def test_both_links_are_registered(servers: Servers) -> None:
    """The client is on the bus once, over two links, and told so once."""
    client = paired(servers)
    recorder = Recorder(client)
    client.connect()
    wait_for_links(client, 2)
    recorder.next(client.Signals.CONNECTED)
    assert [len(server.sessions) for server in servers] == [1, 1]
    assert servers[0].bus.clients == [Address(20, 1, 9)]
    client.disconnect()
    recorder.next(client.Signals.DISCONNECTED)
    assert recorder.seen.empty()


@pytest.mark.parametrize("first", [0, 1])
def test_loss_of_one_server(servers: Servers, first: int) -> None:
    """When the active server dies the other takes over; when it comes back it is second. Nothing is told."""
    client = paired(servers)
    recorder = Recorder(client)
    servers[1 - first].stop()
    client.connect()
    assert server_of(servers, client.active_server) is servers[first]
    servers[1 - first].start()
    wait_for_links(client, 2)
    recorder.next(client.Signals.CONNECTED)
    servers[first].kill()
    wait_for_links(client, 1)
    assert server_of(servers, client.active_server) is servers[1 - first]
    assert client.ping(0, 0, 1) > 0
    assert client.invoke_flow(0, 0, "proj", "echo", [1]).result() == [1]
    servers[first].start()
    wait_for_links(client, 2)
    assert server_of(servers, client.active_server) is servers[1 - first]
    assert client.connected
    client.teardown()
    while (told := recorder.seen.get(timeout=PATIENCE)[0]) is not client.Signals.DISCONNECTED:
        assert told in (BusSignals.FLOW_ACKNOWLEDGED, BusSignals.FLOW_RESPONDED)


def test_loss_of_the_other_server(servers: Servers) -> None:
    """The loss of the server that is not used changes nothing."""
    client = paired(servers).connect()
    wait_for_links(client, 2)
    active = server_of(servers, client.active_server)
    other = servers[1] if active is servers[0] else servers[0]
    other.kill()
    wait_for_links(client, 1)
    assert server_of(servers, client.active_server) is active
    assert client.ping(0, 0, 1) > 0
    client.teardown()


def test_loss_of_both_servers(servers: Servers) -> None:
    """The last loss is told, once, and fails calls; a manager brings the client back when either server returns."""
    release = threading.Event()
    for server in servers:
        server.flow("proj", "wait")(lambda: release.wait(PATIENCE))
    client = paired(servers)
    recorder = Recorder(client)
    manager = ConnectionManager(client)
    manager.connect(PATIENCE)
    wait_for_links(client, 2)
    call = client.invoke_flow(0, 0, "proj", "wait")
    assert call.acknowledged()
    for server in servers:
        server.kill()
    with pytest.raises(ConnectionLost):
        call.result()
    recorder.until(client.Signals.DISCONNECTED)
    with pytest.raises(NotConnected):
        client.send(1, 3, 21, 1, 9)
    servers[1].start()
    manager.wait_until("connected", PATIENCE)
    assert server_of(servers, client.active_server) is servers[1]
    assert client.invoke_flow(0, 0, "proj", "echo", [2]).result() == [2]
    manager.teardown()
    release.set()
    assert client._uplinks.up == ()


def test_calls_survive_the_loss_of_one_server(servers: Servers) -> None:
    """A call that the surviving server runs is answered over the surviving link."""
    release = threading.Event()
    for server in servers:
        server.flow("proj", "slow")(lambda: [release.wait(PATIENCE)])
    client = paired(servers)
    servers[1].stop()
    client.connect()
    servers[1].start()
    wait_for_links(client, 2)
    other = client_of(endpoint(servers[1].urls[0])[1], 21).connect()
    servers[0].stop()
    wait_for_links(client, 1)
    calls = [client.invoke_flow(0, 0, "proj", "slow") for _ in range(5)]
    servers[0].start()
    wait_for_links(client, 2)
    assert all(call.acknowledged() for call in calls)
    release.set()
    assert [call.result() for call in calls] == [[True]] * 5
    other.teardown()
    client.teardown()


def test_call_on_a_link_that_just_broke_goes_over_the_other(servers: Servers) -> None:
    """A call that the broken link does not take is sent over the other one, before the loss is even noticed."""
    client = paired(servers).connect()
    wait_for_links(client, 2)
    entered, release = threading.Event(), threading.Event()
    subscribe(client, client.Signals.MESSAGE_RECEIVED, lambda message: (entered.set(), release.wait(PATIENCE)))
    client.send_ping(0, 0, 1)
    assert entered.wait(PATIENCE)  # the listener is busy, and hears of nothing
    broken = client._uplinks.up[0]
    broken.release(ConnectionLost("broken by the test"), 0.0)
    assert client._uplinks.up[0] is broken
    call = client.invoke_flow(0, 0, "proj", "echo", [1])
    release.set()
    assert call.result() == [1]
    client.teardown()


def test_ping_from_a_handler(servers: Servers) -> None:
    """A handler that waits for an answer which its own thread would read gets an error at once, with a backup too."""
    client = paired(servers).connect()
    failed: Future[float] = Future()

    def on_message(message: Packet) -> None:
        try:
            client.ping(0, 0, 1)
        except RuntimeError as error:
            failed.set_exception(error)

    with subscribe(client, client.Signals.MESSAGE_RECEIVED, on_message):
        client.send_ping(0, 0, 1)
        with pytest.raises(RuntimeError, match="must not wait"):
            failed.result(PATIENCE)
    client.teardown()


def test_sending_goes_on_while_the_active_server_dies(servers: Servers) -> None:
    """There is no moment at which the client cannot send while one server is there."""
    client = paired(servers).connect()
    wait_for_links(client, 2)
    active = server_of(servers, client.active_server)
    killer = threading.Timer(0.05, active.kill)
    killer.start()
    while killer.is_alive():
        client.send(1, 3, 0, 0, 1, b"on and on")
    killer.join()
    wait_for_links(client, 1)
    assert server_of(servers, client.active_server) is not active
    client.teardown()


def test_one_server_refuses(servers: Servers) -> None:
    """A refusal by one server is silent while the other lets us in, and final for that link."""
    servers[0].users = {}
    client = paired(servers)
    recorder = Recorder(client)
    client.connect()
    recorder.next(client.Signals.CONNECTED)
    assert server_of(servers, client.active_server) is servers[1]
    client.teardown()
    recorder.next(client.Signals.DISCONNECTED)
    assert recorder.seen.empty()


def test_both_servers_refuse(servers: Servers) -> None:
    """When both refuse, the attempt failed for good."""
    for server in servers:
        server.users = {}
    client = paired(servers)
    with pytest.raises(RegistrationRefused):
        client.connect()
    client.teardown()


def test_one_refuses_and_one_is_down(servers: Servers) -> None:
    """While one server may still come, the failure is not final."""
    servers[0].users = {}
    servers[1].stop()
    client = paired(servers)
    with pytest.raises(ConnectError) as caught:
        client.connect()
    assert not caught.value.fatal
    client.teardown()


def test_no_server_at_all(servers: Servers, new_threads: NewThreads) -> None:
    """An attempt ends when both have failed, or at its deadline, and leaves no thread."""
    for server in servers:
        server.stop()
    client = paired(servers, pulse=Pulse(reconnect_delay=0.0))
    assert not client.try_connect(Deadline(PATIENCE))
    assert isinstance(client.last_error, ConnectError)
    client.teardown()
    assert not new_threads("cnx manager")


def test_link_that_comes_up_too_late(server: BusServer, pool: ThreadPoolExecutor) -> None:
    """A link that is registered while the client ends is let go again, and nothing is told of it."""
    with Listening() as backup:
        client = client_of(endpoint(server.urls[0])[1], backup=("127.0.0.1", backup.port))
        recorder = Recorder(client)
        client.connect()
        with backup.accept() as peer:
            peer.expect(CmdType.INTERNAL, InternalCmd.REGISTER)
            client._uplinks.close(ConnectionLost("of the test"))
            peer.send(RegisterAck().packet(SERVER, US))
            assert peer.closed()
        client.teardown()
    recorder.next(client.Signals.CONNECTED)
    recorder.next(client.Signals.DISCONNECTED)
    assert recorder.seen.empty()


def test_child_process_connects_to_both_anew(servers: Servers) -> None:
    """In a forked child neither link exists; the client can be used there, and the parent keeps its own."""
    client = paired(servers)
    client.connect()
    wait_for_links(client, 2)
    held = paired(servers, 21)  # of which the child makes use

    def use() -> None:
        assert not client.connected
        held.connect(PATIENCE)
        wait_for_links(held, 2)
        held.teardown()

    assert in_child(use) == 0
    assert client.connected
    client.teardown()
    held.teardown()


def test_child_process_may_take_over(servers: Servers) -> None:
    """A client that was connected in the parent can be connected in the child."""
    client = paired(servers)
    client.connect()
    wait_for_links(client, 2)
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)

    def take_over() -> None:
        assert not client.connected
        assert theirs.recv(1) == b"x"
        client.connect(PATIENCE)
        wait_for_links(client, 2)
        client.teardown()

    with ours, theirs:
        child = fork(take_over)
        client.teardown()
        assert eventually(lambda: not any(server.sessions for server in servers))
        ours.sendall(b"x")
        assert exit_code(child) == 0
