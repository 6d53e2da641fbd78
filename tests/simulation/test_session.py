"""What serve() gets."""

from __future__ import annotations

import socket
import ssl
import struct
import threading

import pytest

from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, eventually
from tests.helpers.bare_clients import dial
from tests.helpers.echo import Echo
from tests.helpers.kinds_of_addresses import SERVER_CONTEXT, connect


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
