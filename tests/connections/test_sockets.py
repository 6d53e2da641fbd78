"""Tests of socket connections: addresses, options, unix sockets, adopted sockets, bad arguments."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cnx import SocketConnection, SocketOptions, UdpConnection, UnixConnection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, ConnectTimedOut, TimedOut
from cnx.testing import NewThreads, wait_until
from cnx.transports import dialing, resolver
from cnx.transports.dialing import connect_socket, open_unix
from tests.helpers.inside import link_of
from tests.helpers.processes import PROCESS_PATIENCE

PATIENCE = 10.0


@contextmanager
def server(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Give a listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def talks(connection: Any, listener: socket.socket) -> bool:
    """Connect, and tell whether bytes go both ways."""
    with connection:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(PATIENCE)
            connection.write(b"ping")
            assert peer.recv(100) == b"ping"
            peer.sendall(b"pong")
            return bool(connection.readexactly(4, timeout=PATIENCE) == b"pong")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_families(host: str) -> None:
    """IPv4 and IPv6."""
    with server(host) as listener:
        connection = SocketConnection(host, listener.getsockname()[1])
        assert talks(connection, listener)
        assert connection.address == (f"[{host}]" if ":" in host else host) + f":{listener.getsockname()[1]}"


def test_names_are_looked_up() -> None:
    """By the system."""
    with server() as listener:
        assert talks(SocketConnection("localhost", listener.getsockname()[1]), listener)


def addresses(*hosts: str) -> Any:
    """Return what a resolver would say."""

    def resolve(host: str, port: int, kind: int, deadline: Deadline) -> list[tuple[int, Any]]:
        return [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)) for host in hosts]

    return resolve


def test_all_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after one that refuses, and one of a family that this machine does not have."""
    missing = 12345  # no family at all
    with server() as listener:
        port = listener.getsockname()[1]
        found = [
            (missing, ("nowhere", port)),
            (socket.AF_INET, ("127.0.0.2", port)),
            (socket.AF_INET, ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(dialing, "resolve", lambda *_: found)
        assert talks(SocketConnection("some.name", port), listener)


def test_error_tells_the_reason_of_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address."""
    with server() as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(dialing, "resolve", addresses("127.0.0.1", "::1"))
    connection = SocketConnection("some.name", port)
    with pytest.raises(ConnectError) as caught:
        connection.connect(PATIENCE)
    text = f"cannot connect to some.name:{port}: 127.0.0.1: Connection refused; ::1: Connection refused"
    assert str(caught.value) == text


def test_addresses_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer leaves time for the next."""
    with full_server() as port, socket.create_server(("127.0.0.2", port)) as listener:
        listener.settimeout(PATIENCE)
        monkeypatch.setattr(dialing, "resolve", addresses("127.0.0.1", "127.0.0.2"))
        assert talks(SocketConnection("some.name", port, connect_timeout=1.0), listener)


@contextmanager
def full_server() -> Iterator[int]:
    """Give the port of a server at 127.0.0.1 that lets connection attempts wait for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_attempt_ends_with_its_timeout() -> None:
    """And says what did not answer."""
    with full_server() as port:
        connection = SocketConnection("127.0.0.1", port, connect_timeout=0.1)
        assert not connection.try_connect()
        assert isinstance(connection.last_error, ConnectTimedOut)
        assert str(connection.last_error) == f"cannot connect to 127.0.0.1:{port} within 0.1 s: no answer"


def test_attempt_can_be_cancelled() -> None:
    """At once, with that reason."""
    with full_server() as port:
        deadline = Deadline(PATIENCE)
        threading.Timer(0.05, deadline.cancel).start()
        connection = SocketConnection("127.0.0.1", port)
        assert not connection.try_connect(deadline)
        assert isinstance(connection.last_error, Cancelled)


def test_attempt_that_was_cancelled_just_before_is_not_begun() -> None:
    """There would be nothing yet that could be woken."""
    with full_server() as port, socket.socket() as sock:
        deadline = Deadline(PATIENCE)
        deadline.cancel()
        with pytest.raises(Cancelled):
            connect_socket(sock, ("127.0.0.1", port), deadline)


def test_unknown_name() -> None:
    """The error says which, and what to do."""
    with pytest.raises(ConnectError, match=r"cannot find 'no\.such\.host\.invalid': .*check the name"):
        SocketConnection("no.such.host.invalid", 1).connect(PATIENCE)


def test_slow_resolver_does_not_hold_up_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be interrupted, but left."""
    answer = threading.Event()
    original = socket.getaddrinfo

    def slow(*arguments: Any, **options: Any) -> Any:
        if not options.get("flags"):
            answer.wait(PATIENCE)
        return original(*arguments, **options)

    monkeypatch.setattr(resolver.socket, "getaddrinfo", slow)
    connection = SocketConnection("localhost", 1, connect_timeout=0.05)
    assert not connection.try_connect()
    assert isinstance(connection.last_error, TimedOut)
    deadline = Deadline(PATIENCE)
    threading.Timer(0.05, deadline.cancel).start()
    assert not connection.try_connect(deadline)
    assert isinstance(connection.last_error, Cancelled)
    answer.set()


def test_attempts_share_a_look_up(monkeypatch: pytest.MonkeyPatch, new_threads: NewThreads) -> None:
    """While the resolver hangs, no attempt adds a thread; what it finds in the end is for all that wait."""
    answer = threading.Event()
    original = socket.getaddrinfo
    names: list[str] = []

    def slow(host: str, *arguments: Any, **options: Any) -> Any:
        if options.get("flags"):
            return original(host, *arguments, **options)
        names.append(host)
        answer.wait(PATIENCE)
        return original("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(resolver.socket, "getaddrinfo", slow)
    with server() as listener:
        port = listener.getsockname()[1]
        for _ in range(20):
            assert not SocketConnection("device.invalid", port, connect_timeout=0.001).try_connect()
        connections: list[Any] = [SocketConnection("device.invalid", port) for _ in range(3)]
        connections.append(UdpConnection("device.invalid", port))
        threads = [threading.Thread(target=connection.connect, args=(PATIENCE,)) for connection in connections]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(resolver._look_ups["device.invalid"]._changed.gates) == len(threads), "the attempts")
        looking = new_threads("cnx looking up device.invalid")
        answer.set()
        for thread in threads:
            thread.join()
        assert all(connection.connected for connection in connections)
        assert (names, len(looking)) == (["device.invalid"], 1)
        with SocketConnection("device.invalid", port):
            assert len(names) == 2  # nothing is remembered
        for connection in connections:
            connection.disconnect()


def test_look_up_in_a_forked_child() -> None:
    """The thread that looks up for the parent does not exist there, so the child asks for itself."""
    program = """
import os, socket, threading
import cnx
original, answer, asked = socket.getaddrinfo, threading.Event(), threading.Event()
def slow(*arguments, **options):
    if not options.get("flags") and os.getpid() == parent:
        asked.set()
        answer.wait()
    return original(*arguments, **options)
parent = os.getpid()
socket.getaddrinfo = slow
with socket.create_server(("127.0.0.1", 0)) as listener:
    waiting = threading.Thread(target=cnx.SocketConnection("localhost", listener.getsockname()[1]).try_connect)
    waiting.start()
    asked.wait()
    child = os.fork()
    if child == 0:
        connection = cnx.SocketConnection("localhost", listener.getsockname()[1])
        os._exit(0 if connection.try_connect(cnx.Deadline(10)) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    answer.set()
    waiting.join()
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert done.stdout == "0\n", done.stderr


def test_no_thread_for_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt fails, and the next one tries again."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    connection = SocketConnection("localhost", 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(ConnectError, match="cannot start the thread 'cnx looking up localhost': can't start"):
            connection.connect(PATIENCE)
    assert threading.Thread.start is start
    with pytest.raises(ConnectError, match="cannot connect to localhost"):
        connection.connect(PATIENCE)


def test_socket_that_was_connected_with_itself_is_no_connection() -> None:
    """The system does that when a port nobody listens at happens to be chosen as one's own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError, match="nothing listens there") as caught:
            connect_socket(sock, sock.getsockname(), Deadline(PATIENCE))
        assert caught.value.errno == errno.ECONNREFUSED


# -- options -----------------------------------------------------------------------------------------------------------


def option_values(options: SocketOptions | None) -> list[int]:
    """Return what the system says about a connected socket."""
    with server() as listener:
        with SocketConnection("127.0.0.1", listener.getsockname()[1], options=options) as connection:
            sock = link_of(connection).transport.socket
            names = ["TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"]
            values = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
            return [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *values]


def test_default_options_are_set() -> None:
    """No delay, keepalive after 60 s, every 15 s, 4 times; a peer that does not read is not cut off."""
    assert option_values(None) == [1, 1, 60, 15, 4, 0]


def test_own_options_are_set() -> None:
    """Each."""
    assert option_values(SocketOptions(nodelay=False, keepalive=(7, 3, 2), user_timeout=1.5)) == [1, 0, 7, 3, 2, 1500]


def test_options_can_be_left_to_the_system() -> None:
    """By ``None``."""
    values = option_values(SocketOptions(keepalive=None, user_timeout=None))
    assert (values[0], values[-1]) == (0, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"nodelay": "no"},
        {"keepalive": (60, 15)},
        {"keepalive": (0, 15, 4)},
        {"keepalive": (60.5, 15, 4)},
        {"keepalive": (60, 15, 1000)},
        {"keepalive": (40_000, 15, 4)},
        {"keepalive": 60},
        {"keepalive": [60, 15, 4]},
        {"keepalive": (2, 1, 2), "user_timeout": 4.1},
        {"user_timeout": 120.1},
        {"user_timeout": 0},
        {"user_timeout": -1},
        {"user_timeout": float("nan")},
        {"user_timeout": float("inf")},
    ],
    ids=str,
)
def test_options_that_the_system_would_refuse(options: dict[str, Any]) -> None:
    """Are refused at the call, by name."""
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        SocketOptions(**options)


