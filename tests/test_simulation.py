"""The server that every simulator is, met by bare sockets and ptys."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest

from cnx.simulation import Session, Simulator
from tests.echo import PATIENCE, Client, Echo, certificates, datagrams, dial, eventually, reachable, threads_of_cnx

KINDS = ["tcp", "tls", "unix", "serial"]
SERVER_CONTEXT, CLIENT_CONTEXT = certificates()


def listen(simulator: Simulator, kind: str, folder: Path) -> str:
    """Let the simulator listen on an address of that kind."""
    if kind == "unix":
        return simulator.listen_unix(str(folder / "socket"))
    if kind == "serial":
        return simulator.listen_pty()
    return simulator.listen_tcp(tls=SERVER_CONTEXT if kind == "tls" else None)


def connect(url: str) -> Client:
    """Return a client, with TLS where the URL says so."""
    return dial(url, CLIENT_CONTEXT if url.startswith("tls:") else None)


class Flood(Simulator):
    """Writes far more than any buffer holds to a client that sent something."""

    def __init__(self) -> None:
        super().__init__("flood")
        self.writing = threading.Event()

    def serve(self, session: Session) -> None:
        """Write."""
        session.read()
        self.writing.set()
        session.write(bytes(1 << 26), timeout=None)


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
        for listen in (Flood().listen_udp, lambda: Flood().listen("udp://127.0.0.1:0")):
            with pytest.raises(TypeError, match="Flood does not answer datagrams"):
                listen()

    @pytest.mark.parametrize("port", [-1, 65536, "80"])
    def test_bad_ports(self, port: int) -> None:
        """A port that is none is refused at the call."""
        with pytest.raises(ValueError, match="a port is a number"):
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
        assert "every machine" in caplog.text

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


class TestSession:
    """What serve() gets."""

    def test_read_timeout_loses_nothing(self) -> None:
        """A read that times out raises, and the bytes come with the next one."""
        timed_out = threading.Event()

        class Impatient(Simulator):
            def serve(self, session: Session) -> None:
                with pytest.raises(TimeoutError):
                    session.read(timeout=0.01)
                timed_out.set()
                session.write(session.read(3) + b"|" + session.read(3))

        with Impatient() as simulator, dial(simulator.listen_tcp()) as client:
            assert timed_out.wait(PATIENCE)
            client.send(b"abcdef")
            assert client.receive_all() == b"abc|def"

    def test_writes_of_threads_do_not_mix(self) -> None:
        """What four threads write arrives message by message."""

        class Chorus(Simulator):
            def serve(self, session: Session) -> None:
                threads = [
                    threading.Thread(target=lambda letter=letter: [session.write(letter * 10_000) for _ in range(20)])
                    for letter in (b"a", b"b", b"c", b"d")
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        with Chorus() as simulator, dial(simulator.listen_tcp()) as client:
            data = client.receive_all()
        assert len(data) == 800_000
        assert all(len(set(data[start : start + 10_000])) == 1 for start in range(0, len(data), 10_000))

    def test_a_client_that_does_not_read(self) -> None:
        """A write to a client that stopped reading raises in the given time and ends the link."""
        raised: list[Exception] = []

        class Pushy(Simulator):
            def serve(self, session: Session) -> None:
                try:
                    session.write(bytes(1 << 26), timeout=0.05)
                except ConnectionError as error:
                    raised.append(error)
                assert session.closed

        with Pushy() as simulator, dial(simulator.listen_tcp()) as client:
            assert eventually(lambda: raised)
            assert "stopped reading" in str(raised[0])
            with pytest.raises(ConnectionResetError):
                client.receive_all()

    def test_a_serial_line_that_nobody_reads(self) -> None:
        """Bytes that nobody takes from a line are lost, as on a wire, and the line lives on."""
        flooded = threading.Event()

        class Pushy(Simulator):
            def serve(self, session: Session) -> None:
                session.write(bytes(1 << 20), timeout=0.05)
                flooded.set()
                while data := session.read():
                    session.write(data)

        with Pushy() as simulator, dial(simulator.listen_pty()) as client:
            assert flooded.wait(PATIENCE)
            client.send(b"!")
            while client.receive()[-1:] != b"!":
                pass

    def test_close_delivers_everything(self) -> None:
        """What was written before close() arrives, even if the client's own bytes were never read."""

        class Rude(Simulator):
            def serve(self, session: Session) -> None:
                session.read(1)
                session.write(b"x" * 100_000)
                session.close()

        with Rude() as simulator, dial(simulator.listen_tcp()) as client:
            client.send(b"unread" * 1000)
            assert client.receive_all() == b"x" * 100_000

    def test_reset(self) -> None:
        """reset() is a reset for the client, and not an end."""

        class Abrupt(Simulator):
            def serve(self, session: Session) -> None:
                session.read()
                session.reset()
                assert session.read() == b""
                with pytest.raises(ConnectionError):
                    session.write(b"late")

        with Abrupt() as simulator, dial(simulator.listen_tcp()) as client:
            client.send(b"x")
            with pytest.raises(ConnectionResetError):
                client.receive()

    def test_reset_by_the_client(self) -> None:
        """A client's reset is a ConnectionError for the reader."""
        raised: list[type[Exception]] = []

        class Reader(Simulator):
            def serve(self, session: Session) -> None:
                try:
                    session.read()
                except ConnectionError as error:
                    raised.append(type(error))
                    raise

        with Reader() as simulator:
            url = simulator.listen_tcp()
            sock = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
            assert eventually(lambda: simulator.sessions)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            assert eventually(lambda: raised)

    def test_wait_ends_with_the_session(self) -> None:
        """A pace kept by wait() does not hold up the end."""
        ended: list[bool] = []

        class Slow(Simulator):
            def serve(self, session: Session) -> None:
                ended.append(session.wait(0.001))
                session.write(b"ready")
                ended.append(session.wait(3600))

        with Slow() as simulator, dial(simulator.listen_tcp()) as client:
            assert client.receive() == b"ready"
            simulator.drop_sessions()
            assert client.receive() == b""
        assert ended == [False, True]


