"""Wrong arguments: refused before anything is opened or sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from cnx.clients.smartbus import (
    Pulse,
    RegistrationRefused,
    SmartBusClient,
)
from cnx.clients.smartbus.protocol.codes import CmdType, Code
from cnx.errors import (
    NotConnected,
)
from cnx.testing import NewThreads
from tests.helpers.smartbus_peer import PATIENCE, Listening
from tests.helpers.smartbus_scene import client_of

SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"unit_id": 15}, "unit id must be 16 to 47"),
        ({"unit_id": 48}, "unit id must be 16 to 47"),
        ({"client_id": 256}, "client id must be 0 to 255"),
        ({"client_id": -1}, "client id must be 0 to 255"),
        ({"client_type": 1}, "type must be 2 to 255"),
        ({"client_type": 0}, "type must be 2 to 255"),
        ({"user": "u" * 64}, "user has 64 bytes"),
        ({"password": "topsecret" * 15}, "password has 135 bytes"),
        ({"info": "i" * 256}, "info has 256 bytes"),
        ({"encoding": "klingon"}, "unknown encoding"),
        ({"port": 0}, "port must be"),
        ({"port": 65536}, "port must be"),
        ({"host": ""}, "host must be a name or an address"),
        ({"backup": ("backup", 0)}, "port must be"),
        ({"limit": 0}, "at least 1 byte"),
    ],
)
def test_bad_arguments(options: dict[str, Any], what: str) -> None:
    """Wrong arguments are refused before anything is opened; no message shows a password."""
    good: dict[str, Any] = {"host": "bus", "port": 8089, "unit_id": 20, "client_id": 1, "client_type": 9}
    with pytest.raises(ValueError, match=what) as caught:
        SmartBusClient(**{**good, **options})
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{"heartbeat": 0}, {"heartbeat": 20}, {"silence": float("inf")}, {"reconnect_delay": -1}]
)
def test_bad_pulse(values: dict[str, float]) -> None:
    """Times that cannot be are refused."""
    with pytest.raises(ValueError, match="heartbeat"):
        Pulse(**values)


SEND: list[tuple[Callable[[SmartBusClient], object], type[Exception], str]] = [
    (lambda c: c.send(256, 3, 20, 1, 9), ValueError, "command must be 0 to 255"),
    (lambda c: c.send(1, 0, 20, 1, 9), ValueError, "command type must be 1 to 255"),
    (lambda c: c.send(1, 256, 20, 1, 9), ValueError, "command type must be 1 to 255"),
    (lambda c: c.send(1, 3, 19, 1, 9), ValueError, "own unit"),
    (lambda c: c.send(1, 3, 48, 1, 9), ValueError, "0 to 47, or 255"),
    (lambda c: c.send(1, 3, 20, 300, 9), ValueError, "client id must be 0 to 255"),
    (lambda c: c.send(1, 3, 20, 1, -1), ValueError, "client type must be 0 to 255"),
    (lambda c: c.send(1, 3, 20, 1, 9, 5), TypeError, "data must be bytes or text"),  # type: ignore[arg-type]
    (lambda c: c.send(1, 3, 20, 1, 9, [1]), TypeError, "data must be bytes or text"),  # type: ignore[arg-type]
    (lambda c: c.send("1", 3, 20, 1, 9), TypeError, "command must be an int"),  # type: ignore[arg-type]
    (lambda c: c.ping(19, 1, 9), ValueError, "own unit"),
    (lambda c: c.ping(20, 1, 9, timeout=0), ValueError, "timeout must be above 0"),
    (lambda c: c.ping(20, 1, 9, timeout=float("nan")), ValueError, "timeout must be above 0"),
    (lambda c: c.ping(20, 1, 9, timeout="1"), TypeError, "number of seconds"),  # type: ignore[arg-type]
    (lambda c: c.invoke_flow(16, 0, "p", "f"), ValueError, "unit id must be 0 to 15"),
    (lambda c: c.invoke_flow(0, 256, "p", "f"), ValueError, "process index must be 0 to 255"),
    (lambda c: c.invoke_flow(0, 0, "p" * 32, "f"), ValueError, "project has 32 bytes"),
    (lambda c: c.invoke_flow(0, 0, "p", "f" * 32), ValueError, "flow has 32 bytes"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", "text"), TypeError, "list or tuple"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", [object()]), TypeError, "not JSON serializable"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", ["x" * 8000]), ValueError, "parameters has 8004 bytes"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", timeout=-1), ValueError, "timeout must be above 0"),
    (lambda c: c.notify(0, 0, "p", "", "text"), ValueError, "title has 0 bytes"),
    (lambda c: c.notify(0, 0, "p", "t", ""), ValueError, "text has 0 bytes"),
    (lambda c: c.notify(0, 0, "p", "t", "x" * 16000), ValueError, "text has 16000 bytes"),
    (lambda c: c.notify(16, 0, "p", "t", "x"), ValueError, "unit id must be 0 to 15"),
    (lambda c: c.notify(0, 0, "p", "t", "x", expires=3e6), ValueError, "2,000,000"),
]


@pytest.mark.parametrize(("call", "kind", "what"), SEND)
def test_bad_requests(call: Callable[[SmartBusClient], object], kind: type[Exception], what: str) -> None:
    """What cannot be sent is refused by its own error, also while there is no link."""
    with pytest.raises(kind, match=what):
        call(client_of(1))


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.send(1, 3, 20, 1, 9),
        lambda c: c.ping(20, 1, 9),
        lambda c: c.send_ping(20, 1, 9),
        lambda c: c.invoke_flow(0, 0, "p", "f"),
        lambda c: c.notify(0, 0, "p", "t", "x"),
    ],
)
def test_sending_while_not_registered(call: Callable[[SmartBusClient], object], new_threads: NewThreads) -> None:
    """Without a link there is an error at once, and nothing is kept for later."""
    client = client_of(1)
    with pytest.raises(NotConnected, match="not registered"):
        call(client)
    client.teardown()
    assert not new_threads("cnx calls")


def test_password_is_nowhere_to_be_seen(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """Neither representation, errors nor logs at any level show the password."""
    caplog.set_level(logging.DEBUG)
    with Listening() as listening:
        client = client_of(listening.port, user="ann", password="topsecret")
        connecting: Future[SmartBusClient] = pool.submit(client.connect)
        with listening.admit(Code.WRONG_PASSWORD), pytest.raises(RegistrationRefused) as caught:
            connecting.result(PATIENCE)
    for text in (repr(client), str(caught.value), caplog.text, str(client.last_error), repr(vars(client))):
        assert "topsecret" not in text
