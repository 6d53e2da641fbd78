"""Tests of serial connections: on ptys, on pyserial's URLs, and on a real RFC 2217 server."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import serial
import serial.rfc2217

from cnx import Connection, SerialConnection, subscribe
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, ConnectionLost, ConnectTimedOut, NotConnected, TimedOut
from cnx.testing import NewThreads, PtyPeer, serial_pair, wait_until
from cnx.transports.detached import call_detached
from cnx.transports.serial_ports import DescriptorSerialTransport, open_serial
from tests.helpers.inside import link_of

PATIENCE = 10.0


def attributes(port: str) -> list[Any]:
    """Return the settings of a terminal."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return termios.tcgetattr(fd)
    finally:
        os.close(fd)


def flags(**settings: Any) -> list[Any]:
    """Return the settings that a port has while a connection is open on it."""
    with serial_pair(**settings) as (_, peer):
        return attributes(peer.port)


SIZES = {5: termios.CS5, 6: termios.CS6, 7: termios.CS7, 8: termios.CS8}


@pytest.mark.parametrize("baudrate", [300, 9600, 115200, 921600])
def test_baud_rate_is_set(baudrate: int) -> None:
    """In both directions."""
    speed = getattr(termios, f"B{baudrate}")
    assert flags(baudrate=baudrate)[4:6] == [speed, speed]


@pytest.mark.parametrize("xonxoff", [False, True])
@pytest.mark.parametrize("rtscts", [False, True])
def test_flow_control_is_set(xonxoff: bool, rtscts: bool) -> None:
    """By software and by the lines RTS and CTS."""
    iflag, _, cflag = flags(xonxoff=xonxoff, rtscts=rtscts)[:3]
    assert bool(iflag & termios.IXON) == bool(iflag & termios.IXOFF) == xonxoff
    assert bool(cflag & termios.CRTSCTS) == rtscts


@pytest.mark.parametrize("stopbits", [1, 2])
def test_stop_bits_are_set(stopbits: int) -> None:
    """One or two."""
    assert bool(flags(stopbits=stopbits)[2] & termios.CSTOPB) == (stopbits == 2)


@pytest.mark.parametrize("parity", ["N", "E", "O"])
@pytest.mark.parametrize("bytesize", [5, 7, 8])
def test_frame_is_passed_to_the_port(bytesize: int, parity: str) -> None:
    """A pty keeps neither data bits nor parity, so here pyserial is asked."""
    with serial_pair(bytesize=bytesize, parity=parity) as (connection, _):
        port = link_of(connection).transport.port
        assert (port.bytesize, port.parity) == (bytesize, parity)


