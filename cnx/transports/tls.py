"""TlsTransport: TLS over a stream socket.

An OpenSSL connection must not be read and written by two threads at once. Here the TLS engine works on memory only,
guarded by a lock that is held briefly, and all waiting happens on the socket, outside of that lock. So one thread can
read while others write and shut down, as on the bare socket.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from time import monotonic

from cnx.deadline import Deadline
from cnx.errors import AccessDenied, ConnectError, ConnectionLost, ConnectTimedOut, PeerClosed, TimedOut, fresh
from cnx.logs import logger
from cnx.threads.locks import Lock
from cnx.transports.resolver import reason_of
from cnx.transports.sockets import SocketTransport
from cnx.transports.transport import CHUNK, Transport

__all__ = ["TlsTransport", "open_tls", "trouble_with"]

log = logger(__name__)

_FEED = CHUNK - 20 * 1024
"""Bytes that the engine gets at once. With an incomplete record they decrypt to at most one CHUNK, so a read of that
size leaves nothing inside the engine, for which the descriptor would not become readable."""

_VERDICT = 0.01
"""Seconds to wait for the answer to the end of a handshake, beyond the time that the handshake took."""

_REFUSALS = frozenset(
    f"{version}_ALERT_{alert}"
    for version in ("SSLV3", "TLSV1", "TLSV13")
    for alert in (
        *("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED"),
        *("CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "ACCESS_DENIED"),
    )
)
"""Alerts by which a server refuses the certificate of a client, as OpenSSL names them."""


class TlsTransport(Transport):
    """An open stream socket with TLS.

    Args:
        inner: the open socket.
        context: what to verify and to present.
        server_hostname: the name that the certificate must have.
    """

    buffers = True

    def __init__(self, inner: SocketTransport, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self.address = inner.address
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._lock = Lock()  # guards the engine and its two memories
        self._flushing = threading.Lock()  # held while sending, so that records are sent in the order they were made
        self._unsent = b""  # what the socket has not taken yet; belongs to the holder of _flushing
        self._early = b""  # what arrived decrypted just after the handshake
        self._end: ConnectionLost | None = (
            None  # the end of the stream, to raise after the bytes before it were returned
        )

    @property
    def engine(self) -> ssl.SSLObject:
        """The TLS engine, for its certificate, version and cipher."""
        return self._engine

    def fileno(self) -> int:
        return self._inner.fileno()

    def handshake(self, deadline: Deadline) -> None:
        """Agree on keys and verify the peer.

        Raises:
            ConnectError: the certificate is not trusted, or the peer speaks no TLS; the message has the cure.
            TimedOut, Cancelled: the deadline ended.
        """
        doing = f"TLS handshake with {self.address}"
        began = monotonic()
        try:
            with deadline.waking(self._inner.shutdown):
                while not self._shake_hands():
                    self._flush(deadline.remaining())
                    deadline.check(doing)
                    self._feed(self._inner.read(_FEED, deadline.remaining()))
                self._flush(deadline.remaining())
                if self._engine.version() == "TLSv1.3":
                    self._wait_for_verdict(monotonic() - began, deadline)
        except (ssl.SSLError, ConnectionLost) as error:
            self._flush_if_possible()
            deadline.check(doing)
            if _refuses_client(error):
                raise AccessDenied(_refusal(self.address, error)) from error
            verdict, advice = trouble_with(error, self._engine.server_hostname)
            failure = ConnectError(f"{doing} failed: {verdict}; {advice}")
            failure.fatal = (getattr(error, "reason", None) or "").endswith("_ALERT_HANDSHAKE_FAILURE")
            raise failure from error

    def read(self, size: int, timeout: float | None) -> bytes:
        end = None if timeout is None else monotonic() + timeout
        while not (data := self._decrypt(size)):
            self._receive(lambda: self._inner.read(_FEED, None if end is None else max(0.0, end - monotonic())))
        return data

    def read_now(self, size: int) -> bytes | None:
        parts: list[bytes] = []
        try:
            while size:
                data = self._decrypt(size)
                if not data and not self._receive(lambda: self._inner.read_now(_FEED)):
                    break
                parts.append(data)
                size -= len(data)
        except ConnectionLost as error:
            if not any(parts):
                raise
            self._note_end(error)
        return b"".join(parts) or None

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        end = None if timeout is None else monotonic() + timeout
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):  # in pieces, to let readers in between and to bound the memory
            try:
                with self._lock:
                    self._engine.write(view[start : start + CHUNK])
            except OSError as error:
                raise ConnectionLost(f"TLS with {self.address} broke while writing: {reason_of(error)}") from error
            if not self._flush(None if end is None else max(0.0, end - monotonic())):
                return -1
        return len(data)

    def shutdown(self) -> None:
        if self._flushing.acquire(blocking=False):  # otherwise a write is in progress, which is cut
            try:
                # This makes the record that ends TLS. The engine then wants to read the peer's answer, or reports an
                # error of some other system call; both are ignored.
                with self._lock, contextlib.suppress(OSError):
                    self._engine.unwrap()
                with contextlib.suppress(ConnectionLost):
                    self._send_outgoing(0.0)
            finally:
                self._flushing.release()
        self._inner.shutdown()

    def close(self) -> None:
        self._inner.close()

    def _shake_hands(self) -> bool:
        """Continue the handshake; return whether it is complete; if not, it needs input."""
        with self._lock:
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return True

    def _wait_for_verdict(self, handshake: float, deadline: Deadline) -> None:
        """Wait a moment for what the server answers to the end of the handshake.

        With TLS 1.3 the client has finished before the server has seen the client's certificate. A server that accepts
        it usually answers with a session ticket, and one that refuses it with an alert.

        Args:
            handshake: seconds that the handshake took; the answer takes about as long.
            deadline: of the attempt.
        """
        left = deadline.remaining()
        patience = handshake + _VERDICT
        try:
            self._feed(self._inner.read(_FEED, patience if left is None else min(patience, left)))
        except (TimedOut, ConnectionLost):
            return  # the next read finds out
        try:
            with self._lock:
                self._early = self._engine.read(CHUNK)
        except ssl.SSLWantReadError:
            pass  # it was a session ticket, or a part of something

    def _decrypt(self, size: int) -> bytes:
        """Return up to ``size`` decrypted bytes; none if more input is needed."""
        if self._early:
            early, self._early = self._early[:size], self._early[size:]
            return early
        if self._end is not None:
            raise fresh(self._end)
        parts: list[bytes] = []
        try:
            with self._lock:
                while size:
                    data = self._engine.read(size)
                    if not data:
                        self._note_end(PeerClosed(f"{self.address} closed the connection"))
                        break
                    parts.append(data)
                    size -= len(data)
        except ssl.SSLWantReadError:
            if self._outgoing.pending:
                self._flush_if_possible()  # the engine itself answers, for example to a key update
        except OSError as error:
            lost = ConnectionLost(f"TLS with {self.address} broke while reading: {reason_of(error)}")
            if _refuses_client(error):
                lost = ConnectionLost(_refusal(self.address, error))
                lost.fatal = True
            self._note_end(lost, error)
        if self._end is not None and not parts:
            raise fresh(self._end)
        return b"".join(parts)

    def _note_end(self, end: ConnectionLost, cause: Exception | None = None) -> None:
        """Keep the end of the stream for the next call, and make the descriptor readable."""
        end.__cause__ = cause
        self._end = end
        with contextlib.suppress(OSError):
            self._inner.socket.shutdown(socket.SHUT_RD)

    def _receive(self, read: Callable[[], bytes | None]) -> bool:
        """Feed the engine; return whether there was anything."""
        try:
            data = read()
        except PeerClosed as error:
            raise ConnectionLost(
                f"{self.address} closed the connection without ending TLS; data may be missing"
            ) from error
        if data is not None:
            self._feed(data)
        return data is not None

    def _feed(self, data: bytes) -> None:
        with self._lock:
            self._incoming.write(data)

    def _flush(self, timeout: float | None) -> bool:
        """Send the records of the engine; return whether all were sent. The rest is sent with the next ones."""
        if not self._flushing.acquire(timeout=-1 if timeout is None else timeout):
            return False
        try:
            return self._send_outgoing(timeout)
        finally:
            self._flushing.release()

    def _send_outgoing(self, timeout: float | None) -> bool:
        end = None if timeout is None else monotonic() + timeout
        while True:
            if not self._unsent:
                with self._lock:
                    self._unsent = self._outgoing.read()
            if not self._unsent:
                return True
            sent = self._inner.write(self._unsent, None if end is None else max(0.0, end - monotonic()))
            self._unsent = self._unsent[sent:]
            if self._unsent:
                return False

    def _flush_if_possible(self) -> None:
        """Send what can be sent without waiting; the next write sends the rest."""
        with contextlib.suppress(ConnectionLost):
            self._flush(0.0)


def _refuses_client(error: Exception) -> bool:
    """Return whether ``error`` is an alert by which the server refuses this client."""
    return isinstance(error, ssl.SSLError) and error.reason in _REFUSALS


def _refusal(address: str, error: Exception) -> str:
    alert = (getattr(error, "reason", None) or "").partition("_ALERT_")[2].lower().replace("_", " ")
    return (
        f"{address} refused this client's certificate: {alert}; load one that it accepts with "
        "context.load_cert_chain() and pass tls=context"
    )


EXPIRED, NOT_YET, WRONG_NAMES = 10, 9, (62, 64)  # X509_V_ERR_* of OpenSSL


def trouble_with(error: Exception, name: str | None) -> tuple[str, str]:
    """Return what is wrong and what to do about it, for a handshake that failed with ``error``.

    Args:
        error: what OpenSSL or the socket raised.
        name: the name that the certificate must have.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == EXPIRED:
            return "its certificate has expired", "renew the certificate; check the clocks of both sides"
        if error.verify_code == NOT_YET:
            return "its certificate is not valid yet", "check the clocks of both sides"
        if error.verify_code in WRONG_NAMES:
            return f"its certificate is not for {name!r}", "use the name in the certificate, or give server_hostname"
        return (
            f"its certificate is not trusted: {error.verify_message}",
            "give its authority: ?ca=FILE in a URL, or tls=ssl.create_default_context(cafile=FILE)",
        )
    reason = (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    if any(word in reason for word in ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO", "NO_PROTOCOLS")):
        return (
            "the two sides have no version of TLS in common",
            "update the older one, or set minimum_version of a context of your own",
        )
    if "CERTIFICATE_REQUIRED" in reason:
        return "it wants a client certificate", "load one into a context of your own: context.load_cert_chain(FILE)"
    if any(word in reason for word in ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN")):
        return f"it refuses the client certificate ({reason})", "is it valid, and does the server know its authority?"
    if reason.endswith("_ALERT_HANDSHAKE_FAILURE"):
        return (
            "the server refused it: there is no cipher that both accept, or it wants a client certificate",
            "pass tls=context, after context.load_cert_chain()",
        )
    if "UNRECOGNIZED_NAME" in reason:
        return f"it has no certificate for {name!r}", "use another host name, or give server_hostname"
    if "ALERT" in reason:
        return f"it refused the handshake ({reason})", "see its log; it may want a client certificate or another cipher"
    if isinstance(error, ConnectionLost):
        return f"it ended the link: {error}", "does this port speak TLS? see its log"
    return f"it does not speak TLS ({reason or reason_of(error)})", "use tcp:// or leave out tls="


def open_tls(inner: SocketTransport, context: ssl.SSLContext, name: str | None, deadline: Deadline) -> TlsTransport:
    """Start TLS on an open socket, which is closed if that fails.

    Warn if the certificate, or the name in it, is not verified.
    """
    try:
        transport = TlsTransport(inner, context, name)
        transport.handshake(deadline)
    except TimedOut:
        inner.close()
        limit = "" if deadline.seconds is None else f" within {deadline.seconds:g} s"
        raise ConnectTimedOut(
            f"TLS handshake with {inner.address} failed: no answer{limit}; does this port speak TLS?"
        ) from None
    except BaseException:
        inner.close()
        raise
    if context.verify_mode is ssl.CERT_NONE:
        log.warning(
            "%s: the certificate is NOT verified: anyone in between can read and change all data", inner.address
        )
    elif not context.check_hostname:
        log.warning(
            "%s: the name in the certificate is NOT checked: any server with a certificate of a trusted authority can "
            "read and change all data",
            inner.address,
        )
    return transport
