"""``cnx ports``"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from cnx import connection
from cnx.cli.commands import cnx


def plugged_in(device: str) -> ListPortInfo:
    """Return what pyserial says of a port."""
    port = ListPortInfo(device, skip_link_detection=True)
    port.description, port.hwid = "USB adapter", "USB VID:PID=0403:6001"
    return port


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two ports on this machine."""
    monkeypatch.setattr(list_ports, "comports", lambda: [plugged_in("/dev/ttyUSB10"), plugged_in("/dev/ttyUSB2")])


@pytest.mark.usefixtures("two")
def test_for_people() -> None:
    """A line each, in the order of their numbers."""
    result = CliRunner().invoke(cnx, ["ports"])
    line = "serial:///dev/ttyUSB{}  USB adapter  [USB VID:PID=0403:6001]\n"
    assert (result.exit_code, result.output) == (0, line.format(2) + line.format(10))


@pytest.mark.usefixtures("two")
def test_for_programs() -> None:
    """The URL is one that :func:`cnx.connection` takes."""
    result = CliRunner().invoke(cnx, ["ports", "--json"])
    found = [json.loads(line) for line in result.output.splitlines()]
    assert [entry["url"] for entry in found] == ["serial:///dev/ttyUSB2", "serial:///dev/ttyUSB10"]
    assert [connection(entry["url"]).address for entry in found] == ["/dev/ttyUSB2", "/dev/ttyUSB10"]


def test_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said to people, and is no error."""
    monkeypatch.setattr(list_ports, "comports", list)
    result = CliRunner().invoke(cnx, ["ports"])
    assert (result.exit_code, result.output) == (0, "no serial ports found\n")
    assert CliRunner().invoke(cnx, ["ports", "--json"]).output == ""
