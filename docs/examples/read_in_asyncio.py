"""Read on a thread of asyncio, and end that thread, which cancelling its task does not."""

from __future__ import annotations

import asyncio
import socket

from cnx import NotConnected, SocketConnection

near, far = socket.socketpair()
connection = SocketConnection.from_socket(near).connect()
far.sendall(b"hello\n")


def read() -> None:
    """Print lines until the link ends."""
    try:
        while line := connection.readline():
            print(line)
    except NotConnected:
        print("the thread ends")


async def main() -> None:
    """Read for a while."""
    try:
        await asyncio.wait_for(asyncio.to_thread(read), timeout=0.5)
    except asyncio.TimeoutError:
        print("time is up")
    finally:
        connection.disconnect()


asyncio.run(main())
far.close()
