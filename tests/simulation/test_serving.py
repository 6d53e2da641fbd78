"""What clients of a simulator get."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cnx.errors import ConnectError
from cnx.simulation import Session, Simulator
from cnx.testing import eventually
from tests.helpers.bare_clients import datagrams, dial
from tests.helpers.echo import Echo
from tests.helpers.kinds_of_addresses import KINDS, Flood, connect, listen
from tests.helpers.no_threads import no_threads


class TestServing:
    """What clients get."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_echo(self, kind: str, tmp_path: Path) -> None:
        """A client of each kind is served, also at a second visit."""
        with Echo() as simulator:
            url = listen(simulator, kind, tmp_path)
            for _ in range(2):
                with connect(url) as client:
                    client.send(b"hello")
                    assert client.receive_exactly(5) == b"hello"

    def test_ipv6(self) -> None:
        """A literal IPv6 address works and stands in brackets in the URL."""
        with Echo() as simulator:
            url = simulator.listen_tcp("::1")
            assert url.startswith("tcp://[::1]:")
            with dial(url) as client:
                client.send(b"six")
                assert client.receive_exactly(3) == b"six"

    def test_datagrams(self) -> None:
        """Datagrams are answered one by one, empty ones too; no answer is possible."""
        with Echo() as simulator, datagrams(simulator.listen_udp()) as sock:
            for sent, answer in [(b"abc", b"cba"), (b"?", None), (b"", b"")]:
                sock.send(sent)
                if answer is not None:
                    assert sock.recv(100) == answer

    def test_a_bad_datagram_does_not_end_the_service(self, caplog: pytest.LogCaptureFixture) -> None:
        """An exception in serve_datagram() is logged and the next datagram is answered."""

        class Picky(Simulator):
            def serve_datagram(self, data: bytes, address: tuple[str, int]) -> bytes:
                return str(int(data) + 1).encode()

        with Picky() as simulator, datagrams(simulator.listen_udp()) as sock:
            sock.send(b"x")
            sock.send(b"41")
            assert sock.recv(100) == b"42"
        assert "invalid literal" in caplog.text

    def test_addresses_before_and_after_start(self, tmp_path: Path) -> None:
        """An address may be added at any time, and the session knows which one it came by."""
        urls = []

        class Where(Simulator):
            def serve(self, session: Session) -> None:
                session.write(session.url.encode())

        simulator = Where("where")
        urls.append(simulator.listen_tcp())
        with simulator:
            urls.append(simulator.listen_unix(str(tmp_path / "late")))
            assert simulator.urls == urls
            for url in urls:
                with dial(url) as client:
                    assert client.receive_all() == url.encode()

    def test_listen_by_url(self, tmp_path: Path) -> None:
        """A URL says where to listen."""
        with Echo() as simulator:
            assert simulator.listen("tcp://127.0.0.1:0").startswith("tcp://127.0.0.1:")
            assert simulator.listen("udp://127.0.0.1:0").startswith("udp://127.0.0.1:")
            assert simulator.listen(f"unix://{tmp_path}/s") == f"unix://{tmp_path}/s"
            assert simulator.listen("pty:").startswith("serial:///")

    @pytest.mark.parametrize("url", ["", "tcp://", "tcp://host", "unix:", "http://127.0.0.1:80", "tcp://127.0.0.1:x"])
    def test_bad_urls(self, url: str) -> None:
        """A URL that cannot be listened on is refused."""
        with pytest.raises(ValueError, match=r"listen|[Pp]ort"):
            Echo().listen(url)

    def test_no_datagrams(self) -> None:
        """A simulator that cannot answer datagrams says so when it is asked to."""
        for ask in (Flood().listen_udp, lambda: Flood().listen("udp://127.0.0.1:0")):
            with pytest.raises(TypeError, match="Flood does not answer datagrams"):
                ask()

    @pytest.mark.parametrize("port", [-1, 65536, "80"])
    def test_bad_ports(self, port: int) -> None:
        """A port that is none is refused at the call."""
        with pytest.raises(ValueError, match="port must be a number"):
            Echo().listen_tcp(port=port)

    def test_a_taken_port_is_named(self) -> None:
        """The error for a port in use says which."""
        with Echo() as simulator:
            port = int(simulator.listen_tcp().rpartition(":")[2])
            with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
                Echo().listen_tcp(port=port)

    def test_more_than_loopback_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        """Listening on every address logs a warning; listening on loopback does not."""
        with Echo() as simulator:
            simulator.listen_tcp()
            assert caplog.text == ""
            simulator.listen_tcp("0.0.0.0")
        assert "from other machines" in caplog.text

    def test_abandoned_unix_socket(self, tmp_path: Path) -> None:
        """The socket file of a program that died is replaced; that of a living one, and any other file, is not."""
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        with Echo() as simulator:
            simulator.listen_unix(path)
            with pytest.raises(OSError, match="in use"):
                Echo().listen_unix(path)
        assert not os.path.exists(path)
        Path(path).write_text("precious")
        with pytest.raises(OSError, match="in use"):
            Echo().listen_unix(path)
        assert Path(path).read_text() == "precious"

    def test_too_many_sessions(self) -> None:
        """One client more than allowed is closed at once; the others live."""
        with Echo(max_sessions=1) as simulator:
            url = simulator.listen_tcp()
            with dial(url) as first:
                first.send(b"1")
                assert first.receive() == b"1"
                with dial(url) as second:
                    assert second.receive() == b""
                first.send(b"2")
                assert first.receive() == b"2"

    def test_no_sessions_at_all(self) -> None:
        """A simulator for nobody is a mistake."""
        with pytest.raises(ValueError, match="max_sessions"):
            Echo(max_sessions=0)

    def test_errors_of_serve_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """An exception of serve() is logged and ends its session only; a ConnectionError just ends it."""

        class Faulty(Simulator):
            def serve(self, session: Session) -> None:
                raise {b"a": ConnectionError, b"b": ZeroDivisionError}[session.read(1)]("oops")

        with Faulty("faulty") as simulator:
            url = simulator.listen_tcp()
            for letter in (b"a", b"b"):
                with dial(url) as client:
                    client.send(letter)
                    assert client.receive() == b""
            assert eventually(lambda: "ZeroDivisionError: oops" in caplog.text)
        assert len(caplog.records) == 1


class TestShortage:
    """A system that has no thread to spare."""

    def test_start_fails_and_leaves_nothing(self) -> None:
        """It may be started again."""
        simulator = Echo()
        url = simulator.listen_tcp()
        simulator.listen_tcp()
        with no_threads(), pytest.raises(ConnectError, match="can't start new thread"):
            simulator.start()
        assert not simulator.running
        with simulator, dial(url) as client:
            client.send(b"hello")
            assert client.receive_exactly(5) == b"hello"

    def test_client_is_refused_and_the_next_one_served(self, caplog: pytest.LogCaptureFixture) -> None:
        """The reason is logged as an error."""
        with Echo() as simulator:
            url = simulator.listen_tcp()
            with no_threads(), dial(url) as client:
                assert client.receive() == b""
            assert "cannot serve" in caplog.text
            with dial(url) as client:
                client.send(b"hello")
                assert client.receive_exactly(5) == b"hello"