# -- unix sockets ------------------------------------------------------------------------------------------------------


@contextmanager
def unix_server(path: Path | str, backlog: int = 10) -> Iterator[socket.socket]:
    """Give a listening unix socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(str(path))
        listener.listen(backlog)
        yield listener


def test_unix_socket(tmp_path: Path) -> None:
    """By its path, as text or as a path."""
    path = tmp_path / "device.sock"
    with unix_server(path) as listener:
        assert talks(UnixConnection(path), listener)
        assert talks(UnixConnection(str(path)), listener)
        assert UnixConnection(path).address == str(path)


def test_unix_socket_without_a_file() -> None:
    """Linux knows names that are no files; they begin with a zero."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE)
        name = f"\0cnx test {id(listener)}"
        listener.bind(name)
        listener.listen()
        assert talks(UnixConnection(name), listener)


def test_unix_socket_where_nobody_listens(tmp_path: Path) -> None:
    """The error says so."""
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path / "stale", "is the program running")):
        if path.name == "stale":
            with unix_server(path):
                pass
        with pytest.raises(ConnectError, match=reason):
            UnixConnection(path).connect(PATIENCE)


def test_unix_socket_with_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    """Rather than being taken for connected; in vain no longer than allowed."""
    path = str(tmp_path / "busy.sock")
    with unix_server(path, backlog=0) as listener, contextlib.ExitStack() as stack:
        with contextlib.suppress(BlockingIOError):
            for _ in range(10):
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(path)
        with pytest.raises(TimedOut):
            open_unix(path, Deadline(0.05))
        threading.Timer(0.05, lambda: stack.enter_context(listener.accept()[0])).start()
        transport = open_unix(path, Deadline(PATIENCE))
        assert transport.socket.getpeername() == path
        transport.close()


