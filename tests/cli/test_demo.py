"""``cnx demo``"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from time import monotonic

import pytest
from click.testing import CliRunner

from cnx.cli.commands import cnx
from cnx.cli.demo.story import Story
from cnx.manager.lifecycle import State
from tests.helpers.commands import running
from tests.helpers.processes import PROCESS_PATIENCE, started


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_whole_story(kind: str, tmp_path: Path) -> None:
    """Without a terminal: lines in order, a summary, a picture, exit code 0."""
    picture = tmp_path / f"picture.{kind}"
    with running("demo", "--seconds", "3", "--output", picture) as command:
        code, printed, messages = command.end()
    assert (code, messages) == (0, "")
    told = [line for line in printed.splitlines() if "*" in line and "a reading failed" not in line]  # that one may
    wanted = ["ready -> connecting", "connecting -> connected", "simulator killed", "connected -> recovering"]
    wanted += ["simulator started again", "recovering -> connected"]
    assert [next(want for want in wanted if want in line) for line in told] == wanted
    assert printed.splitlines()[-1] == f"picture: {picture}"
    assert "connects 2, losses 1" in printed
    assert " s after the simulator was back" in printed
    if kind == "svg":
        assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert picture.read_bytes().startswith(b"\x89PNG\r\n")


def test_on_a_terminal(tmp_path: Path) -> None:
    """The table is drawn again and again in place, and ends with the summary."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "cnx", "demo", "--seconds", "3", "--output", str(tmp_path / "picture.svg")]
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with started(command, stdin=slave, stdout=slave, stderr=slave, env=settings) as process:
        os.close(slave)
        shown = all_from(master)
        assert process.wait(PROCESS_PATIENCE) == 0
    os.close(master)
    assert shown.count("cnx demo: tcp://127.0.0.1:") > 4
    assert "recovering" in shown
    assert "\x1b[" in shown
    assert shown.rstrip().endswith("picture.svg")


def all_from(master: int) -> str:
    """Return all that is shown on a terminal until its program ends."""
    shown = b""
    end = monotonic() + PROCESS_PATIENCE
    while select.select([master], [], [], max(0.0, end - monotonic()))[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:  # nobody has the terminal open any more
            break
    return shown.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: int, tmp_path: Path) -> None:
    """There is no picture, and the exit code says why."""
    picture = tmp_path / "picture.svg"
    with running("demo", "--plain", "--output", picture) as command:
        while "connecting -> connected" not in (line := command.line()):
            assert line
        command.send(number)
        code, _, messages = command.end()
    assert (code, messages.strip()) == (130, "")
    assert not picture.exists()


def test_reader_goes_away(tmp_path: Path) -> None:
    """As with ``| head -1``: it ends, without complaint."""
    with running("demo", "--plain", "--output", tmp_path / "picture.svg") as command:
        assert command.line().startswith("a simulated chiller listens at tcp://")
        command.output.close()
        assert command.wait() == (0, "")


def test_link_that_does_not_come_back(tmp_path: Path) -> None:
    """The summary and the exit code say so."""
    program = """
import sys
from cnx.cli.demo import commands as demo

def kill_only(story, simulator):
    if simulator.running:
        story.killed_at = story.note("simulator killed")
        simulator.kill()

demo._play = kill_only
demo.demo(["--seconds", "3", "--output", sys.argv[1]])
"""
    command = [sys.executable, "-c", program, str(tmp_path / "picture.svg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT recovered" in done.stdout


def test_recovered_means_readings_after_the_restart() -> None:
    """A state alone proves nothing."""
    story = Story("tcp://127.0.0.1:1", 3)
    story.add_reading(20.0, 20.0)
    assert not story.recovered
    story.restarted_at = story.note("simulator started again")
    story.on_state_changed(State.RECOVERING, State.CONNECTED, None)
    story.add_reading(None, None)
    assert not story.recovered
    story.add_reading(20.0, 20.0)
    assert story.recovered


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--output", "picture.gif"], "ends with .svg or .png, not '.gif'"),
        (["--output", "picture"], "ends with .svg or .png, not 'nothing'"),
        (["--output", "/nowhere/picture.svg"], "no file can be made in /nowhere"),
        (["--seconds", "1"], "not in the range"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    """Is told before anything begins, with exit code 2."""
    result = CliRunner().invoke(cnx, ["demo", *arguments])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
