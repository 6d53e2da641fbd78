"""``cnx chiller``: what it prints, asks, refuses, records and draws."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure

from cnx.cli.chiller.output import flag_names
from cnx.cli.chiller.plot import alarm_spans
from cnx.cli.chiller.recording import COLUMNS
from cnx.cli.chiller.watch import sparkline
from cnx.cli.commands import cnx
from cnx.clients.chiller import Alarms, ControlState, Warnings
from cnx.clients.chiller.simulator import ChillerSimulator
from tests.helpers.chiller_bench import Clock
from tests.helpers.commands import Running, running


@pytest.fixture
def simulator() -> Iterator[ChillerSimulator]:
    """A running simulator of units 1 and 5, whose time stands still."""
    with ChillerSimulator((1, 5), clock=Clock()) as running:
        running.listen_tcp()
        yield running


@pytest.fixture(scope="module")
def fonts() -> None:
    """Have matplotlib's fonts open, which it keeps for the life of the process."""
    figure = Figure()
    figure.text(0, 0, "text")
    figure.savefig(io.BytesIO())


def run(simulator: ChillerSimulator, *arguments: str, answer: str | None = None) -> Result:
    """Run ``cnx chiller`` against the simulator."""
    return CliRunner().invoke(cnx, ["chiller", *arguments, "--url", simulator.urls[0]], input=answer)


