"""The published package ``tecoroute`` in the workloads of the benchmark; runs in an interpreter that has it.

Called with a workload and the port of the service; prints seconds, and seconds of processor time, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tecoroute.connector import Connector

MESSAGE = bytes.fromhex("020102000011680b0b68007d6308190a110e1e2d057a1600")


async def burst(connector: Any, count: int) -> None:
    """Send all messages at once and receive all answers."""
    for _ in range(count):
        await connector.send(MESSAGE)
    for _ in range(count):
        await connector.receive()


async def one_by_one(connector: Any, count: int) -> None:
    """Send a message when the answer to the last one is there."""
    for _ in range(count):
        await connector.send(MESSAGE)
        await connector.receive()


async def window(connector: Any, count: int) -> None:
    """Keep 64 messages on their way."""
    for _ in range(64):
        await connector.send(MESSAGE)
    for _ in range(count - 64):
        await connector.receive()
        await connector.send(MESSAGE)
    for _ in range(64):
        await connector.receive()


WORKLOADS: dict[str, Callable[[Any, int], Awaitable[None]]] = {
    "burst": burst,
    "one-by-one": one_by_one,
    "window": window,
}


async def measure(workload: str, port: int, count: int) -> tuple[float, float]:
    """Return seconds and processor seconds of a workload."""
    connector = Connector("BroukPytlik", "ferda1", "AB_1234", tecoroute_host="127.0.0.1", tecoroute_port=port)
    running = asyncio.ensure_future(connector.run())
    await asyncio.sleep(0)
    await one_by_one(connector, 3)
    begin, busy = time.perf_counter(), time.process_time()
    await WORKLOADS[workload](connector, count)
    result = time.perf_counter() - begin, time.process_time() - busy
    connector.close()
    await asyncio.wait([running])
    return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
