"""The end of the program while threads of its own wait in reading calls."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.processes import PROCESS_PATIENCE

HEAD = """
import asyncio, atexit, socket, threading
from concurrent.futures import ThreadPoolExecutor
import cnx
near, far = socket.socketpair()
connection = cnx.SocketConnection.from_socket(near).connect()
waiting = threading.Event()

def read():
    waiting.set()
    try:
        while line := connection.readline():
            print(line.decode().strip(), flush=True)
    except cnx.CnxError as error:
        print(type(error).__name__, flush=True)
"""

ENDS = {
    "daemon": ("threading.Thread(target=read, daemon=True).start(); waiting.wait()", None),
    "disconnect": ("threading.Thread(target=read).start(); waiting.wait(); connection.disconnect()", "NotConnected"),
    "block": (
        """
with connection, ThreadPoolExecutor() as pool:
    pool.submit(read); waiting.wait(); connection.disconnect()
""",
        "NotConnected",
    ),
    "asyncio": (
        """
async def main():
    task = asyncio.create_task(asyncio.to_thread(read))
    while not waiting.is_set():
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    finally:
        connection.disconnect()
asyncio.run(main())
""",
        "NotConnected",
    ),
}


@pytest.mark.parametrize("way", ENDS)
def test_program_ends_if_its_readers_are_daemons_or_its_connections_are_disconnected(way: str) -> None:
    """The ways that the page on threads recommends."""
    code, printed = ENDS[way]
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if printed is not None:
        assert done.stdout.split() == [printed]


def test_thread_of_the_program_reads_on_when_the_main_thread_has_returned() -> None:
    """As any thread that is no daemon: Python waits for it, and so its link stays up until it has finished."""
    code = """
def send():
    threading.main_thread().join()
    far.sendall(b"after the main thread\\n")
    far.close()
threading.Thread(target=send).start()
threading.Thread(target=read).start()
"""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["after the main thread"]