def test_defaults() -> None:
    """9600 baud, 8N1, no flow control, no timeout."""
    iflag, _, cflag, _, _, speed, _ = flags()
    assert speed == termios.B9600
    assert cflag & termios.CSIZE == termios.CS8
    assert not cflag & (termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
    assert not iflag & (termios.IXON | termios.IXOFF)
    assert SerialConnection("loop://").timeout is None


def test_all_bytes_pass_unchanged() -> None:
    """In both directions, also those that terminals like to change."""
    everything = bytes(range(256))
    with serial_pair(timeout=PATIENCE) as (connection, peer):
        connection.write(everything)
        got = b""
        while len(got) < 256:
            got += peer.recv(256)
        assert got == everything
        peer.sendall(everything)
        assert connection.readexactly(256) == everything


def test_timeout_of_the_port_holds_for_reading() -> None:
    """And loses nothing."""
    with serial_pair(timeout=0.05) as (connection, peer):
        peer.sendall(b"half")
        with pytest.raises(TimedOut):
            connection.readline()
        peer.sendall(b"\n")
        assert connection.readline(timeout=PATIENCE) == b"half\n"


def test_long_write_waits_for_a_slow_device() -> None:
    """What does not fit into the system's buffer follows as the device takes it."""
    data = bytes(range(256)) * 1000
    got: list[bytes] = []

    def device() -> None:
        while sum(map(len, got)) < len(data):
            got.append(peer.recv(997))

    with serial_pair(timeout=PATIENCE) as (connection, peer):
        thread = threading.Thread(target=device, daemon=True)
        thread.start()
        connection.write(data)
        thread.join(PATIENCE)
    assert b"".join(got) == data


def test_device_that_takes_nothing_cuts_a_write() -> None:
    """The rest cannot follow later, so the link ends with that reason."""
    with serial_pair() as (connection, _):
        with pytest.raises(TimedOut, match="only a part"):
            connection.write(bytes(1_000_000), timeout=0.1)
        assert not connection.connected


def test_device_that_takes_nothing_does_not_hold_up_disconnect() -> None:
    """A blocked write ends with the link."""
    blocked = threading.Event()
    outcome: list[BaseException] = []

    def write() -> None:
        blocked.set()
        try:
            connection.write(bytes(1_000_000))
        except (ConnectionLost, NotConnected) as error:
            outcome.append(error)

    with serial_pair() as (connection, _):
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        blocked.wait(PATIENCE)
        connection.disconnect()
        thread.join(PATIENCE)
    assert len(outcome) == 1


@pytest.mark.parametrize("subscribed", [False, True])
def test_unplugging_is_one_clear_alarm(subscribed: bool) -> None:
    """The waiting reader and the subscribers learn the reason, once; what had come can still be read."""
    alarms: list[BaseException] = []
    ends: list[BaseException] = []
    over = threading.Event()
    with serial_pair(timeout=PATIENCE) as (connection, peer):
        subscribe(connection, Connection.Signals.RAISE_ALARM, lambda reason: alarms.append(reason))
        subscribe(connection, Connection.Signals.DISCONNECTED, lambda reason: (ends.append(reason), over.set()))
        if subscribed:
            subscribe(connection, Connection.Signals.DATA_RECEIVED, lambda data: None)
        peer.sendall(b"last words")
        assert connection.readexactly(4) == b"last"
        peer.close()
        with pytest.raises(ConnectionLost) as caught:
            connection.readexactly(100)
        assert over.wait(PATIENCE)
    assert len(alarms) == len(ends) == 1
    assert "plugged in" in str(alarms[0])
    assert peer.port in str(caught.value)


def test_unplugged_port_cannot_be_opened() -> None:
    """The error names it and says what to do."""
    peer = PtyPeer()
    port = peer.port
    peer.close()
    connection = SerialConnection(port)
    assert not connection.try_connect()
    assert port in str(connection.last_error)
    assert "cnx ports" in str(connection.last_error)


def test_exclusive_access_keeps_others_out() -> None:
    """A second program gets a clear error, until the first one lets go."""
    with serial_pair(exclusive=True) as (first, peer):
        second = SerialConnection(peer.port, exclusive=True)
        with pytest.raises(ConnectError, match="lock"):
            second.connect()
        first.disconnect()
        with second:
            assert second.connected


@pytest.mark.parametrize("settings", [{"port": "hwgrep://("}, {"port": "alt:///dev/ptmx?class=None"}], ids=str)
def test_whatever_pyserial_raises_is_a_failed_attempt(settings: dict[str, Any]) -> None:
    """Errors of regular expressions and of its own, for two."""
    connection = SerialConnection(**settings)
    assert not connection.try_connect()
    assert isinstance(connection.last_error, ConnectError)
    assert "cannot open serial port" in str(connection.last_error)


def test_port_can_be_opened_again() -> None:
    """After a disconnect, with its settings."""
    with serial_pair(baudrate=19200, timeout=PATIENCE) as (connection, peer):
        for _ in range(3):
            connection.disconnect()
            connection.connect()
        peer.sendall(b"hello\n")
        assert connection.readline() == b"hello\n"
        assert attributes(peer.port)[4] == termios.B19200


def test_loop() -> None:
    """``loop://`` gives back what it is given, to readers and to subscribers."""
    got: list[bytes] = []
    complete = threading.Event()

    def on_data(data: bytes) -> None:
        got.append(data)
        if b"".join(got) == b"hello":
            complete.set()

    with SerialConnection("loop://", timeout=PATIENCE) as connection:
        connection.write_str("one")
        assert connection.read_str() == "one"
        with pytest.raises(TimedOut):
            connection.read(1, timeout=0)
        assert connection.read_waiting() == b""
    with connection:
        subscribe(connection, Connection.Signals.DATA_RECEIVED, on_data)
        connection.write(b"hello")
        assert complete.wait(PATIENCE)


def test_full_loop_blocks_a_write_no_longer_than_asked() -> None:
    """It holds 4096 bytes; how many went in is known, and a blocked write can be ended."""
    transport = open_serial("loop://", {}, Deadline(PATIENCE))
    assert transport.write(bytes(10_000), 0.05) == 4096
    threading.Timer(0.05, transport.shutdown).start()
    with pytest.raises(ConnectionLost):
        transport.write(bytes(10_000), None)
    transport.close()


def test_full_loop_does_not_hold_up_disconnect() -> None:
    """A blocked write ends with the link, and nothing is left behind."""
    connection = SerialConnection("loop://").connect()
    threading.Timer(0.1, connection.disconnect).start()
    with pytest.raises((ConnectionLost, NotConnected)):
        connection.write(bytes(1_000_000))
    connection.teardown()


def test_socket_url_is_a_stream_like_others() -> None:
    """pyserial's ``socket://`` to a TCP server; its end is a loss."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        with SerialConnection(f"socket://127.0.0.1:{port}", timeout=PATIENCE) as connection:
            peer, _ = listener.accept()
            with peer:
                connection.write(b"hello")
                assert peer.recv(100) == b"hello"
                peer.sendall(bytes(50_000) + b"end")
                assert len(connection.readuntil(b"end")) == 50_003
            with pytest.raises(ConnectionLost):
                connection.readexactly(1_000_000)


def test_what_waits_is_read_piece_by_piece() -> None:
    """Full pieces say that more may wait; the end is told by the read after the last one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
        transport = open_serial(url, {}, Deadline(PATIENCE))
        assert isinstance(transport, DescriptorSerialTransport)
        peer, _ = listener.accept()
        data = bytes(range(256)) * 80
        with peer:
            peer.sendall(data)
            wait_until(lambda: waiting(transport.fileno()) == len(data), "all that was sent")
        assert transport.read(5000, PATIENCE) == data[:4096]
        for start in range(4096, len(data), 4096):
            assert transport.read_now(65536) == data[start : start + 4096]
        assert transport.full <= 4096
        with pytest.raises(ConnectionLost):
            transport.read(65536, PATIENCE)
        transport.close()


def waiting(fd: int) -> int:
    """Return how many bytes wait to be read."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("subscribed", [False, True])
def test_stream_of_a_busy_device_is_complete(subscribed: bool) -> None:
    """Also where it comes faster than it is taken, read by a caller or told to a subscriber."""
    data = bytes(range(256)) * 1000
    got = bytearray()
    complete = threading.Event()

    def on_data(piece: bytes) -> None:
        got.extend(piece)
        if len(got) >= len(data):
            complete.set()

    with serial_pair(timeout=PATIENCE) as (connection, peer):
        if subscribed:
            subscribe(connection, Connection.Signals.DATA_RECEIVED, on_data)
        thread = threading.Thread(target=peer.sendall, args=(data,), daemon=True)
        thread.start()
        if subscribed:
            assert complete.wait(PATIENCE)
        else:
            got.extend(connection.readexactly(len(data)))
        thread.join(PATIENCE)
    assert got == data


class Rfc2217Server:
    """A serial port on the network: pyserial's own server part, in front of ``loop://``."""

    def __init__(self) -> None:
        self.port = serial.serial_for_url("loop://", timeout=0.05)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.url = f"rfc2217://127.0.0.1:{self.listener.getsockname()[1]}"
        self.stopping = threading.Event()
        self.client: socket.socket | None = None
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.from_network, self.from_port)]
        self.accepted = threading.Event()

    def write(self, data: bytes) -> None:
        """Send to the client; the port manager answers by this."""
        with self.lock:
            if self.client is not None:
                self.client.sendall(data)

    def from_network(self) -> None:
        """Serve one client."""
        self.client, _ = self.listener.accept()
        self.manager = serial.rfc2217.PortManager(self.port, self)
        self.accepted.set()
        try:
            while data := self.client.recv(1024):
                self.port.write(b"".join(self.manager.filter(data)))
        except OSError:
            pass

    def from_port(self) -> None:
        """Pass on what the port receives."""
        self.accepted.wait(PATIENCE)
        while not self.stopping.is_set():
            data = self.port.read(1)
            if data:
                try:
                    self.write(b"".join(self.manager.escape(data)))
                except OSError:
                    return

    def hang_up(self) -> None:
        """Close the client's connection."""
        with self.lock:
            if self.client is not None:
                self.client.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close everything."""
        self.stopping.set()
        if self.client is not None:
            self.client.close()
        self.listener.close()
        self.port.close()
        for thread in self.threads:
            thread.join(PATIENCE)


@contextmanager
def rfc2217_server() -> Iterator[Rfc2217Server]:
    """Give a running server."""
    server = Rfc2217Server()
    for thread in server.threads:
        thread.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # in pyserial
def test_rfc2217_sets_the_remote_port_and_carries_bytes() -> None:
    """The settings arrive at the server; reading, writing and timeouts work; the end is told."""
    everything = bytes(range(256))
    with rfc2217_server() as server:
        with SerialConnection(server.url, baudrate=38400, parity="E", timeout=PATIENCE) as connection:
            assert (server.port.baudrate, server.port.parity) == (38400, "E")
            connection.write(everything, timeout=5.0)
            assert connection.readexactly(256) == everything
            with pytest.raises(TimedOut):
                connection.read(1, timeout=0.05)
            server.hang_up()
            with pytest.raises(ConnectionLost, match="port broke"):
                connection.read(1)


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # in pyserial
def test_server_that_is_no_rfc2217_server_does_not_hold_up_a_stop(new_threads: NewThreads) -> None:
    """pyserial waits for it for seconds, on a thread of its own; what it opens too late is closed."""
    deadline = Deadline(PATIENCE)
    clients: list[socket.socket] = []

    def accept() -> None:
        clients.append(listener.accept()[0])
        deadline.cancel()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        connection = SerialConnection(f"rfc2217://127.0.0.1:{listener.getsockname()[1]}?timeout=0.2")
        threading.Thread(target=accept, daemon=True).start()
        assert not connection.try_connect(deadline)
    assert isinstance(connection.last_error, Cancelled)
    for thread in new_threads("cnx opening"):
        thread.join(PATIENCE)
    clients[0].close()


def test_port_that_is_opened_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would do it otherwise."""
    proceed, closed = threading.Event(), threading.Event()

    class Late(serial.serial_for_url("loop://", do_not_open=True).__class__):  # type: ignore[misc]
        """A port that takes its time."""

        def open(self) -> None:
            proceed.wait(PATIENCE)
            super().open()

        def close(self) -> None:
            if self.is_open:
                closed.set()
            super().close()

    monkeypatch.setattr(serial, "serial_for_url", lambda url, **settings: Late(url, **settings))
    with pytest.raises(ConnectTimedOut, match=r"cannot open serial port loop:// within 0\.05 s"):
        open_serial("loop://", {}, Deadline(0.05))
    proceed.set()
    assert closed.wait(PATIENCE)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"port": ""}, "port"),
        ({"port": 5}, "port"),
        ({"port": "/dev/\0"}, "port"),
        ({"port": "nonsense://here"}, "nonsense"),
        ({"port": "a.b://here"}, "a.b"),
        ({"baudrate": 0}, "baudrate"),
        ({"baudrate": 9600.5}, "baudrate"),
        ({"baudrate": True}, "baudrate"),
        ({"bytesize": 9}, "bytesize"),
        ({"parity": "X"}, "parity"),
        ({"parity": None}, "parity"),
        ({"baudrate": 2**40}, "up to 2147483647"),
        ({"stopbits": 3}, "stopbits"),
        ({"xonxoff": "yes"}, "xonxoff"),
        ({"rtscts": None}, "rtscts"),
        ({"dsrdtr": 2}, "dsrdtr"),
        ({"exclusive": "no"}, "exclusive"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], names: str) -> None:
    """At the call, by name."""
    with pytest.raises(ValueError, match=names):
        SerialConnection(**({"port": "/dev/ttyUSB0"} | arguments))


