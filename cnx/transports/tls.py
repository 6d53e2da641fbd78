"""TLS over a stream socket.

OpenSSL's connections are not safe against a read and a write at once. Here the engine works on memory only and is
held by a short lock, while the waiting happens on the socket outside of it; so reading, writing and shutting down
from different threads are as free as on the bare socket.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from cnx.deadline import Deadline
from cnx.errors import ConnectError, ConnectionLost, PeerClosed, TimedOut
from cnx.transports.sockets import SocketTransport
from cnx.transports.transport import CHUNK, Transport

__all__ = ["TlsTransport", "open_tls"]

T = TypeVar("T")


class TlsTransport(Transport):
    """An open stream socket with TLS.

    Args:
        inner: the open socket.
        context: what to verify and to present.
        server_hostname: the name that the certificate must have.
    """

    def __init__(self, inner: SocketTransport, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self.address = inner.address
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._lock = threading.RLock()  # guards the engine and its two memories
        self._flushing = threading.Lock()  # its holder sends: records leave in the order they were made

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
                while self._step(self._engine.do_handshake) is None:
                    self._flush(deadline.remaining())
                    deadline.check(doing)
                    self._feed(self._inner.read(CHUNK, deadline.remaining()))
                self._flush(deadline.remaining())
        except ssl.SSLCertVerificationError as error:
            raise ConnectError(
                f"{doing}: its certificate is not trusted: {error.verify_message}; check the host name, or give the "
                "certificate authority with tls=ssl.create_default_context(cafile=...)"
            ) from error
        except (ssl.SSLError, ConnectionLost) as error:
            deadline.check(doing)
            raise ConnectError(f"{doing} failed: {error}; does this port speak TLS?") from error

    def read(self, size: int, timeout: float | None) -> bytes:
        end = None if timeout is None else monotonic() + timeout
        while (data := self._decrypt(size)) is None:
            left = None if end is None else max(0.0, end - monotonic())
            self._feed(self._inner.read(CHUNK, left))
        return data

    def read_now(self, size: int) -> bytes | None:
        parts: list[bytes] = []
        room = size
        while room:
            try:
                data = self._decrypt(room)
                if data is None:
                    waiting = self._inner.read_now(CHUNK)
                    if waiting is None:
                        break
                    self._feed(waiting)
                    continue
            except ConnectionLost:
                if parts:
                    break  # the next call meets it again, after what came before
                raise
            parts.append(data)
            room -= len(data)
        return b"".join(parts) if parts else None

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        if not len(data):
            return 0
        try:
            with self._lock:
                written = self._engine.write(data)
        except ssl.SSLError as error:
            raise ConnectionLost(f"TLS with {self.address} broke while writing: {error}") from error
        return written if self._flush(timeout) else -1

    def shutdown(self) -> None:
        self._inner.shutdown()

    def close(self) -> None:
        self._inner.close()

    def _step(self, action: Callable[[], T]) -> T | bool | None:
        """Run the engine; return ``None`` where it needs more input."""
        with self._lock:
            try:
                return action() or True
            except ssl.SSLWantReadError:
                return None

    def _decrypt(self, size: int) -> bytes | None:
        try:
            with self._lock:
                data = self._engine.read(size)
        except ssl.SSLWantReadError:
            self._flush(0.0)  # an answer of the engine itself, such as to a key update
            return None
        except ssl.SSLZeroReturnError as error:
            raise PeerClosed(f"{self.address} closed the connection") from error
        except ssl.SSLEOFError as error:
            raise ConnectionLost(
                f"{self.address} closed the connection without ending TLS; data may be missing"
            ) from error
        except ssl.SSLError as error:
            raise ConnectionLost(f"TLS with {self.address} broke while reading: {error}") from error
        return data

    def _feed(self, data: bytes) -> None:
        with self._lock:
            self._incoming.write(data)

    def _flush(self, timeout: float | None) -> bool:
        """Send what the engine has to say; return whether all of it went out."""
        if not self._outgoing.pending or not self._flushing.acquire(timeout=-1 if timeout is None else timeout):
            return not self._outgoing.pending
        try:
            while True:
                with self._lock:
                    data = self._outgoing.read()
                if not data:
                    return True
                if self._inner.write(data, timeout) < len(data):
                    self._inner.shutdown()  # a record that is cut cannot be continued
                    return False
        finally:
            self._flushing.release()


def open_tls(inner: SocketTransport, context: ssl.SSLContext, name: str | None, deadline: Deadline) -> TlsTransport:
    """Start TLS on an open socket, which is closed if that fails."""
    try:
        transport = TlsTransport(inner, context, name)
        transport.handshake(deadline)
    except TimedOut as error:
        inner.close()
        raise ConnectError(
            f"TLS handshake with {inner.address} was not over in time; does this port speak TLS?"
        ) from error
    except BaseException:
        inner.close()
        raise
    return transport
