"""Stopping, restarting and unplugging a simulator, in every state."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from cnx.faults import Ending
from cnx.simulation import Session, Simulator
from cnx.simulation.endpoints import TcpEndpoint
from cnx.simulation.server import Server
from cnx.testing import PATIENCE, NewThreads, eventually
from tests.helpers.bare_clients import datagrams, dial, reachable
from tests.helpers.echo import Echo
from tests.helpers.kinds_of_addresses import KINDS, Flood, connect, listen, served


class TestStop:
    """Stopping in every state; the log stays empty, for a thread that does not end in time is logged."""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_idle(
        self, new_threads: NewThreads, kind: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Clients that are silent, one of them inside its handshake."""
        simulator = Echo()
        simulator.start()
        url = listen(simulator, kind, tmp_path)
        with connect(url) as client, dial(url):
            client.send(b"x")
            assert client.receive_exactly(1) == b"x"
            getattr(simulator, how)()
            assert not simulator.sessions
            assert not new_threads()
            assert caplog.text == ""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_blocked_in_write(
        self, new_threads: NewThreads, kind: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A client that does not read what is being written."""
        simulator = Flood()
        simulator.start()
        with connect(listen(simulator, kind, tmp_path)) as client:
            client.send(b"x")
            assert simulator.writing.wait(PATIENCE)
            getattr(simulator, how)()
            assert not new_threads()
            assert caplog.text == ""

    def test_unplugged_while_it_stops(self, new_threads: NewThreads, caplog: pytest.LogCaptureFixture) -> None:
        """An outage that begins in the middle of a stop does not hold it up."""
        late = threading.Event()

        class Slow(TcpEndpoint):
            def close(self) -> None:
                late.wait(PATIENCE)
                super().close()

        class Late(Echo):
            def on_stop(self) -> None:
                server.unplug()
                late.set()

        server = Server("late", 10, Late())
        server.add(Slow("127.0.0.1", 0, None))
        server.start()
        server.stop(Ending.CLOSE)
        assert not new_threads()
        assert caplog.text == ""

    def test_whoever_comes_back_at_once_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nobody gets in between the end of the links and that of the port."""
        refused = threading.Event()

        class Slow(TcpEndpoint):
            def close(self) -> None:
                assert refused.wait(PATIENCE)
                super().close()

        endpoint = Slow("127.0.0.1", 0, None)

        class Left(Echo):
            def on_stop(self) -> None:
                with pytest.raises(ConnectionRefusedError):
                    dial(endpoint.url)
                refused.set()

        server = Server("left", 10, Left())
        server.add(endpoint)
        server.start()
        server.stop(Ending.RESET)
        assert refused.is_set()
        assert caplog.text == ""

    def test_from_a_session(self, new_threads: NewThreads, caplog: pytest.LogCaptureFixture) -> None:
        """serve() may stop its own simulator."""

        class Suicide(Simulator):
            def serve(self, session: Session) -> None:
                session.read()
                self.stop()

        with Suicide() as simulator, dial(simulator.listen_tcp()) as client:
            client.send(b"x")
            assert client.receive() == b""
            assert eventually(lambda: not simulator.running and not simulator.sessions)
            assert eventually(lambda: not new_threads())
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

    def test_a_serve_that_ignores_the_end(self, new_threads: NewThreads, caplog: pytest.LogCaptureFixture) -> None:
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
            assert eventually(lambda: not new_threads())

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

    def test_names(self, new_threads: NewThreads, caplog: pytest.LogCaptureFixture) -> None:
        """Threads, logs and repr tell who it is and where."""
        caplog.set_level(logging.DEBUG)
        with Echo("bob") as simulator, dial(url := simulator.listen_tcp()) as client:
            client.send(b"x")
            client.receive()
            names = [thread.name for thread in new_threads()]
            assert f"cnx accept {url}" in names
            assert f"cnx session {simulator.sessions[0].address}" in names
            assert repr(simulator) == f"<Echo bob running {url}>"
            assert "open" in repr(simulator.sessions[0])
