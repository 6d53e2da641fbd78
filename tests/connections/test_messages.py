"""What errors say: the truth, the limit that was asked for, each thing once, the cure, and the cause behind it."""

from __future__ import annotations

import grp
import os
import pty
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import cnx
from cnx import ConnectError, ConnectTimedOut, Deadline, Delimited, SocketConnection, TimedOut
from cnx.doctor import examine
from cnx.testing import connection_pair
from tests.helpers.dead_ports import closed_port, full_backlog

SOON = 0.05


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Give what closes things at the end of a test."""
    with ExitStack() as stack:
        yield stack


def stale_unix_socket(directory: Path) -> Path:
    """Return the path of a unix socket whose program has ended."""
    path = directory / "stale"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path


FAILING: dict[str, tuple[Callable[[Path], Any], type[OSError], str]] = {
    "TCP": (lambda _: cnx.connection(f"tcp://127.0.0.1:{closed_port()}"), ConnectionRefusedError, "refused"),
    "a name": (lambda _: cnx.connection(f"tcp://localhost:{closed_port()}"), ConnectionRefusedError, "refused"),
    "an unknown name": (lambda _: cnx.connection("tcp://no-such.invalid:1"), socket.gaierror, "check the name"),
    "TLS": (lambda _: cnx.connection(f"tls://127.0.0.1:{closed_port()}"), ConnectionRefusedError, "refused"),
    "unix": (lambda path: cnx.UnixConnection(path / "none"), FileNotFoundError, "No such file"),
    "stale unix": (
        lambda path: cnx.UnixConnection(stale_unix_socket(path)),
        ConnectionRefusedError,
        "is the program running",
    ),
    "UDP": (lambda _: cnx.UdpConnection("127.0.0.1", 9, local=("192.0.2.1", 5)), OSError, "Cannot assign"),
    "serial": (lambda path: cnx.SerialConnection(str(path / "none")), FileNotFoundError, "`cnx ports` lists"),
    "a file": (lambda path: cnx.SerialConnection("/etc/passwd"), Exception, "it is not a serial port"),  # type: ignore[dict-item]
    "a directory": (lambda path: cnx.SerialConnection(str(path)), IsADirectoryError, "it is not a serial port"),
    "socket://": (
        lambda _: cnx.SerialConnection(f"socket://127.0.0.1:{closed_port()}"),
        ConnectionRefusedError,
        "refused",
    ),
}


@pytest.mark.parametrize("kind", FAILING)
def test_failed_attempt_has_its_cause(kind: str, tmp_path: Path) -> None:
    """The error of the system; the message has the address once, and no number of an error."""
    make, cause, text = FAILING[kind]
    connection = make(tmp_path)
    with pytest.raises(ConnectError, match=text) as caught:
        connection.connect()
    message = str(caught.value)
    assert isinstance(caught.value.__cause__, cause)
    where = "no-such.invalid" if kind == "an unknown name" else connection.address.removesuffix("/udp")
    assert message.count(where) == 1
    assert "Errno" not in message
    assert not isinstance(caught.value, TimeoutError)


def test_failed_attempt_at_several_addresses_names_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason."""
    port = closed_port()
    found = [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, ("127.0.0.2", port))]
    monkeypatch.setattr("cnx.transports.dialing.resolve", lambda *_: found)
    expected = f"cannot connect to device:{port}: 127.0.0.1: Connection refused; 127.0.0.2: Connection refused"
    with pytest.raises(ConnectError) as caught:
        SocketConnection("device", port).connect()
    assert str(caught.value) == expected


def test_attempt_that_timed_out_names_the_limit(stack: ExitStack, tmp_path: Path) -> None:
    """It is a ``TimeoutError`` and a ``ConnectError``, whatever it was waiting for."""
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    full = stack.enter_context(socket.socket(socket.AF_UNIX))
    full.bind(str(tmp_path / "full"))
    full.listen(0)
    for _ in range(2):
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.setblocking(False)
        waiting.connect_ex(str(tmp_path / "full"))
    for connection in (
        SocketConnection("127.0.0.1", stack.enter_context(full_backlog())),
        SocketConnection(*silent.getsockname(), tls=True),
        cnx.UnixConnection(tmp_path / "full"),
    ):
        with pytest.raises(ConnectTimedOut, match=r"within 0\.05 s") as caught:
            connection.connect(timeout=SOON)
        assert isinstance(caught.value, ConnectError)
        assert isinstance(caught.value, TimeoutError)
        assert str(caught.value).count(connection.address) == 1


