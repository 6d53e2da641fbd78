"""The other side of the benchmarks: plain blocking sockets, big writes, prebuilt buffers."""

from __future__ import annotations

import itertools
import socket
import sys
import threading
import time

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


def hold(connection: socket.socket, payload: bytes) -> None:
    """Say nothing until the client goes."""
    connection.recv(1)
    connection.close()


def tick(count: int) -> None:
    """Send 100 bytes a second to each of ``count`` clients, spread over the second."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    clients = [listener.accept()[0] for _ in range(count)]
    began = time.monotonic()
    for number in itertools.count():
        time.sleep(max(0.0, began + number / count - time.monotonic()))
        clients[number % count].send(b"t" * 100)


def websocket() -> None:
    """Echo messages of websockets."""
    from websockets.sync.server import serve as listen

    with listen(lambda link: [link.send(message) for message in link], "127.0.0.1", 0) as listening:
        print(listening.socket.getsockname()[1], flush=True)
        listening.serve_forever()


def modbus(connection: socket.socket, payload: bytes) -> None:
    """Answer Modbus requests for 20 holding registers (function 3), with 49 bytes as the echo has 50."""
    while request := connection.recv(260):
        connection.sendall(request[:4] + (43).to_bytes(2, "big") + request[6:7] + b"\x03\x28" + bytes(40))


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
    elif mode == "websocket":
        websocket()
    elif mode == "modbus":
        serve(modbus, b"")
    elif mode == "silent":
        serve(hold, b"")
    elif mode == "ticks":
        tick(int(sys.argv[3]))
    else:
        serve(blast, PAYLOADS[mode])