class TestTls:
    """TLS, with certificates of an authority made for the test."""

    def test_the_end_is_announced(self) -> None:
        """A session that ends in order ends TLS too, so that clients know that nothing is missing."""
        strict = ssl.create_default_context()
        strict.check_hostname = False
        strict.verify_mode = ssl.CERT_NONE
        with Echo() as simulator:
            url = simulator.listen_tcp(tls=SERVER_CONTEXT)
            sock = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), PATIENCE)
            with strict.wrap_socket(sock, suppress_ragged_eofs=False) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                simulator.drop_sessions()
                assert client.recv(1) == b""

    def test_a_client_without_tls(self) -> None:
        """Somebody who speaks no TLS is turned away, and others are served meanwhile."""
        with Echo() as simulator:
            url = simulator.listen_tcp(tls=SERVER_CONTEXT)
            with dial(url) as silent, dial(url) as wrong, connect(url) as right:
                right.send(b"ok")
                assert right.receive() == b"ok"
                wrong.send(b"GET / HTTP/1.0\r\n\r\n")
                wrong.receive_all()
                assert silent.silent(0.01)

    def test_both_directions_at_once(self) -> None:
        """A simulator may write from one thread while another one reads, with TLS too."""
        pieces = 200

        class Busy(Simulator):
            def serve(self, session: Session) -> None:
                writer = threading.Thread(target=lambda: [session.write(bytes(16384)) for _ in range(pieces)])
                writer.start()
                size = 0
                while size < pieces * 16384:
                    size += len(session.read())
                writer.join(PATIENCE)

        with Busy() as simulator, connect(simulator.listen_tcp(tls=SERVER_CONTEXT)) as client:
            for _ in range(pieces):
                client.send(bytes(16384))
                assert len(client.receive_exactly(16384)) == 16384
            assert client.receive() == b""


