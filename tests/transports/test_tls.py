"""Tests of TLS: who is trusted, both directions at once, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import trustme

from cnx import Backoff, Connection, ConnectionManager, SocketConnection, State, connection, subscribe
from cnx.deadline import Deadline
from cnx.errors import (
    Cancelled,
    ConnectError,
    ConnectionLost,
    IncompleteRead,
    NotConnected,
    PeerClosed,
    TimedOut,
)
from cnx.testing import wait_until
from tests.helpers.inside import link_of

PATIENCE = 10.0

AUTHORITY = trustme.CA()

Serve = Callable[[ssl.SSLSocket], None]


def server_context(name: str = "localhost", authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """Return what a server called ``name`` presents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def client_context(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """Return what a client needs to trust the servers."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def plain_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one client; give the port. What goes wrong at the server fails the test."""
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                serve(sock)
        except BaseException as error:
            trouble.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)
    assert not thread.is_alive()
    if trouble:
        raise trouble[0]


@contextmanager
def tls_server(serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve one client with TLS; give the port."""
    made = context or server_context()

    def serve_tls(sock: socket.socket) -> None:
        with made.wrap_socket(sock, server_side=True) as secure:
            serve(secure)

    with plain_server(serve_tls) as port:
        yield port


@contextmanager
def secure(port: int, context: ssl.SSLContext | None = None, **settings: Any) -> Iterator[SocketConnection]:
    """Give a connection with TLS to ``localhost`` that is torn down at the end; not connected yet."""
    made = SocketConnection(
        "127.0.0.1", port, tls=context or client_context(), server_hostname="localhost", timeout=PATIENCE, **settings
    )
    try:
        yield made
    finally:
        made.teardown()


def echo(sock: ssl.SSLSocket) -> None:
    """Send everything back, and end in an orderly way when the client has."""
    while data := sock.recv(65536):
        sock.sendall(data)


def wait_for_end(sock: ssl.SSLSocket) -> None:
    """Read until the client goes; an engine may tell a reset as another error."""
    with suppress(OSError):
        while sock.recv(65536):
            pass


def refused(sock: socket.socket, context: ssl.SSLContext) -> str:
    """Try a handshake that the client breaks off; return the reason that the server is told."""
    try:
        with context.wrap_socket(sock, server_side=True) as secure_socket:
            secure_socket.recv(1)
    except ssl.SSLError as error:
        return error.reason or ""
    return "accepted"


def test_verified_server_is_talked_to() -> None:
    """With its certificate at hand."""
    with tls_server(echo) as port, secure(port) as made:
        made.connect()
        assert made.request(b"hello\r\n") == b"hello\r\n"
        assert ("DNS", "localhost") in made.peer_certificate()["subjectAltName"]


@pytest.mark.parametrize(
    ("presented", "trusted", "reason"),
    [
        (server_context("elsewhere"), AUTHORITY, "is not for 'localhost'; use the name in the certificate"),
        (
            server_context(authority=trustme.CA()),
            AUTHORITY,
            "unable to get local issuer certificate; give its authority: ?ca=FILE",
        ),
    ],
    ids=["wrong host", "unknown authority"],
)
def test_server_that_is_not_trusted_is_refused(presented: ssl.SSLContext, trusted: trustme.CA, reason: str) -> None:
    """With the reason and what to do; the server is told, too."""
    told: list[str] = []
    with plain_server(lambda sock: told.append(refused(sock, presented))) as port:
        with secure(port, client_context(trusted)) as made:
            assert not made.try_connect()
    assert isinstance(made.last_error, ConnectError)
    assert reason in str(made.last_error)
    assert "ALERT" in told[0]


def expired(days: float) -> ssl.SSLContext:
    """Return a server's context whose certificate ended, or will begin, so many days from now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = datetime.now(timezone.utc)
    first, last = sorted((now + timedelta(days=days), now + timedelta(days=days * 2)))
    AUTHORITY.issue_cert("localhost", not_before=first, not_after=last).configure_cert(context)
    return context


def limited(context: ssl.SSLContext, **limits: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a context with other versions of TLS."""
    for name, version in limits.items():
        setattr(context, name, version)
    return context


def wanting_a_certificate() -> ssl.SSLContext:
    """Return a server's context that refuses clients without a certificate, in the handshake."""
    context = limited(server_context(), maximum_version=ssl.TLSVersion.TLSv1_2)
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    return context


@pytest.mark.parametrize(
    ("presented", "client", "cure"),
    [
        (expired(-1), client_context(), "its certificate has expired; renew the certificate"),
        (expired(1), client_context(), "its certificate is not valid yet; check the clocks"),
        (
            limited(server_context(), maximum_version=ssl.TLSVersion.TLSv1_2),
            limited(client_context(), minimum_version=ssl.TLSVersion.TLSv1_3),
            "the two sides have no version of TLS in common; update the older one",
        ),
        (
            limited(server_context(), minimum_version=ssl.TLSVersion.TLSv1_3),
            limited(client_context(), maximum_version=ssl.TLSVersion.TLSv1_2),
            "the two sides have no version of TLS in common; update the older one",
        ),
        (wanting_a_certificate(), client_context(), "it wants a client certificate"),
    ],
    ids=["expired", "not yet valid", "old server", "old client", "client certificate"],
)
def test_failed_handshake_names_the_cure(presented: ssl.SSLContext, client: ssl.SSLContext, cure: str) -> None:
    """That of this trouble, and no other; what OpenSSL has raised is the cause."""
    with plain_server(lambda sock: str(refused(sock, presented))) as port, secure(port, client) as made:
        with pytest.raises(ConnectError, match=cure) as caught:
            made.connect(PATIENCE)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert "does this port speak TLS" not in str(caught.value)


def test_system_authorities_are_the_default() -> None:
    """``tls=True`` does not trust just anybody."""
    told: list[str] = []
    with plain_server(lambda sock: told.append(refused(sock, server_context()))) as port:
        made = SocketConnection("localhost", port, tls=True)
        with pytest.raises(ConnectError, match="not trusted"):
            made.connect(PATIENCE)
    assert "ALERT" in told[0]


def test_own_context_without_verification(caplog: pytest.LogCaptureFixture) -> None:
    """Who gives a context decides; also by URL. It is said loudly."""
    with tls_server(echo, server_context("elsewhere")) as port:
        made = connection(f"tls://127.0.0.1:{port}?verify=no&timeout=10")
        with made:
            assert made.request(b"hello\r\n") == b"hello\r\n"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(f"127.0.0.1:{port}" in warning and "NOT verified" in warning for warning in warnings)


def test_own_context_without_check_of_the_name(caplog: pytest.LogCaptureFixture) -> None:
    """Any server with a certificate of a trusted authority passes. It is said loudly."""
    context = client_context()
    context.check_hostname = False
    with tls_server(echo, server_context("elsewhere")) as port, secure(port, context) as made:
        made.connect(PATIENCE)
        assert made.request(b"hello\r\n") == b"hello\r\n"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(
        f"127.0.0.1:{port}" in warning and "name in the certificate is NOT checked" in warning for warning in warnings
    )


def test_verified_server_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """All is well, so nothing is said."""
    with tls_server(echo) as port, SocketConnection("localhost", port, tls=client_context()) as made:
        assert made.request(b"hello\r\n", timeout=PATIENCE) == b"hello\r\n"
    assert "NOT" not in caplog.text


def test_url_with_authority(tmp_path: Any) -> None:
    """``ca=`` names the file to trust, ``server_hostname=`` the name to expect."""
    authorities = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(authorities))
    with tls_server(echo) as port:
        with connection(f"tls://127.0.0.1:{port}?ca={authorities}&server_hostname=localhost&timeout=10") as made:
            assert made.request(b"hello\r\n") == b"hello\r\n"


def test_client_certificate_is_presented() -> None:
    """A context of one's own may have one."""
    server, client = server_context(), client_context()
    server.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(server)
    AUTHORITY.issue_cert("a.client").configure_cert(client)
    names: list[Any] = []
    with tls_server(lambda sock: names.append(sock.getpeercert()) or echo(sock), server) as port:
        with secure(port, client) as made:
            assert made.connect().request(b"hello\r\n") == b"hello\r\n"
    assert ("DNS", "a.client") in names[0]["subjectAltName"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("presented", [None, trustme.CA()], ids=["none", "of another authority"])
def test_client_whose_certificate_is_refused_is_not_connected(
    version: ssl.TLSVersion, presented: trustme.CA | None
) -> None:
    """The attempt fails with the reason, also with TLS 1.3, where the refusal follows the handshake; it is the last."""
    server, client = server_context(), client_context()
    server.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(server)
    client.minimum_version = client.maximum_version = version
    if presented is not None:
        presented.issue_cert("a.client").configure_cert(client)
    states: list[State] = []
    with plain_server(lambda sock: refused(sock, server)) as port, secure(port, client) as made:
        manager = ConnectionManager(made, backoff=Backoff(first=0.001, cap=0.01))
        subscribe(manager, manager.Signals.STATE_CHANGED, lambda new: states.append(new))
        with pytest.raises((ConnectError, ConnectionLost), match=r"refused .*certificate.*load_cert_chain"):
            manager.connect(PATIENCE)
        manager.wait_until("disconnected", PATIENCE)
    assert states.count(State.CONNECTED) <= 1  # a slow server may refuse after the wait for its answer
    assert manager.counters.attempts == 1


def test_refusal_that_comes_late_is_fatal() -> None:
    """A server may think about the certificate for longer than an attempt waits; then the link is lost, once."""
    server, client = server_context(), client_context()
    server.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(server)
    connected = threading.Event()

    def refuse_late(sock: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = server.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(sock.recv(65536))
        with suppress(ssl.SSLWantReadError):
            engine.do_handshake()
        sock.sendall(outgoing.read())
        incoming.write(sock.recv(65536))
        assert connected.wait(PATIENCE)
        with pytest.raises(ssl.SSLError):
            engine.do_handshake()
        sock.sendall(outgoing.read())

    with plain_server(refuse_late) as port, secure(port, client) as made:
        subscribe(made, made.Signals.CONNECTED, connected.set)
        manager = ConnectionManager(made, backoff=Backoff(first=0.001, cap=0.01))
        manager.connect(wait=False)
        manager.wait_until("disconnected", PATIENCE)
        assert "refused this client's certificate" in str(manager.reason)
        assert (manager.counters.attempts, manager.counters.connects, manager.counters.losses) == (1, 1, 1)


def test_what_comes_right_after_the_handshake_is_kept() -> None:
    """A server that speaks first is heard, by readers and by subscribers."""
    for wanted in ("reader", "subscriber"):

        def greet(sock: ssl.SSLSocket) -> None:
            sock.sendall(b"welcome\r\n" * 10)
            wait_for_end(sock)

        got = bytearray()
        with tls_server(greet) as port, secure(port) as made:
            if wanted == "subscriber":
                subscribe(made, made.Signals.DATA_RECEIVED, got.extend)
            made.connect()
            while wanted == "reader" and len(got) < 90:
                got += made.read(100)
            wait_until(lambda got=got: len(got) == 90, "the greeting")  # type: ignore[misc]
        assert got == b"welcome\r\n" * 10


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(version: ssl.TLSVersion) -> None:
    """Both in use work."""
    context = client_context()
    context.minimum_version = context.maximum_version = version
    with tls_server(echo) as port, secure(port, context) as made:
        assert made.connect().request(b"hello\r\n") == b"hello\r\n"


def test_many_megabytes_in_both_directions_at_once() -> None:
    """One thread writes, one reads, the server does both at once; nothing is lost or mixed up."""
    block = bytes(range(256)) * 512
    blocks = 96  # 12 MiB each way
    received: list[int] = []

    def serve(sock: ssl.SSLSocket) -> None:
        sock.setblocking(False)
        to_send, expected = memoryview(block * blocks), len(block) * blocks
        sent = got = 0
        while sent < len(to_send) or got < expected:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if sent < len(to_send):
                    sent += sock.send(to_send[sent : sent + 65536])
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if got < expected:
                    data = sock.recv(65536)
                    assert data == (block * 2)[got % len(block) : got % len(block) + len(data)]
                    got += len(data)
        received.append(got)

    def write() -> None:
        for _ in range(blocks):
            made.write(block)

    with tls_server(serve) as port, secure(port) as made:
        made.connect()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for _ in range(blocks):
            assert made.readexactly(len(block)) == block
        writer.join(PATIENCE)
    assert received == [len(block) * blocks]


def test_subscriber_gets_many_megabytes_while_another_thread_writes() -> None:
    """The same by the listener thread."""
    size = 6 << 20
    got: list[int] = []
    enough = threading.Event()

    def on_data(data: bytes) -> None:
        got.append(len(data))
        if sum(got) >= size:
            enough.set()

    with tls_server(echo) as port, secure(port) as made:
        subscribe(made, Connection.Signals.DATA_RECEIVED, on_data)
        made.connect()
        for _ in range(size >> 16):
            made.write(bytes(1 << 16))
        assert enough.wait(PATIENCE)
    assert sum(got) == size


def test_small_reads_hide_nothing_from_subscribers() -> None:
    """What a reading method leaves of a record is told at once, not only with the next record."""
    told: list[bytes] = []
    complete = threading.Event()

    def on_data(data: bytes) -> None:
        told.append(data)
        if b"".join(told) == b"0123456789":
            complete.set()

    def serve(sock: ssl.SSLSocket) -> None:
        sock.recv(1)
        sock.sendall(b"0123456789")
        wait_for_end(sock)

    with tls_server(serve) as port, secure(port) as made:
        subscribe(made, Connection.Signals.DATA_RECEIVED, on_data)
        made.connect().write(b"?")
        assert made.read(1) == b"0"
        assert complete.wait(PATIENCE)
        assert made.readexactly(9) == b"123456789"


def test_orderly_end() -> None:
    """The peer's close_notify is an orderly end: everything can be read, then ``b""``."""

    def serve(sock: ssl.SSLSocket) -> None:
        sock.recv(1)
        sock.sendall(b"last words")
        sock.unwrap()

    with tls_server(serve) as port, secure(port) as made:
        made.connect().write(b"?")
        assert made.read() == b"last words"
        assert made.read(100) == b""


def test_orderly_end_is_told_to_subscribers() -> None:
    """After the data."""
    news: list[Any] = []
    over = threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        sock.recv(1)
        sock.sendall(b"last words")
        sock.unwrap()

    with tls_server(serve) as port, secure(port) as made:
        subscribe(made, Connection.Signals.DATA_RECEIVED, lambda data: news.append(data))
        subscribe(made, Connection.Signals.DISCONNECTED, lambda reason: (news.append(type(reason)), over.set()))
        made.connect().write(b"?")
        assert over.wait(PATIENCE)
    assert news == [b"last words", PeerClosed]


def test_cut_is_no_orderly_end() -> None:
    """An end without close_notify may be an attack that takes the rest away: it is a loss, after what had come."""

    def serve(sock: ssl.SSLSocket) -> None:
        sock.recv(1)
        sock.sendall(b"first half")
        sock.shutdown(socket.SHUT_RDWR)

    with tls_server(serve) as port, secure(port) as made:
        made.connect().write(b"?")
        with pytest.raises(IncompleteRead, match="without ending TLS; data may be missing") as caught:
            made.readexactly(20)
        assert caught.value.partial == b"first half"
        assert made.read(100) == b"first half"
        with pytest.raises(ConnectionLost):
            made.read(100)
        made.disconnect()  # which waits until the end was told
        assert type(made.last_error) is ConnectionLost


def test_disconnect_says_goodbye() -> None:
    """So that the server does not take it for a cut."""
    ends: list[bytes] = []
    with tls_server(lambda sock: ends.append(sock.recv(100))) as port, secure(port) as made:
        made.connect()
        made.disconnect()
    assert ends == [b""]  # a cut would raise SSLEOFError


class StrayingEngine:
    """An engine that reports an error of a system call that was not its own, as some versions of OpenSSL do."""

    def __init__(self, engine: ssl.SSLObject) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def unwrap(self) -> None:
        """End TLS."""
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_disconnect_with_an_engine_that_reports_errors_of_others() -> None:
    """The link is closed all the same."""
    with tls_server(wait_for_end) as port, secure(port) as connection:
        connection.connect()
        link = link_of(connection)
        assert link is not None
        link.transport._engine = StrayingEngine(link.transport._engine)  # type: ignore[attr-defined]
        connection.disconnect()
        assert not connection.connected
        assert link.transport.fileno() < 0


def test_garbage_is_a_loss() -> None:
    """Bytes that are no record of TLS end the link with a reason."""

    def serve(sock: ssl.SSLSocket) -> None:
        sock.recv(1)
        raw = socket.socket(fileno=sock.detach())
        raw.sendall(b"this is no TLS at all, is it?")
        raw.close()

    with tls_server(serve) as port, secure(port) as made:
        made.connect()
        with contextlib.suppress(ConnectionLost):  # the answer may come while this still returns
            made.write(b"?")
        with pytest.raises(ConnectionLost, match=r"TLS with .* broke while reading"):
            made.read(100)


def test_plain_server_is_found_out() -> None:
    """One that speaks first breaks the handshake."""
    with plain_server(lambda sock: sock.sendall(b"220 mail ready\r\n")) as port, secure(port) as made:
        with pytest.raises(ConnectError, match=r"it does not speak TLS .*; use tcp://"):
            made.connect(PATIENCE)


def test_silent_server_is_given_up() -> None:
    """After the timeout."""
    over = threading.Event()
    with plain_server(lambda sock: over.wait(PATIENCE)) as port, secure(port) as made:
        with pytest.raises(ConnectError, match=r"no answer within 0\.1 s; does this port speak TLS"):
            made.connect(0.1)
        over.set()


def test_server_that_hangs_up_is_found_out() -> None:
    """In the middle of the handshake."""
    with plain_server(lambda sock: None) as port, secure(port) as made:
        with pytest.raises(ConnectError, match=r"TLS handshake with .* failed"):
            made.connect(PATIENCE)


def test_handshake_can_be_cancelled() -> None:
    """At once."""
    deadline, over = Deadline(PATIENCE), threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.recv(10)
        deadline.cancel()
        over.wait(PATIENCE)

    with plain_server(serve) as port, secure(port) as made:
        assert not made.try_connect(deadline)
        assert isinstance(made.last_error, Cancelled)
        over.set()


def test_write_that_is_cut_ends_the_link() -> None:
    """A server that does not read makes a write time out; what went out cannot be continued."""
    over = threading.Event()
    with tls_server(lambda sock: over.wait(PATIENCE)) as port, secure(port) as made:
        made.connect()
        with pytest.raises(TimedOut, match="the connection is closed"):
            made.write(bytes(50 << 20), timeout=0.2)
        over.set()
        with pytest.raises((NotConnected, ConnectionLost)):
            made.write(b"more")


def test_blocked_write_does_not_hold_up_disconnect() -> None:
    """It ends with the link."""
    over, blocked = threading.Event(), threading.Event()
    outcome: list[BaseException] = []

    def write() -> None:
        blocked.set()
        try:
            made.write(bytes(50 << 20))
        except Exception as error:
            outcome.append(error)

    with tls_server(lambda sock: over.wait(PATIENCE)) as port, secure(port) as made:
        made.connect()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        blocked.wait(PATIENCE)
        made.disconnect()
        writer.join(PATIENCE)
        over.set()
    assert isinstance(outcome[0], (ConnectionLost, NotConnected))


def test_timeout_loses_nothing() -> None:
    """Half a message that came before the timeout is there after it."""
    proceed = threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        sock.sendall(b"first ")
        proceed.wait(PATIENCE)
        sock.sendall(b"second\r\n")
        wait_for_end(sock)

    with tls_server(serve) as port, secure(port) as made:
        made.connect()
        with pytest.raises(TimedOut):
            made.readuntil(b"\r\n", timeout=0.1)
        proceed.set()
        assert made.readuntil(b"\r\n") == b"first second\r\n"


def test_key_change_and_tickets_are_no_data() -> None:
    """What TLS says to itself, such as session tickets, does not disturb a read."""

    def serve(sock: ssl.SSLSocket) -> None:
        for _ in range(3):
            sock.sendall(sock.recv(100))

    context = server_context()
    context.num_tickets = 5
    with tls_server(serve, context) as port, secure(port) as made:
        made.connect()
        for text in (b"a\r\n", b"b\r\n", b"c\r\n"):
            assert made.request(text) == text


@pytest.mark.parametrize("tls", ["yes", 1, object()], ids=repr)
def test_tls_has_to_be_a_context(tls: Any) -> None:
    """Or a yes or no."""
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        SocketConnection("localhost", 1, tls=tls)


def test_context_of_a_server_is_refused() -> None:
    """At the call."""
    with pytest.raises(ValueError, match="for servers"):
        SocketConnection("localhost", 1, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
