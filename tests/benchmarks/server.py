"""The other side of the benchmarks: plain blocking sockets, big writes, prebuilt buffers."""

from __future__ import annotations

import socket
import sys
import threading

from tests.benchmarks.harness import pin


def blast(connection: socket.socket, payload: bytes) -> None:
    """Send ``payload`` as often as the client asks for with each byte that it sends."""
    while request := connection.recv(8):
        for _ in range(int.from_bytes(request, "big")):
            connection.sendall(payload)


def echo(connection: socket.socket, payload: bytes) -> None:
    """Answer every message of the size of ``payload`` with ``payload``."""
    size = len(payload)
    while True:
        left = size
        while left:
            data = connection.recv(left)
            if not data:
                return
            left -= len(data)
        connection.sendall(payload)


def serve(handle: object, payload: bytes) -> None:
    """Accept for ever; a thread for each client."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=handle, args=(connection, payload), daemon=True).start()  # type: ignore[arg-type]


LINE = b"x" * 98 + b"\r\n"
JSON = b'{"id":"position","x":1.25,"y":-3.5,"z":0.0,"rx":12.5,"ry":-7.25,"rz":0.125,"seq":123456,"ok":true}\r\n'
PAYLOADS = {"bulk": b"\0" * (1 << 20), "lines": LINE * 10_000, "json": JSON * 10_000}

if __name__ == "__main__":
    mode, core = sys.argv[1], int(sys.argv[2])
    pin(core)
    if mode == "echo":
        serve(echo, b"e" * 48 + b"\r\n")
    else:
        serve(blast, PAYLOADS[mode])