def test_it_tells_where_it_leads() -> None:
    """By the name of the port."""
    connection = SerialConnection("/dev/ttyUSB0", 115200)
    assert connection.address == "/dev/ttyUSB0"
    assert repr(connection) == "<SerialConnection /dev/ttyUSB0 not connected>"


def test_port_that_cannot_be_used_is_not_left_open() -> None:
    """Where there are no more descriptors, connecting fails with a ConnectError, and the port stays free."""
    with closing(PtyPeer()) as peer:
        connection = SerialConnection(peer.port, exclusive=True)
        pipe = os.pipe

        def no_pipe() -> tuple[int, int]:
            if "serial_ports" in sys._getframe(1).f_code.co_filename:  # pyserial has pipes of its own
                raise OSError(24, "Too many open files")
            return pipe()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pipe", no_pipe)
            with pytest.raises(ConnectError, match="Too many open files"):
                connection.connect(PATIENCE)
        connection.connect(PATIENCE)  # it would be locked
        connection.teardown()


def test_interrupted_opening_closes_the_port() -> None:
    """Ctrl-C while a slow port is opened: nobody takes the port, so it is closed when it is open."""
    opened, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def open_slowly() -> str:
        opened.set()
        assert go_on.wait(PATIENCE)
        return "the port"

    class Interrupted(Deadline):
        def remaining(self) -> float | None:
            if opened.wait(PATIENCE):
                raise KeyboardInterrupt
            return None

    with pytest.raises(KeyboardInterrupt):
        call_detached(open_slowly, "opening", Interrupted(), lambda port: closed.set())
    go_on.set()
    assert closed.wait(PATIENCE)
