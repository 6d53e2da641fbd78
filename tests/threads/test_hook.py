"""Errors of the user's own code are visible, although nobody has configured anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.processes import PROCESS_PATIENCE

HEAD = """
import logging, socket, sys, threading
import cnx
from cnx.testing import connection_pair
over = threading.Event()
"""

PROGRAMS = {
    "handler": (
        """
with connection_pair() as (connection, far):
    cnx.subscribe(connection, connection.Signals.DATA_RECEIVED, lambda data: data.misspelt)
    cnx.subscribe(connection, connection.Signals.DATA_RECEIVED, lambda data: over.set())
    far.sendall(b"x")
    over.wait()
""",
        "handler <lambda> of Signals.DATA_RECEIVED raised",
    ),
    "handler of a rare signal": (
        """
with connection_pair() as (connection, far):
    cnx.subscribe(connection, connection.Signals.DISCONNECTED, lambda reason: reason.misspelt)
""",
        "handler <lambda> of Signals.DISCONNECTED raised",
    ),
    "on_message": (
        """
class Lamp(cnx.SocketConnection):
    def on_message(self, message):
        over.set()
        self.misspelt
near, far = socket.socketpair()
with Lamp.from_socket(near):
    far.sendall(b"x")
    over.wait()
""",
        "on_message failed",
    ),
    "on_disconnected": (
        """
class Lamp(cnx.SocketConnection):
    def on_disconnected(self, reason):
        self.misspelt
near, far = socket.socketpair()
with Lamp.from_socket(near):
    pass
""",
        "on_disconnected() failed",
    ),
    "schedule": (
        """
class Lamp(cnx.SocketConnection):
    ticks = 0
    def tick(self):
        self.ticks += 1
        if self.ticks == 2:  # the error of the first one was shown
            over.set()
        self.misspelt
near, far = socket.socketpair()
with Lamp.from_socket(near) as lamp:
    lamp.schedule(0.001, lamp.tick)
    over.wait()
""",
        "a scheduled action failed",
    ),
    "prepare": (
        """
class Lamp(cnx.SocketConnection):
    def prepare(self, deadline):
        self.misspelt
with socket.create_server(("127.0.0.1", 0)) as listening:
    manager = cnx.ConnectionManager(Lamp(*listening.getsockname()), persist=True)
    manager.connect(wait=False)
    manager.wait_until("disconnected", 10)
    assert manager.counters.attempts == 1, manager.counters
    assert isinstance(manager.reason, AttributeError)
""",
        "an attempt to connect raised AttributeError; the manager gives up",
    ),
    "framing": (
        """
class Letters(cnx.Framing):
    def take(self, buffer):
        self.misspelt
    def encode(self, message):
        return message
with connection_pair(framing=Letters()) as (connection, far):
    cnx.subscribe(connection, connection.Signals.MESSAGE_RECEIVED, lambda message: None)
    cnx.subscribe(connection, connection.Signals.DISCONNECTED, lambda: over.set())
    far.sendall(b"x")
    over.wait()
""",
        "take_all failed",
    ),
    "heartbeat": (
        """
near, far = socket.socketpair()
def beat(connection):
    connection.misspelt
connection = cnx.SocketConnection.from_socket(near, heartbeat=beat, heartbeat_interval=0.001)
cnx.subscribe(connection, connection.Signals.DISCONNECTED, lambda: over.set())
connection.connect()
over.wait()
""",
        "the heartbeat failed, so the link ends",
    ),
    "simulator": (
        """
from cnx.simulation import Simulator
class Lamp(Simulator):
    def serve(self, session):
        session.read()
        self.misspelt
with Lamp() as lamp, cnx.connect(lamp.listen_tcp()) as connection:
    connection.write(b"x")
    connection.read()
""",
        "serving",
    ),
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", HEAD + program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_error_reaches_stderr(name: str) -> None:
    """With its traceback, and what has raised it."""
    program, where = PROGRAMS[name]
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert where in done.stderr
    assert "Traceback (most recent call last):" in done.stderr
    assert "AttributeError: " in done.stderr
    assert "misspelt" in done.stderr


@pytest.mark.parametrize("name", ["handler", "prepare"])
def test_configured_logging_gets_it_instead(name: str) -> None:
    """Once, as an error with its traceback."""
    program, where = PROGRAMS[name]
    done = run(f"logging.basicConfig(format='LOGGED %(levelname)s %(message)s', level=logging.ERROR)\n{program}")
    assert done.returncode == 0, done.stderr
    assert "LOGGED ERROR" in done.stderr
    assert where in done.stderr
    assert "\ncnx: " not in f"\n{done.stderr}"


@pytest.mark.parametrize("name", ["handler", "prepare"])
def test_hook_gets_it_instead(name: str) -> None:
    """And nothing is printed."""
    program, where = PROGRAMS[name]
    hook = "cnx.excepthook = lambda error, where: print(type(error).__name__, where)\n"
    done = run(hook + program)
    assert done.returncode == 0, done.stderr
    assert "AttributeError " in done.stdout
    assert where in done.stdout
    assert done.stderr == ""


def test_hook_that_raises() -> None:
    """Both errors are shown, and the others still get the signal."""
    program, where = PROGRAMS["handler"]
    done = run(f"cnx.excepthook = lambda error, where: 1 / 0\n{program}")
    assert done.returncode == 0, done.stderr
    assert where in done.stderr
    assert "cnx: cnx.excepthook raised" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_handler_that_always_raises() -> None:
    """A peer that sends much does not fill the disk: the same error is printed the 1st, 10th, 100th time and so on."""
    done = run(
        """
with connection_pair(framing=cnx.Delimited(b".")) as (connection, far):
    def fail(message):
        raise LookupError(message)
    cnx.subscribe(connection, connection.Signals.MESSAGE_RECEIVED, fail)
    cnx.subscribe(connection, connection.Signals.MESSAGE_RECEIVED, lambda message: over.set() if message else None)
    far.sendall(b"." * 1500 + b"end.")
    over.wait()
"""
    )
    assert done.stderr.count("Traceback") == 4, done.stderr
    assert ", for the 1000th time:" in done.stderr


def test_program_without_stderr() -> None:
    """As with pythonw on Windows: nothing is printed, and everything goes on."""
    done = run(f"sys.stderr = None\n{PROGRAMS['handler'][0]}")
    assert (done.returncode, done.stderr) == (0, "")
