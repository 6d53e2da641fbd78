"""TlsTransport: TLS over a stream socket.

An OpenSSL connection must not be read and written by two threads at once. Here the TLS engine works on memory only,
guarded by a lock that is held briefly, and all waiting happens on the socket, outside of that lock. So one thread can
read while others write and shut down, as on the bare socket.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from time import monotonic

from cnx.deadline import Deadline
from cnx.errors import ConnectError, ConnectionLost, PeerClosed, TimedOut
from cnx.threads.locks import Lock
from cnx.transports.resolver import reason_of
from cnx.transports.sockets import SocketTransport
from cnx.transports.transport import CHUNK, Transport

__all__ = ["TlsTransport", "open_tls"]

log = logging.getLogger(__name__)

_FEED = CHUNK - 20 * 1024
"""Bytes that the engine gets at once. With an incomplete record they decrypt to at most one CHUNK, so a read of that
size leaves nothing inside the engine, for which the descriptor would not become readable."""


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
            ConnectError: the certificate is not trusted, or the peer speaks no TLS.
            TimedOut, Cancelled: the deadline ended.
        """
        doing = f"TLS handshake with {self.address}"
        try:
            with deadline.waking(self._inner.shutdown):
                while not self._shake_hands():
                    self._flush(deadline.remaining())
                    deadline.check(doing)
                    self._feed(self._inner.read(_FEED, deadline.remaining()))
                self._flush(deadline.remaining())
        except ssl.SSLCertVerificationError as error:
            self._flush_if_possible()
            raise ConnectError(
                f"{doing}: its certificate is not trusted: {error.verify_message}; check the host name, or pass the "
                "certificate authority with tls=ssl.create_default_context(cafile=...)"
            ) from error
        except (ssl.SSLError, ConnectionLost) as error:
            self._flush_if_possible()
            deadline.check(doing)
            raise ConnectError(f"{doing} failed: {reason_of(error)}; does this port speak TLS?") from error

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

    def _decrypt(self, size: int) -> bytes:
        """Return up to ``size`` decrypted bytes; none if more input is needed."""
        if self._end is not None:
            raise self._end
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
            self._note_end(ConnectionLost(f"TLS with {self.address} broke while reading: {reason_of(error)}"), error)
        if self._end is not None and not parts:
            raise self._end
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


def open_tls(inner: SocketTransport, context: ssl.SSLContext, name: str | None, deadline: Deadline) -> TlsTransport:
    """Start TLS on an open socket, which is closed if that fails; warn if the certificate is not verified."""
    try:
        transport = TlsTransport(inner, context, name)
        transport.handshake(deadline)
    except TimedOut as error:
        inner.close()
        raise ConnectError(
            f"the TLS handshake with {inner.address} took too long; does this port speak TLS?"
        ) from error
    except BaseException:
        inner.close()
        raise
    if context.verify_mode is ssl.CERT_NONE:
        log.warning(
            "%s: the certificate is NOT verified: anyone in between can read and change all data", inner.address
        )
    return transport