class TestStop:
    """Stopping in every state; the log stays empty, for a thread that does not end in time is logged."""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_idle(self, kind: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Clients that are silent, one of them inside its handshake."""
        simulator = Echo()
        simulator.start()
        url = listen(simulator, kind, tmp_path)
        with connect(url) as client, dial(url):
            client.send(b"x")
            assert client.receive_exactly(1) == b"x"
            getattr(simulator, how)()
            assert not simulator.sessions
            assert not threads_of_cnx()
            assert caplog.text == ""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_blocked_in_write(self, kind: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A client that does not read what is being written."""
        simulator = Flood()
        simulator.start()
        with connect(listen(simulator, kind, tmp_path)) as client:
            client.send(b"x")
            assert simulator.writing.wait(PATIENCE)
            getattr(simulator, how)()
            assert not threads_of_cnx()
            assert caplog.text == ""

    def test_from_a_session(self, caplog: pytest.LogCaptureFixture) -> None:
        """serve() may stop its own simulator."""

        class Suicide(Simulator):
            def serve(self, session: Session) -> None:
                session.read()
                self.stop()

        with Suicide() as simulator, dial(simulator.listen_tcp()) as client:
            client.send(b"x")
            assert client.receive() == b""
            assert eventually(lambda: not simulator.running and not simulator.sessions)
            assert eventually(lambda: not threads_of_cnx())
        assert caplog.text == ""

    def test_from_many_threads(self, caplog: pytest.LogCaptureFixture) -> None:
        """Stops at the same time are one stop."""
        simulator = Echo()
        simulator.start()
        with dial(simulator.listen_tcp()):
            threads = [threading.Thread(target=simulator.stop) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
        assert caplog.text == ""

    def test_during_a_rush(self, caplog: pytest.LogCaptureFixture) -> None:
        """Stops and starts while clients pour in leave nothing behind."""
        simulator = Echo()
        url = simulator.listen_tcp()
        over = threading.Event()

        def rush() -> None:
            while not over.is_set():
                try:
                    with dial(url) as client:
                        client.send(b"x")
                        client.receive()
                except OSError:
                    continue

        threads = [threading.Thread(target=rush) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            simulator.start()
            assert eventually(lambda: simulator.sessions)
            simulator.kill()
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert caplog.text == ""

    def test_before_start(self) -> None:
        """Addresses that were never used are given back."""
        simulator = Echo()
        simulator.listen_tcp()
        simulator.listen_pty()
        simulator.listen_udp()
        simulator.stop()

    @pytest.mark.parametrize("kind", [*KINDS, "udp"])
    def test_restart_on_the_same_address(self, kind: str, tmp_path: Path) -> None:
        """After a stop the same simulator serves the same addresses again; meanwhile nobody is there."""
        simulator = Echo()
        url = simulator.listen_udp() if kind == "udp" else listen(simulator, kind, tmp_path)
        for _ in range(3):
            with simulator:
                assert simulator.urls == [url]
                if kind == "udp":
                    with datagrams(url) as sock:
                        sock.send(b"ab")
                        assert sock.recv(10) == b"ba"
                    continue
                with connect(url) as client:
                    client.send(b"again")
                    assert client.receive_exactly(5) == b"again"
            if kind != "udp":
                with pytest.raises(OSError, match=r"refused|No such file"):
                    connect(url)

    def test_kill_is_a_reset(self) -> None:
        """Clients of a killed simulator see a reset, clients of a stopped one the end."""
        for how, expected in [("stop", b""), ("kill", ConnectionResetError)]:
            simulator = Echo()
            with dial(simulator.listen_tcp()) as client:
                simulator.start()
                client.send(b"x")
                assert client.receive() == b"x"
                getattr(simulator, how)()
                if expected == b"":
                    assert client.receive() == b""
                else:
                    with pytest.raises(ConnectionResetError):
                        client.receive()

    def test_threads_of_the_subclass(self, caplog: pytest.LogCaptureFixture) -> None:
        """on_stop() ends a thread that wait() paces; an error there is logged and does not stop the stop."""

        class Ticking(Echo):
            def start(self) -> None:
                super().start()
                self.ticker = threading.Thread(target=self.wait, args=(3600,))
                self.ticker.start()

            def on_stop(self) -> None:
                self.ticker.join(PATIENCE)
                raise ValueError("after the join")

        with Ticking() as simulator:
            simulator.listen_tcp()
        assert "after the join" in caplog.text

    def test_a_serve_that_ignores_the_end(self, caplog: pytest.LogCaptureFixture) -> None:
        """stop() gives up in time on a thread that does not end, and says so."""
        served, free = threading.Event(), threading.Event()

        class Deaf(Simulator):
            def serve(self, session: Session) -> None:
                served.set()
                free.wait(PATIENCE)

        with dial((simulator := Deaf()).listen_tcp()) as client:
            simulator.start()
            assert served.wait(PATIENCE)
            simulator.stop()
            assert "does not end" in caplog.text
            assert client.receive() == b""
            free.set()
            assert eventually(lambda: not simulator.sessions)
            assert eventually(lambda: not threads_of_cnx())

    def test_unplug(self, tmp_path: Path) -> None:
        """While a simulator is unplugged nobody reaches it, and its serial lines have hung up; then it is as before."""
        with Echo() as simulator:
            url, line = simulator.listen_tcp(), simulator.listen_pty()
            with dial(url) as client, dial(line) as serial:
                client.send(b"x")
                serial.send(b"x")
                assert client.receive() == serial.receive() == b"x"
                simulator.unplug()
                with pytest.raises(ConnectionResetError):
                    client.receive()
                assert serial.hung_up()
                assert eventually(lambda: not os.path.lexists(line.removeprefix("serial://")))
                assert eventually(lambda: not reachable(url))
            simulator.plug()
            for address in (url, line):
                assert eventually(lambda address=address: reachable(address))
                with dial(address) as client:
                    client.send(b"y")
                    assert client.receive() == b"y"

    def test_unplug_for_a_moment(self, tmp_path: Path) -> None:
        """However short an outage is, everything is there again after it."""
        with Echo() as simulator:
            urls = [listen(simulator, kind, tmp_path) for kind in ("tcp", "unix", "serial")]
            for _ in range(5):
                simulator.unplug()
                simulator.plug()
                for url in urls:
                    assert eventually(lambda url=url: served(url))

    def test_names(self, caplog: pytest.LogCaptureFixture) -> None:
        """Threads, logs and repr tell who it is and where."""
        caplog.set_level(logging.DEBUG)
        with Echo("bob") as simulator, dial(url := simulator.listen_tcp()) as client:
            client.send(b"x")
            client.receive()
            names = threads_of_cnx()
            assert f"cnx accept {url}" in names
            assert f"cnx session {simulator.sessions[0].address}" in names
            assert repr(simulator) == f"<Echo bob running {url}>"
            assert "open" in repr(simulator.sessions[0])


def served(url: str) -> bool:
    """Tell whether a new client gets its echo."""
    try:
        with dial(url) as client:
            client.send(b"x")
            return client.receive() == b"x"
    except OSError:
        return False
