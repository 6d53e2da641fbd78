"""What the published package ``tecoroute`` does with a service; runs in an interpreter that has it.

Called with the name of a scenario and the port of the service; prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tecoroute import connector as published

ACCOUNT = {"username": "BroukPytlik", "password": "ferda1", "plc": "AB_1234", "tecoroute_host": "127.0.0.1"}


async def run_beside(connector: Any, talk: Callable[[], Awaitable[Any]]) -> Any:
    """Run a connector while ``talk`` talks to it; return its result."""
    running = asyncio.ensure_future(connector.run())
    talking = asyncio.ensure_future(talk())
    await asyncio.wait([running, talking], return_when=asyncio.FIRST_COMPLETED)
    if not talking.done():
        talking.cancel()
        await running  # raises
    connector.close()
    await asyncio.wait([running])
    return talking.result()


async def exchange(port: int) -> bool:
    """Send a thousand messages and receive as many."""
    connector = published.Connector(**ACCOUNT, tecoroute_port=port)

    async def talk() -> bool:
        sent = [b"message %d" % number for number in range(1000)]
        for message in sent:
            await connector.send(message)
        return [await connector.receive() for _ in sent] == sent

    return await run_beside(connector, talk)


async def keep_alive(port: int) -> str:
    """Stay idle for three keepalives, made to come sooner, then exchange a message."""
    wait_for = published.wait_for
    published.wait_for = lambda awaitable, seconds: wait_for(awaitable, seconds / 100)
    connector = published.Connector(**ACCOUNT, tecoroute_port=port)

    async def talk() -> str:
        await asyncio.sleep(0.35)
        await connector.send(b"hello")
        return (await connector.receive()).decode()

    return await run_beside(connector, talk)


async def refused(port: int, **changes: str) -> list[str]:
    """Be refused; return the error and its code."""
    connector = published.Connector(**{**ACCOUNT, **changes}, tecoroute_port=port)
    try:
        await connector.run()
    except published.ConnectorError as error:
        return [type(error).__name__, error.error_code]
    return []


async def udp(port: int) -> str:
    """Exchange a datagram through the package's own UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    connector = published.UdpConnector("127.0.0.1", number, **ACCOUNT, tecoroute_port=port)

    async def talk() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", number))
            for _ in range(100):
                try:
                    sock.send(b"hello")
                    return sock.recv(100).decode()
                except OSError:  # the port is not open yet, or the answer is not there
                    await asyncio.sleep(0.05)
        return ""

    return await run_beside(connector, talk)


SCENARIOS = {
    "exchange": exchange,
    "keep-alive": keep_alive,
    "wrong-user": lambda port: refused(port, username="nobody"),
    "wrong-password": lambda port: refused(port, password="x"),
    "wrong-plc": lambda port: refused(port, plc="XY_0000"),
    "udp": udp,
}

if __name__ == "__main__":
    logging.disable()
    print(json.dumps(asyncio.run(SCENARIOS[sys.argv[1]](int(sys.argv[2])))))