# -- adopted sockets ---------------------------------------------------------------------------------------------------


def test_open_socket_is_adopted() -> None:
    """One end of a socketpair, whatever its timeouts were; it can be connected once."""
    near, far = socket.socketpair()
    near.settimeout(0.01)
    with far:
        connection = SocketConnection.from_socket(near, name="pair")
        assert not connection.connected
        with connection:
            far.sendall(b"hello")
            assert connection.readexactly(5, timeout=PATIENCE) == b"hello"
            threading.Timer(0.1, far.sendall, [b"late"]).start()
            assert connection.readexactly(4) == b"late"
        assert far.recv(1) == b""
        with pytest.raises(ConnectError, match="was made from a socket that is closed now"):
            connection.connect()


def test_adopted_socket_may_have_descriptor_zero() -> None:
    """Where standard input is closed, the next socket gets its number; in its name that is no port."""
    program = """
import os, socket
from cnx import SocketConnection
near, far = socket.socketpair()
os.dup2(near.fileno(), 0)
with SocketConnection.from_socket(socket.socket(fileno=0)) as connection:
    far.sendall(b"hello")
    print(connection.readexactly(5, timeout=10), connection.name)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert done.stdout == "b'hello' socket 0\n", done.stderr


def test_adopted_tcp_socket_tells_its_peer() -> None:
    """As its address and name."""
    with server() as listener:
        sock = socket.create_connection(listener.getsockname())
        connection = SocketConnection.from_socket(sock)
        assert connection.address == connection.name == f"127.0.0.1:{listener.getsockname()[1]}"
        connection.teardown()
        assert sock.fileno() == -1


def test_what_is_no_open_stream_socket_is_not_adopted() -> None:
    """A datagram socket, one that is not connected, one with TLS of its own, and something else."""
    near, far = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as unconnected, near, far:
        with context.wrap_socket(near, do_handshake_on_connect=False) as secure:
            for sock in (datagrams, unconnected, secure, "socket", None):
                with pytest.raises(TypeError, match="from_socket"):
                    SocketConnection.from_socket(sock)  # type: ignore[arg-type]


# -- bad arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ({"host": ""}, ValueError, "host"),
        ({"host": "a b"}, ValueError, "host"),
        ({"host": "a/b"}, ValueError, "host"),
        ({"host": "[::1]"}, ValueError, "host"),
        ({"host": "a\0b"}, ValueError, "host"),
        ({"host": "x" * 64 + ".de"}, ValueError, "host"),
        ({"host": "127.0.0.1:4001"}, ValueError, "pass the port separately"),
        ({"host": "me@host"}, ValueError, "host"),
        ({"host": "host?tls"}, ValueError, "host"),
        ({"server_hostname": 5, "tls": True}, TypeError, "server_hostname"),
        ({"server_hostname": "", "tls": True}, ValueError, "server_hostname"),
        ({"server_hostname": "a b", "tls": True}, ValueError, "server_hostname"),
        ({"server_hostname": "host"}, ValueError, "tls=True"),
        ({"options": {"nodelay": True}}, TypeError, "SocketOptions"),
        ({"host": None}, TypeError, "host"),
        ({"host": b"a"}, TypeError, "host"),
        ({"port": 0}, ValueError, "port must be between 1 and 65535, not 0"),
        ({"port": 70_000}, ValueError, "port"),
        ({"port": -1}, ValueError, "port"),
        ({"port": "80"}, TypeError, "port"),
        ({"port": 80.0}, TypeError, "port"),
        ({"port": True}, TypeError, "port"),
        ({"connect_timeout": -1}, ValueError, "connect_timeout"),
        ({"connect_timeout": float("nan")}, ValueError, "connect_timeout"),
        ({"connect_timeout": "1"}, TypeError, "connect_timeout"),
        ({"timeout": -0.1}, ValueError, "timeout"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"encoding": "klingon"}, ValueError, "encoding"),
        ({"encoding": "hex"}, ValueError, "encoding"),
        ({"encoding": None}, ValueError, "encoding"),
        ({"terminator": b""}, ValueError, "terminator"),
        ({"terminator": "\n"}, TypeError, "terminator"),
        ({"limit": 0}, ValueError, "size"),
        ({"limit": 1.5}, TypeError, "size"),
        ({"framing": b"\n"}, TypeError, "framing"),
        ({"listener": "me"}, TypeError, "listener"),
        ({"baudrate": 9600}, TypeError, "baudrate"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], names: str) -> None:
    """At the call, by name."""
    with pytest.raises(error, match=names):
        SocketConnection(**({"host": "host", "port": 1} | arguments))


@pytest.mark.parametrize(
    "value",
    [
        ("encoding", "klingon"),
        ("terminator", b""),
        ("limit", -1),
        ("timeout", -1),
        ("timeout", "soon"),
        ("connect_timeout", float("nan")),
    ],
    ids=str,
)
def test_bad_settings_on_a_live_connection_are_refused(cnx_pair: Any, value: tuple[str, Any]) -> None:
    """And the old ones stay."""
    connection, _ = cnx_pair
    before = getattr(connection, value[0])
    with pytest.raises((ValueError, TypeError), match=r"timeout|encoding|terminator|size"):
        setattr(connection, *value)
    assert getattr(connection, value[0]) == before


@pytest.mark.parametrize("path", ["", "x" * 108, "a\0b", b"bytes", None], ids=repr)
def test_bad_unix_paths_are_refused(path: Any) -> None:
    """At the call."""
    with pytest.raises((ValueError, TypeError)):
        UnixConnection(path)
