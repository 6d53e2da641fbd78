"""Other libraries, and a reader thread written by hand, doing the work of the cases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

import serial
from serial.threaded import LineReader, ReaderThread

from tests.benchmarks.measuring import Countdown, bare_socket

__all__ = ["HandOver", "Lines", "read_str", "reader_thread", "streams", "websocket"]

Streams = tuple[asyncio.AbstractEventLoop, asyncio.StreamReader, asyncio.StreamWriter]


@contextmanager
def streams(port: int) -> Iterator[Streams]:
    """Yield an event loop and connected asyncio streams."""
    loop = asyncio.new_event_loop()
    with bare_socket(port) as sock:
        reader, writer = loop.run_until_complete(asyncio.open_connection(sock=sock))
        try:
            yield loop, reader, writer
        finally:
            writer.close()
            loop.run_until_complete(writer.wait_closed())
            loop.close()


async def read_str(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Read like lsst.ts.tcpip: check, read up to the terminator, strip it, decode."""
    if reader.at_eof() or writer.is_closing():
        raise ConnectionError("not connected")
    data = await reader.readuntil(b"\r\n")
    return data[:-2].decode("utf-8")


@contextmanager
def websocket(port: int) -> Iterator[Any]:
    """Yield a connection of ``websockets.sync`` without compression and keepalive."""
    from websockets.sync.client import connect

    url = f"ws://127.0.0.1:{port}"
    with (
        bare_socket(port) as sock,
        connect(url, sock=sock, compression=None, ping_interval=None, close_timeout=1.0) as link,
    ):
        yield link


class Lines(LineReader):
    """Counts the lines that a ``serial.threaded.ReaderThread`` receives."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Countdown()

    def handle_line(self, line: str) -> None:
        self.counter.message(line)

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        assert self.transport is not None
        self.transport.write(data)


@contextmanager
def reader_thread(port: int) -> Iterator[Lines]:
    """Yield the protocol of a ``serial.threaded.ReaderThread`` on pyserial's ``socket://``."""
    url = serial.serial_for_url(f"socket://127.0.0.1:{port}", timeout=1)
    with ReaderThread(url, Lines) as protocol:
        yield protocol


class HandOver:
    """Request and reply as in many programs: a thread reads and passes replies to the caller with a condition."""

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        self._changed = threading.Condition()
        self._replies: list[bytes] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := self._socket.recv(65536):
            with self._changed:
                self._replies.append(data)
                self._changed.notify()

    def request(self, data: bytes) -> bytes:
        """Send ``data`` and wait for the reply."""
        self._socket.sendall(data)
        with self._changed:
            while not self._replies:
                self._changed.wait()
            return self._replies.pop()
