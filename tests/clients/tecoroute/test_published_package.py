"""The published package ``tecoroute`` as a real client of the simulated service.

It is in the ``[bench]`` extra. As it may need an old tornado, it can also live in a virtual environment of its own,
whose interpreter the environment variable ``CNX_TECOROUTE_PYTHON`` names.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cnx.clients.tecoroute import TecorouteSimulator
from tests.helpers.processes import PROCESS_PATIENCE
from tests.helpers.tecoroute_service import wait_for_data

PYTHON = os.environ.get("CNX_TECOROUTE_PYTHON", sys.executable)
SCRIPT = Path(__file__).parents[2] / "helpers" / "tecoroute_published.py"


@functools.cache
def is_there() -> bool:
    """Whether the interpreter has the package."""
    return (
        subprocess.run([PYTHON, "-c", "import tecoroute.connector"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(autouse=True)
def _package() -> None:
    if not is_there():
        pytest.skip(f"{PYTHON} has no package tecoroute; pip install '.[bench]', or set CNX_TECOROUTE_PYTHON")


def outcome(scenario: str, simulator: TecorouteSimulator) -> Any:
    """Return what comes of a scenario with this service."""
    port = urlsplit(simulator.listen_tcp()).port
    with simulator:
        command = [PYTHON, str(SCRIPT), scenario, str(port)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=PROCESS_PATIENCE, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_thousand_messages_both_ways() -> None:
    """It logs in, and each of a thousand messages comes back."""
    assert outcome("exchange", TecorouteSimulator()) is True


def test_keepalive() -> None:
    """Its keepalives are understood; it gets the answers of the PLC behind them."""
    simulator = TecorouteSimulator(keepalive="none")
    assert outcome("keep-alive", simulator) == "hello"
    data = wait_for_data(simulator, 3)
    assert data[:2] == [b"", b""]
    assert data[-1] == b"hello"


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("wrong-user", ["ConnectorUserError", "ERR_USER"]),
        ("wrong-password", ["ConnectorUserError", "ERR_PASSWORD"]),
        ("wrong-plc", ["ConnectorPlcError", "ERR_PLC"]),
    ],
)
def test_refusals(scenario: str, error: list[str]) -> None:
    """It understands that it is refused, and why."""
    assert outcome(scenario, TecorouteSimulator()) == error


def test_udp_port() -> None:
    """Its own UDP port works with the simulated service, too."""
    assert outcome("udp", TecorouteSimulator()) == "hello"
