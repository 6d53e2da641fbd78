"""The proxy between bare clients and simulators that stand for real servers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from cnx.faults import (
    Fault,
    bandwidth,
    corrupt,
    delay,
    duplicate,
    faults,
    half_open,
    merge,
    refuse,
    reset,
    split,
    truncate,
    unplug,
)
from cnx.proxy import Proxy
from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, NewThreads, eventually
from tests.helpers.bare_clients import Client, dial, reachable
from tests.helpers.certificates import certificates
from tests.helpers.echo import Echo, answered


@pytest.fixture
def server() -> Iterator[Echo]:
    """The server behind the proxy."""
    with Echo("server") as server:
        server.listen_tcp()
        yield server


@pytest.fixture
def proxy(server: Echo) -> Iterator[Proxy]:
    """A running proxy with a TCP port."""
    with Proxy(server.urls[0]) as proxy:
        proxy.listen_tcp()
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    """A client of the proxy that was served once."""
    with dial(proxy.urls[0]) as client:
        assert answered(client)
        yield client


class TestPassing:
    """Bytes go through, both ways, over every kind of link."""

    @pytest.mark.parametrize("near", ["tcp://127.0.0.1:0", "unix://{}/near", "pty:"])
    @pytest.mark.parametrize("far", ["tcp://127.0.0.1:0", "unix://{}/far", "pty:"])
    def test_kinds(self, near: str, far: str, tmp_path: os.PathLike[str]) -> None:
        """Every kind of client reaches every kind of server."""
        with Echo() as server, Proxy(server.listen(far.format(tmp_path))) as proxy:
            url = proxy.listen(near.format(tmp_path))
            with dial(url) as client:
                assert answered(client)
                assert answered(client, bytes(range(256)))

    def test_much(self, client: Client) -> None:
        """Much data arrives whole while both sides send at once."""
        data = os.urandom(1 << 22)
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        assert client.receive_exactly(len(data)) == data
        sender.join(PATIENCE)

    def test_tls_goes_through(self) -> None:
        """TLS between client and server is just bytes for the proxy."""
        server_context, client_context = certificates()
        with Echo() as server:
            url = server.listen_tcp(tls=server_context)
            with Proxy(url.replace("tls:", "tcp:")) as proxy, dial(proxy.listen_tcp(), client_context) as client:
                assert answered(client)

    def test_clients_do_not_meet(self, proxy: Proxy, client: Client) -> None:
        """Each client has a link of its own."""
        with dial(proxy.urls[0]) as other:
            client.send(b"mine")
            other.send(b"other")
            assert client.receive_exactly(4) == b"mine"
            assert other.receive_exactly(5) == b"other"

    @pytest.mark.parametrize(
        "target", ["", "127.0.0.1:80", "tcp://host", "tcp://:80", "udp://127.0.0.1:80", "unix:", "serial:", "tcp://h:x"]
    )
    def test_bad_targets(self, target: str) -> None:
        """A target that cannot be is refused before anything is opened."""
        with pytest.raises(ValueError, match=r"cannot reach|[Pp]ort"):
            Proxy(target)


class TestEnds:
    """The end of one side is the end of the other."""

    def test_the_client_leaves(self, server: Echo, proxy: Proxy) -> None:
        """The server sees the end, and nothing of the link stays."""
        with dial(proxy.urls[0]) as client:
            assert answered(client)
        assert eventually(lambda: not server.sessions)
        assert eventually(lambda: not proxy.sessions)

    def test_the_server_closes(self) -> None:
        """The client gets everything, and then the end."""

        class Brief(Simulator):
            def serve(self, session: Session) -> None:
                session.write(b"x" * 1_000_000)

        with Brief() as server, Proxy(server.listen_tcp()) as proxy, dial(proxy.listen_tcp()) as client:
            assert client.receive_all() == b"x" * 1_000_000

    def test_the_server_resets(self, server: Echo, client: Client) -> None:
        """The client sees a reset too."""
        server.kill()
        with pytest.raises(ConnectionResetError):
            client.receive()

    def test_nobody_is_there(self, server: Echo, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
        """A client is reset when the server cannot be reached, the log says why, and the next one is served."""
        server.stop()
        with pytest.raises(ConnectionResetError), dial(proxy.urls[0]) as client:
            client.receive()
        assert "Connection refused" in caplog.text
        server.start()
        with dial(proxy.urls[0]) as client:
            assert answered(client)

    def test_no_such_device(self, caplog: pytest.LogCaptureFixture) -> None:
        """A serial port that does not exist is told."""
        with Proxy("serial:///dev/cnx-does-not-exist?baudrate=9600") as proxy:
            url = proxy.listen_tcp()
            with pytest.raises(ConnectionResetError), dial(url) as client:
                client.receive()
        assert "cnx-does-not-exist" in caplog.text

    def test_a_serial_port_has_one_client(self) -> None:
        """The second client of a serial port is closed at once, and the first one is not disturbed."""
        with Echo() as server, Proxy(server.listen_pty() + "?baudrate=115200") as proxy:
            url = proxy.listen_tcp()
            with dial(url) as first:
                assert answered(first)
                with dial(url) as second:
                    assert second.receive() == b""
                assert answered(first)

    def test_the_device_is_unplugged(self) -> None:
        """The client of a serial port that is unplugged loses its link, and comes back with the port."""
        with Echo() as server, Proxy(server.listen_pty()) as proxy:
            url = proxy.listen_tcp()
            with dial(url) as client:
                assert answered(client)
                server.unplug()
                with pytest.raises(ConnectionResetError):
                    client.receive()
            server.plug()
            assert eventually(lambda: comes_back(url))


class TestFaults:
    """The same faults as on a simulator, in each direction."""

    def test_directions(self, server: Echo, proxy: Proxy, client: Client) -> None:
        """What clients send is "in", what they receive is "out"."""
        with faults(proxy, duplicate(1.0, direction="in")):
            client.send(b"a")
            assert client.receive_exactly(2) == b"aa"
        with faults(proxy, truncate(1)):
            client.send(b"bc")
            assert client.receive_all() == b"b"
        assert eventually(lambda: not server.sessions)

    def test_together(self, proxy: Proxy, client: Client) -> None:
        """Faults that only cut and delay change no byte."""
        gentle = [split(3, direction="both"), merge(4, 0.01, direction="both"), delay(0.0001, 0.001, direction="both")]
        with faults(proxy, *gentle, seed=3):
            assert answered(client, os.urandom(300))

    def test_corrupt(self, proxy: Proxy, client: Client) -> None:
        """The same seed spoils the same bytes."""
        answers = []
        for _ in range(2):
            with faults(proxy, corrupt(0.5), seed=11):
                client.send(bytes(100))
                answers.append(client.receive_exactly(100))
        assert answers[0] == answers[1] != bytes(100)

    def test_links(self, server: Echo, proxy: Proxy, client: Client) -> None:
        """Resets, refusals and outages are for the client what they would be without a proxy."""
        with faults(proxy, reset()), pytest.raises(ConnectionResetError):
            client.receive()
        assert eventually(lambda: not server.sessions)
        with faults(proxy, refuse()), pytest.raises(ConnectionResetError), dial(proxy.urls[0]) as refused:
            refused.receive()
        with faults(proxy, unplug(seconds=0.05)):
            assert eventually(lambda: not reachable(proxy.urls[0]))
        assert eventually(lambda: comes_back(proxy.urls[0]))

    def test_half_open(self, server: Echo, proxy: Proxy, client: Client) -> None:
        """A half-open link stays, even when the server goes."""
        with faults(proxy, half_open()):
            client.send(b"x")
            assert client.silent(0.05)
            server.kill()
            assert client.silent(0.05)
        assert eventually(lambda: not proxy.sessions)


class TestStop:
    """The proxy stops in every state: nothing is left, at once."""

    @pytest.mark.parametrize("fault", [None, delay(3600, direction="both"), bandwidth(1), half_open()], ids=str)
    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_with_faults(
        self, new_threads: NewThreads, fault: Fault | None, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Also while a fault waits; the server sees the end."""
        with Echo() as server, Proxy(server.listen_tcp()) as proxy, dial(proxy.listen_tcp()) as client:
            assert answered(client)
            with faults(proxy, *([fault] if fault else [])):
                client.send(b"ping")
                getattr(proxy, how)()
                assert eventually(lambda: not server.sessions)
            server.stop()
            assert not new_threads()
        assert caplog.text == ""

    def test_the_client_does_not_read(self, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
        """A client that only sends is held back, and does not hold up a stop."""
        with dial(proxy.urls[0]) as client:
            assert client.fills_up()
            proxy.stop()
        assert caplog.text == ""

    def test_the_server_does_not_read(self, caplog: pytest.LogCaptureFixture) -> None:
        """A server that does not read holds the client back, and does not hold up a stop."""

        class Deaf(Simulator):
            def serve(self, session: Session) -> None:
                session.wait(3600)

        with Deaf() as server, Proxy(server.listen_tcp()) as proxy, dial(proxy.listen_tcp()) as client:
            assert client.fills_up()
            proxy.stop()
        assert caplog.text == ""

    def test_while_connecting(self, new_threads: NewThreads, caplog: pytest.LogCaptureFixture) -> None:
        """A server whose queue is full keeps the proxy connecting, which a stop ends."""
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for sock in (first, second):
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
            with Proxy(f"tcp://127.0.0.1:{full.getsockname()[1]}") as proxy, dial(proxy.listen_tcp()):
                assert eventually(lambda: proxy.sessions)
                proxy.stop()
                assert not new_threads()


def comes_back(url: str) -> bool:
    """Tell whether a new client is served."""
    try:
        with dial(url) as client:
            return answered(client)
    except OSError:
        return False
