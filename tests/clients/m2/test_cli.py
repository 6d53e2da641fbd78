"""``cnx m2`` and ``cnx simulate m2``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from cnx.cli.commands import cnx
from cnx.clients.m2 import M2Client
from cnx.clients.m2.simulator import M2Simulator
from tests.helpers.commands import running

Run = Callable[..., Result]


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Return the ports of a simulator that runs."""
    simulator = M2Simulator(telemetry_period=0.01, greets_all=True)
    ports = simulator.listen_ports(command_port=0, telemetry_port=0)
    with simulator:
        yield ports


def run(*arguments: object) -> Result:
    """Run a command of ``cnx m2``."""
    return CliRunner().invoke(cnx, ["m2", *map(str, arguments)])


def plot(*arguments: object) -> str:
    """Return what ``cnx m2 plot`` prints, run by itself: matplotlib keeps its fonts open."""
    command = [sys.executable, "-m", "cnx.cli.main", "m2", "plot", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_command(ports: tuple[int, int]) -> None:
    """A command prints its events and its result; members can be named."""
    result = run("command", "power", "powerType=communication", "status=true", "--port", ports[0])
    assert result.exit_code == 0, result.output
    assert "powerSystemState powerType=2 status=true state=5" in result.output
    assert result.output.endswith("power: success\n")
    as_json = json.loads(
        run("command", "getInnerLoopControlMode", "addresses=[83]", "--json", "--port", ports[0]).output
    )
    assert as_json["status"] == "success"
    assert as_json["events"] == [{"id": "innerLoopControlMode", "address": 83, "mode": 1}]


def test_a_command_that_fails(ports: tuple[int, int]) -> None:
    """A command that the controller refuses to do ends with exit code 1."""
    result = run("command", "resetBreakers", "powerType=1", "--port", ports[0])
    assert result.exit_code == 1
    assert "resetBreakers: fail" in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nope"], "clearErrors"),
        (["power", "powerType=1"], "needs status"),
        (["power", "powerType=FOO", "status=true"], "as JSON"),
        (["power", "powerType"], "KEY=VALUE"),
        (["power", "powerType=9", "status=true"], "1 MOTOR, 2 COMMUNICATION"),
        (["clearErrors", "a=1"], "no parameter a"),
    ],
)
def test_wrong_commands(arguments: list[str], text: str) -> None:
    """Wrong names and values are reported before anything is opened, with exit code 2."""
    result = run("command", *arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_commands() -> None:
    """The list of commands has parameters, units and ranges."""
    output = run("commands").output
    assert "    z: a number (-7890 to 7890 um)\n    xRot: a number (in arcsec)\n" in output
    assert "    intake (optional): 2 x a number (in degC)\n" in output


def test_listen(ports: tuple[int, int]) -> None:
    """Events are shown as lines for people, or as they came."""
    lines = run("listen", "--count", 2, "--port", ports[0]).output.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "tcpIpConnected isConnected=true",
        "commandableByDDS state=true",
    ]
    first = run("listen", "--count", 1, "--json", "--port", ports[0]).output
    assert json.loads(first) == {"id": "tcpIpConnected", "isConnected": True}


def test_telemetry(ports: tuple[int, int]) -> None:
    """Telemetry can be limited to some topics."""
    result = run("telemetry", "powerStatus", "--count", 3, "--json", "--port", ports[1])
    assert [json.loads(line)["id"] for line in result.output.splitlines()] == ["powerStatus"] * 3
    assert run("telemetry", "powerstatus").exit_code == 2


def test_record_and_plot(ports: tuple[int, int], tmp_path: Path) -> None:
    """A recording has one row a round, and its columns can be drawn."""
    path = tmp_path / "power.csv"
    topics = ["powerStatus", "displacementSensors"]
    result = run("telemetry", *topics, "--count", 10, "--record", path, "--port", ports[1])
    assert result.output == f"5 rows in {path}\n"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    assert header.startswith("time,powerStatus.motorVoltage,powerStatus.motorCurrent,")
    assert header.endswith("displacementSensors.deltaZ.5")
    assert len(rows) == 5
    assert all(len(row.split(",")) == 17 for row in rows)
    assert plot(path) == f"{path.with_suffix('.svg')}\n"
    assert ElementTree.parse(path.with_suffix(".svg")).getroot().tag.endswith("svg")
    plot(path, "displacementSensors.thetaZ", "--output", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "time,position.x\n", "time,position.x\nsoon,1\n"])
def test_what_is_no_recording(tmp_path: Path, text: str) -> None:
    """A file that is not a recording is reported."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert run("plot", path).exit_code == 2


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    """A column that the recording does not have is reported, with the columns that it has."""
    path = tmp_path / "a.csv"
    path.write_text("time,position.x\n1,1\n2,2\n")
    result = run("plot", path, "position.x", "position.y")
    assert result.exit_code == 2
    assert "no column 'position.y'" in result.output
    assert "topics: position" in result.output


def test_a_picture_in_no_known_format(tmp_path: Path) -> None:
    """A suffix that is no image format is reported without a traceback."""
    path = tmp_path / "a.csv"
    path.write_text("time,position.x\n1,1\n2,2\n")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        plot(path, "--output", tmp_path / "a.xyz")
    assert caught.value.returncode == 2
    assert "'xyz' is not supported" in caught.value.stderr
    assert "Traceback" not in caught.value.stderr


def test_refused() -> None:
    """A controller that is not there is one line and exit code 1."""
    result = run("command", "clearErrors", "--port", 1)
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.output


@pytest.mark.parametrize("command", [["listen"], ["telemetry"], ["telemetry", "--record", "rows.csv"]])
def test_following_a_controller_that_is_not_there(tmp_path: Path, command: list[str]) -> None:
    """It reports that nothing answers, and tries again until interrupted."""
    if "--record" in command:
        command = [*command[:-1], str(tmp_path / command[-1])]
    with running("m2", *command, "--port", 1) as process:
        line = process.messages.readline()
        assert line == "* cannot connect to 127.0.0.1:1: Connection refused; trying again\n"
        code, _, messages = process.stop()
    assert (code, messages) == (0, "")


def test_nobody_reads(ports: tuple[int, int]) -> None:
    """As with ``| head -1``: it ends, without complaint."""
    with running("m2", "telemetry", "--port", ports[1]) as process:
        assert "powerStatusRaw" in process.line()
        process.output.close()
        assert process.wait() == (0, "")


def test_a_full_disk(ports: tuple[int, int]) -> None:
    """A recording that cannot be written ends with the reason."""
    with running("m2", "telemetry", "--record", "/dev/full", "--port", ports[1]) as process:
        code, _, messages = process.end()
    assert code == 1
    assert "No space left on device" in messages
    assert "Traceback" not in messages


def test_simulate() -> None:
    """The simulator prints both URLs, works, and ends by a signal."""
    with running("simulate", "m2", "--command-port", "0", "--telemetry-port", "0") as process:
        port = int(process.line().rpartition(":")[2])
        assert process.line().startswith("tcp://127.0.0.1:")
        with M2Client("127.0.0.1", port) as client:
            assert client.receive(timeout=10.0)["id"] == "tcpIpConnected"
        process.send(signal.SIGTERM)
        assert process.end()[0] == 0