def printed(simulator: ChillerSimulator, *arguments: str) -> Any:
    """Return what a command prints as JSON."""
    result = run(simulator, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_status(simulator: ChillerSimulator) -> None:
    """The status is a table for people and JSON for programs."""
    simulator.units[5].plant.supply = 12.3
    result = run(simulator, "status", "--id", "05")
    assert result.exit_code == 0
    assert "supply temperature   12.3 °C" in result.stdout
    found = printed(simulator, "status", "--id", "05")
    assert found["state"] == "standby"
    assert found["telemetry"]["supply_temperature"] == 12.3
    assert found["telemetry"]["drive"] == {"level": 0, "mode": "cool"}


def test_settings(simulator: ChillerSimulator) -> None:
    """Set point, start and stop reach the unit and show what it says then; a minus sign is no option."""
    assert printed(simulator, "set-temperature", "-3.25") == {"setpoint": -3.3}
    assert printed(simulator, "start")["state"] == "run"
    assert simulator.units[1].state is ControlState.RUN
    assert printed(simulator, "stop")["state"] == "standby"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["set-temperature", "80"], 1, "17sCtrlT__+0800 was answered with #01173sCtrlT__39"),
        (["set-temperature", "nan"], 2, "finite"),
        (["status", "--id", "33"], 2, "1 to 32"),
        (["command", "14reserved"], 2, "number 14 is not in use"),
        (["command", "WatchDog"], 2, "2 digits, 8 characters"),
        (["watch", "--interval", "0"], 2, "range"),
    ],
)
def test_errors(simulator: ChillerSimulator, arguments: list[str], code: int, message: str) -> None:
    """What goes wrong is one line, and the exit code tells a wrong call from a refusal."""
    result = run(simulator, *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_nobody_there() -> None:
    """An address where nobody listens, or that is none, is one line."""
    result = CliRunner().invoke(cnx, ["chiller", "status", "--url", "tcp://127.0.0.1:1"])
    assert (result.exit_code, "cannot connect" in result.stderr) == (1, True)
    result = CliRunner().invoke(cnx, ["chiller", "status", "--url", "http://127.0.0.1"])
    assert (result.exit_code, "scheme" in result.stderr) == (2, True)


def test_alarms(simulator: ChillerSimulator) -> None:
    """Alarms are shown without a side effect; resetting them asks first and stops the unit."""
    unit = simulator.units[1]
    unit.start()
    unit.supervision.alarms = Alarms.LOW_COOLANT_LEVEL
    found = printed(simulator, "alarms")
    assert (found["alarm"], "alarms" in found) == (True, False)
    assert run(simulator, "alarms", "--reset", answer="n\n").exit_code == 1
    assert unit.supervision.alarms == Alarms.LOW_COOLANT_LEVEL
    assert printed(simulator, "alarms", "--reset", "--yes")["alarms"] == ["LOW_COOLANT_LEVEL"]
    assert (unit.supervision.alarms, unit.state) == (Alarms(0), ControlState.STANDBY)


def test_command(simulator: ChillerSimulator) -> None:
    """A command as it is on the line is sent, and both frames and the value are shown."""
    found = printed(simulator, "command", "04rSupplyT")
    assert found == {"sent": ".0104rSupplyT46", "received": "#01040rSupplyT+021059", "value": 21.0}


@pytest.mark.parametrize("text", ["18rAlrmLv1", "59sDUsrEEPU"])
def test_dangerous_commands_ask(simulator: ChillerSimulator, text: str) -> None:
    """What cannot be undone is not sent before somebody says yes."""
    unit = simulator.units[1]
    unit.supervision.alarms, unit.thresholds[21] = Alarms.FAN_FAILURE, 30.0
    assert run(simulator, "command", text, answer="n\n").exit_code == 1
    assert (unit.supervision.alarms, unit.thresholds[21]) == (Alarms.FAN_FAILURE, 30.0)
    assert run(simulator, "command", text, answer="y\n").exit_code == 0
    assert (unit.supervision.alarms, unit.thresholds[21]) != (Alarms.FAN_FAILURE, 30.0)


def watching(url: str) -> AbstractContextManager[Running]:
    """Run ``cnx chiller watch`` in a process of its own."""
    return running("chiller", "watch", "--interval", "0.01", "--url", url)


def test_watch_into_a_closed_pipe(simulator: ChillerSimulator) -> None:
    """When nobody reads any more, as after ``| head -1``, watching ends without a word."""
    with watching(simulator.urls[0]) as command:
        assert "state standby" in command.line()
        command.output.close()
        assert command.wait() == (0, "")


def test_watch_where_nobody_is() -> None:
    """Why there is no link is news, too; an interrupt ends the waiting."""
    with watching("tcp://127.0.0.1:1") as command:
        assert "no answer: cannot connect to 127.0.0.1:1" in command.line()
        assert command.stop()[0] == 0


def test_full_disk(simulator: ChillerSimulator) -> None:
    """A recording that cannot be written ends watching with one line."""
    result = run(simulator, "watch", "--interval", "0.01", "--record", "/dev/full")
    assert (result.exit_code, "No space left" in result.stderr) == (1, True)


def test_watch_in_lines(simulator: ChillerSimulator) -> None:
    """Without a terminal each news is one line."""
    result = run(simulator, "watch", "--interval", "0.01", "--rounds", "2")
    assert result.exit_code == 0
    lines = [line.partition(" ")[2] for line in result.stdout.splitlines()]
    assert lines[0] == "state standby, pump no, alarm no, warning no"
    assert lines[1] == "supply 21.0, set point 20.0, ambient 22.0, flow 0.0, drive 0"


def test_watch_in_json(simulator: ChillerSimulator) -> None:
    """Each news is one JSON object."""
    result = run(simulator, "watch", "--interval", "0.01", "--rounds", "1", "--json")
    news = [json.loads(line) for line in result.stdout.splitlines()]
    assert [item["signal"] for item in news[:2]] == ["status-changed", "telemetry"]
    assert news[1]["telemetry"]["supply_temperature"] == 21.0


def test_watch_on_a_terminal(simulator: ChillerSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there is a table with a sparkline."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    simulator.units[1].supervision.alarms = Alarms.LOW_COOLANT_LEVEL
    result = run(simulator, "watch", "--interval", "0.01", "--rounds", "3")
    assert result.exit_code == 0
    assert "LOW_COOLANT_LEVEL" in result.stdout
    assert "21 to 21 °C" in result.stdout


@pytest.mark.usefixtures("fonts")
def test_record_and_plot(simulator: ChillerSimulator, tmp_path: Path) -> None:
    """A recording has a row for each round and each change, and a picture is drawn from it."""
    recording, picture = tmp_path / "night.csv", tmp_path / "night.png"
    simulator.units[1].supervision.alarms = Alarms.LOW_COOLANT_LEVEL
    result = run(simulator, "watch", "--interval", "0.01", "--rounds", "3", "--record", str(recording))
    assert result.exit_code == 0
    with recording.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert any(row["alarms"] == "LOW_COOLANT_LEVEL" for row in rows)
    assert [row["supply_temperature"] for row in rows if row["supply_temperature"]] == ["21.0"] * 3
    result = CliRunner().invoke(cnx, ["chiller", "plot", str(recording), "-o", str(picture)])
    assert (result.exit_code, result.output.strip()) == (0, str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("text", "message"), [("a,b\n1,2\n", "no column"), (",".join(COLUMNS), "empty")])
def test_no_recording(tmp_path: Path, text: str, message: str) -> None:
    """A file that is no recording is refused with one line."""
    path = tmp_path / "file.csv"
    path.write_text(text)
    result = CliRunner().invoke(cnx, ["chiller", "plot", str(path), "-o", str(tmp_path / "file.png")])
    assert result.exit_code == 1
    assert message in result.stderr


def test_unknown_kind_of_picture(simulator: ChillerSimulator, tmp_path: Path) -> None:
    """An ending that is no kind of picture is refused with one line."""
    recording = tmp_path / "night.csv"
    run(simulator, "watch", "--interval", "0.01", "--rounds", "1", "--record", str(recording))
    result = CliRunner().invoke(cnx, ["chiller", "plot", str(recording), "-o", str(tmp_path / "night.xyz")])
    assert (result.exit_code, "xyz" in result.stderr) == (1, True)


def test_alarm_spans() -> None:
    """An alarm lasts from its first row to the first without it, or to the end."""
    flags = [("0", ""), ("1", ""), ("1", "FAN_FAILURE"), ("0", ""), ("1", ""), ("1", "")]
    rows = [
        {"time": f"2026-01-01T00:00:0{second}+00:00", "alarm": flag, "alarms": names}
        for second, (flag, names) in enumerate(flags)
    ]
    spans = [(begin.second, end.second, names) for begin, end, names in alarm_spans(rows)]
    assert spans == [(1, 3, "FAN_FAILURE"), (4, 5, "")]


def test_sparkline() -> None:
    """Bars go from the lowest to the highest value; one value alone is no slope."""
    assert sparkline(deque([1.0, 2.0, 3.0])) == "▁▅█  1 to 3 °C"
    assert sparkline(deque([2.0])) == "▁  2 to 2 °C"
    assert sparkline(deque()) == "-"


def test_names_of_reserved_bits() -> None:
    """A reserved bit is shown by its value."""
    assert flag_names(Warnings(0x104)) == ["FELL_BACK_TO_SUPPLY_SENSOR", "0x100"]
