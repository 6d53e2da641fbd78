"""Nothing that a peer or a device says reaches the terminal raw, nor a spreadsheet as a formula."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from cnx.cli.commands import cnx
from cnx.clients.smartbus import BusServer, SmartBusClient
from cnx.simulation import Session, Simulator
from tests.helpers.floods import Flood

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nFAKE line\u202e\x7f"
SHOWN = r"\u001b]0;owned\u0007\u001b[2J\u009b31m\r\nFAKE line\u202e\u007f"


def shown(*arguments: object) -> list[str]:
    """Return the lines that a command prints, after a check that nothing in them acts on a terminal."""
    result: Result = CliRunner().invoke(cnx, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert result.output.replace("\n", "").isprintable()
    lines = result.output.splitlines()
    assert not [line for line in lines if line.lstrip().startswith("FAKE")]
    return lines


@pytest.mark.parametrize("as_json", [False, True])
def test_m2_listen(as_json: bool) -> None:
    """Names, values and keys of events."""
    events: list[dict[str, Any]] = [{"id": EVIL, "x": [EVIL]}, {"id": "errorCode", EVIL: EVIL}]
    line = "".join(json.dumps(event, ensure_ascii=False) + "\r\n" for event in events)
    with Flood(line.encode()) as server:
        port = server.listen_tcp().rpartition(":")[2]
        lines = shown("m2", "listen", "--port", port, "--count", 2, *["--json"] * as_json)
    if as_json:
        assert [json.loads(line) for line in lines] == events
    else:
        assert lines[0].count(SHOWN) == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_smartbus_peers(as_json: bool) -> None:
    """What another client says of itself."""
    with BusServer() as server:
        host, port = server.listen_tcp().removeprefix("tcp://").split(":")
        other = SmartBusClient(host, int(port), unit_id=21, client_id=1, client_type=9, info=EVIL)
        with other:
            lines = shown("smartbus", "peers", "--url", f"smartbus://{host}:{port}/?unit=22", *["--json"] * as_json)
    if as_json:
        assert json.loads(lines[0])["info"] == EVIL
    else:
        assert SHOWN in lines[0]


@pytest.mark.parametrize("as_json", [False, True])
def test_ports(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the descriptors of a device that is plugged in say."""
    port = ListPortInfo("/dev/ttyUSB0", skip_link_detection=True)
    port.description, port.hwid = EVIL, f"USB {EVIL}"
    monkeypatch.setattr(list_ports, "comports", lambda: [port])
    lines = shown("ports", *["--json"] * as_json)
    if as_json:
        assert json.loads(lines[0])["description"] == EVIL
    else:
        assert lines[0].count(SHOWN) == 2


def test_spreadsheet(tmp_path: Path) -> None:
    """Text is text in a recording of telemetry, whatever it begins with; there are no further rows."""
    record = {"id": "zenithAngle", "measured": "=cmd|'/C calc'!A0", "inclinometerRaw": "\n=1+1"}
    path = tmp_path / "telemetry.csv"
    with Flood(json.dumps(record).encode() + b"\r\n") as server:
        port = server.listen_tcp().rpartition(":")[2]
        shown("m2", "telemetry", "zenithAngle", "--port", port, "--count", 2, "--record", path)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3
    assert rows[1][1:3] == ["'=cmd|'/C calc'!A0", r"\n=1+1"]


class Leaving(Simulator):
    """Says something and leaves."""

    def serve(self, session: Session) -> None:
        """Say it."""
        session.write(EVIL.encode())


def test_log_of_monitor(tmp_path: Path) -> None:
    """It has the same lines, and only its owner can read it."""
    path = tmp_path / "log.txt"
    with Leaving("leaving") as server:
        lines = shown("monitor", server.listen_tcp(), "--once", "--log", path)
    assert path.read_text().splitlines() == lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