CALLS: dict[str, tuple[Callable[[SocketConnection], object], bytes, str]] = {
    "read_str": (
        lambda c: c.read_str(timeout=SOON),
        b"21.5\n",
        r"5 bytes came from {} (b'21.5\n') but no b'\r\n' within 0.05 s; is the terminator right?",
    ),
    "readline": (
        lambda c: c.readline(timeout=SOON),
        b"21.5\r",
        r"5 bytes came from {} (b'21.5\r') but no b'\n' within 0.05 s; is the terminator right?",
    ),
    "readuntil": (
        lambda c: c.readuntil(b";", timeout=SOON),
        b"2",
        r"1 byte came from {} (b'2') but no b';' within 0.05 s; is the terminator right?",
    ),
    "readexactly": (
        lambda c: c.readexactly(10, timeout=SOON),
        b"abc",
        "3 bytes came from {} (b'abc') but not 10 within 0.05 s",
    ),
    "read": (
        lambda c: c.read(timeout=SOON),
        b"abc",
        "3 bytes came from {} (b'abc') but not the end of the stream within 0.05 s",
    ),
    "receive": (
        lambda c: c.receive(timeout=SOON),
        b"x" * 200,
        f"200 bytes came from {{}} (b'{'x' * 80}'...) but no complete message within 0.05 s; is the framing right?",
    ),
    "request": (
        lambda c: c.request(b"T?", timeout=SOON),
        b"21.5\n",
        r"5 bytes came from {} (b'21.5\n') but no b'\r\n' within 0.05 s; is the terminator right?",
    ),
    "nothing": (lambda c: c.readline(timeout=SOON), b"", "nothing arrived from {} within 0.05 s"),
    "no bytes": (lambda c: c.read(5, timeout=SOON), b"", "nothing arrived from {} within 0.05 s"),
    "no answer": (lambda c: c.request(b"T?", timeout=SOON), b"", "nothing arrived from {} within 0.05 s"),
    "wait_for": (
        lambda c: c.wait_for(lambda: None, timeout=SOON),
        b"abc",
        "nothing that was waited for arrived from {} within 0.05 s",
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_late_call_says_what_has_arrived(call: str) -> None:
    """And what has not, within the time that was asked for; nothing of it is lost."""
    action, data, text = CALLS[call]
    with connection_pair(framing=Delimited(b"\0")) as (connection, far):
        far.sendall(data)
        with pytest.raises(TimedOut) as caught:
            action(connection)
        assert str(caught.value) == text.format(connection.address)
        assert caught.value.__cause__ is None
        assert connection.read_waiting() == data


def test_late_datagram() -> None:
    """None arrived."""
    with cnx.UdpConnection("127.0.0.1", closed_port()) as connection:
        with pytest.raises(TimedOut, match=r"nothing arrived from 127.0.0.1:\d+ within 0\.05 s"):
            connection.receive(timeout=SOON)


def test_late_call_shows_no_secret() -> None:
    """Where a device echoes what it is sent."""
    with connection_pair() as (connection, far):
        connection.secrets = (b"hunter2",)
        far.sendall(b"user hunter2")
        with pytest.raises(TimedOut, match=r"b'user \*\*\*\*\*\*\*'"):
            connection.readline(timeout=SOON)


def test_late_preparation_names_the_time_for_connecting() -> None:
    """As that is what has ended, although the call had no timeout of its own."""

    class Asking(SocketConnection):
        def prepare(self, deadline: Deadline) -> None:
            self.readline()

    near, far = socket.socketpair()
    with far:
        far.sendall(b"hel")
        with pytest.raises(TimeoutError, match=r"3 bytes came from .* within the 0\.05 s for connecting"):
            Asking.from_socket(near).connect(timeout=SOON)


def test_what_is_not_connected_says_so_once() -> None:
    """With the reason, and that as its cause."""
    connection = SocketConnection("127.0.0.1", closed_port())
    assert not connection.try_connect()
    with pytest.raises(cnx.NotConnected) as caught:
        connection.write(b"x")
    assert str(caught.value) == f"not connected: cannot connect to {connection.address}: Connection refused"
    assert caught.value.__cause__ is connection.last_error


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user without rights and groups for a while."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
@pytest.mark.parametrize(
    ("mode", "cure"),
    [
        (0o660, r"add this user to its group: sudo usermod -aG dialout \$USER, then log in again"),
        (0o600, r"its owner is user 0, its group dialout, its mode crw-------"),
    ],
)
def test_port_without_permission(mode: int, cure: str, stack: ExitStack) -> None:
    """The message names the group of the device, ``dialout`` on most systems; the doctor says no more."""
    try:
        group = grp.getgrnam("dialout").gr_gid
    except KeyError:
        pytest.skip("there is no group dialout")
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    port = os.ttyname(slave)
    os.chown(port, 0, group)
    os.chmod(port, mode)
    connection = cnx.SerialConnection(port)
    with without_rights():
        with pytest.raises(
            ConnectError, match=f"^cannot open serial port {port}: permission denied; {cure}$"
        ) as caught:
            connection.connect()
        (finding,) = examine(connection)
    assert isinstance(caught.value.__cause__, PermissionError)
    assert (finding.good, finding.verdict, finding.advice) == (False, str(caught.value), "")


@pytest.mark.parametrize(
    ("device", "url"), [("/dev/ttyUSB0", "serial:///dev/ttyUSB0"), ("COM3", "serial://COM3")], ids=["POSIX", "Windows"]
)
def test_device_in_place_of_a_url(device: str, url: str) -> None:
    """The message has the URL."""
    with pytest.raises(ValueError, match=f"is a device, not a URL; write {url}"):
        cnx.connection(device)
