"""The other side of the benchmarks: plain blocking sockets, big writes, prebuilt buffers."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import socket
import sys
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.benchmarks.harness import CORE, pin

LINE = b"x" * 98 + b"\r\n"
JSON = b'{"id":"position","x":1.25,"y":-3.5,"z":0.0,"rx":12.5,"ry":-7.25,"rz":0.125,"seq":123456,"ok":true}\r\n'
REPLY = b"e" * 48 + b"\r\n"
MIB = b"\0" * (1 << 20)
FRAMES = {
    "websocket-bulk": (b"\x82\x7f" + (65536).to_bytes(8, "big") + bytes(65536)) * 16,
    "websocket-lines": (b"\x81\x64" + LINE) * 1000,
}
"""RFC 6455, section 5.2: messages of 64 KiB, and of 100 bytes, as a server sends them."""


def blast(connection: socket.socket, piece: bytes) -> None:
    """Send as many pieces as each message asks for, ten at a time."""
    ten = piece * 10 if len(piece) < len(MIB) else piece
    while request := connection.recv(8):
        tens, rest = divmod(int.from_bytes(request, "big") * len(piece), len(ten))
        for _ in range(tens):
            connection.sendall(ten)
        connection.sendall(memoryview(ten)[:rest])


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Return ``size`` bytes, or fewer at the end."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def echo(connection: socket.socket, payload: bytes) -> None:
    """Answer every message of the size of ``payload`` with ``payload``."""
    size = len(payload)
    while len(receive_exactly(connection, size)) == size:
        connection.sendall(payload)


def websocket(connection: socket.socket, frames: bytes) -> None:
    """Shake hands as in RFC 6455, section 4.2.2; then answer messages of 8 or 50 bytes."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    key = re.search(rb"(?im)^sec-websocket-key: *(\S+)", head)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    while (frame := receive_exactly(connection, 6)) and frame[0] & 15 < 8:  # 8: the client closes
        mask, size = frame[2:], frame[1] & 127
        data = bytes(byte ^ mask[number & 3] for number, byte in enumerate(receive_exactly(connection, size)))
        if not frames:
            connection.sendall(b"\x82\x32" + REPLY)
        else:
            for _ in range(int.from_bytes(data, "big")):
                connection.sendall(frames)
    connection.sendall(b"\x88\x00")
    connection.close()


def hold() -> None:
    """Accept forever and send nothing; only the latest clients are kept."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    clients = deque[socket.socket](maxlen=2000)
    while True:
        clients.append(listener.accept()[0])


TENTHS = 10
"""Turns in which each client of a crowd gets one message."""


def tick(count: int) -> None:
    """Send a line to the next tenth of ``count`` clients within 0.1 s, whenever the control client asks."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    clients = [listener.accept()[0] for _ in range(count)]
    control = listener.accept()[0]
    turn = itertools.cycle(clients)
    while control.recv(1):
        began = time.monotonic()
        for number, client in enumerate(itertools.islice(turn, count // TENTHS)):
            time.sleep(max(0.0, began + number / count - time.monotonic()))
            client.send(LINE)
        control.send(b"x")


def modbus(connection: socket.socket, payload: bytes) -> None:
    """Answer Modbus requests for 20 holding registers (function 3) with 49 bytes, about as many as the echo sends."""
    while request := connection.recv(260):
        connection.sendall(request[:4] + (43).to_bytes(2, "big") + request[6:7] + b"\x03\x28" + bytes(40))


def terminals(count: int, handle: Callable[[int], None]) -> None:
    """Open ``count`` pseudo-terminals, print their names, and serve each with a thread."""
    names = []
    for _ in range(count):
        master, slave = os.openpty()
        tty.setraw(slave)
        names.append(os.ttyname(slave))  # both sides stay open, so that clients may come and go
        threading.Thread(target=handle, args=(master,), daemon=True).start()
    print(" ".join(names), flush=True)
    threading.Event().wait()


def feed_terminal(master: int) -> None:
    """Write as many thousands of lines as each message asks for."""
    while True:
        block = memoryview(LINE * 1000 * int.from_bytes(os.read(master, 8), "big"))
        while block:
            block = block[os.write(master, block) :]


def echo_terminal(master: int) -> None:
    """Answer every 50 bytes with 50 bytes."""
    while True:
        size = 0
        while size < 50:
            size += len(os.read(master, 50 - size))
        os.write(master, REPLY)


def serve(handle: Callable[[socket.socket, bytes], None], payload: bytes) -> None:
    """Accept forever; each client gets a thread."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=handle, args=(connection, payload), daemon=True).start()


MODES: dict[str, Callable[..., None]] = {
    "bulk": partial(serve, blast, MIB),
    "lines": partial(serve, blast, LINE * 1000),
    "json": partial(serve, blast, JSON * 1000),
    "echo": partial(serve, echo, REPLY),
    "silent": hold,
    "modbus": partial(serve, modbus, b""),
    "websocket-echo": partial(serve, websocket, b""),
    "websocket-bulk": partial(serve, websocket, FRAMES["websocket-bulk"]),
    "websocket-lines": partial(serve, websocket, FRAMES["websocket-lines"]),
    "ticks": tick,
    "terminal-lines": partial(terminals, handle=feed_terminal),
    "terminal-echo": partial(terminals, handle=echo_terminal),
}

assert len(LINE) == 100

if __name__ == "__main__":
    pin(int(sys.argv[2]))
    if int(sys.argv[2]) != CORE:
        with suppress(OSError):  # only root may
            os.nice(-15)  # nobody keeps the other core free for this
    MODES[sys.argv[1]](*map(int, sys.argv[3:]))
