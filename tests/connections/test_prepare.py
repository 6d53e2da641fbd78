"""Tests of preparing a link before it counts as connected."""

from __future__ import annotations

import socket

import pytest

from cnx import ConnectError, Deadline, NotConnected, SocketConnection, TimedOut
from cnx.testing import PATIENCE
from tests.helpers.inside import link_of


class Asker(SocketConnection):
    """Reads a greeting before it counts as connected, without a timeout of its own."""

    greeting = b""

    def prepare(self, deadline: Deadline) -> None:
        """Read the greeting."""
        self.greeting = self.readuntil(b"\n")


class Shouter(SocketConnection):
    """Writes more than a peer takes that does not read, without a timeout of its own."""

    def prepare(self, deadline: Deadline) -> None:
        """Write."""
        self.write(b"x" * 50_000_000)


@pytest.mark.parametrize("kind", [Asker, Shouter])
def test_attempt_bounds_what_prepare_does(kind: type[SocketConnection]) -> None:
    """A peer that is silent, or does not read, cannot hold an attempt longer than the attempt may take."""
    near, far = socket.socketpair()
    with far:
        connection = kind.from_socket(near)
        assert not connection.try_connect(Deadline(0.1))
        assert isinstance(connection.last_error, TimedOut)
        connection.teardown()


def test_calls_are_not_bounded_later() -> None:
    """Once connected, a call without a timeout waits as long as it takes."""
    near, far = socket.socketpair()
    far.settimeout(PATIENCE)
    with far:
        far.sendall(b"welcome\n")
        with Asker.from_socket(near) as connection:
            assert connection.greeting == b"welcome\n"
            assert link_of(connection).deadline is None


class Complainer(SocketConnection):
    """Raises an alarm in every attempt, with what the last call failed with."""

    complaint: NotConnected

    def prepare(self, deadline: Deadline) -> None:
        """Raise it."""
        self.raise_alarm(self.complaint)


def test_message_does_not_grow_with_alarms() -> None:
    """That there is no link is no reason why there is none, however often it is given as one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Complainer(*listening.getsockname())
        told = set()
        for _ in range(3):
            with pytest.raises(NotConnected) as caught:
                connection.read(1)
            connection.complaint = caught.value
            assert not connection.try_connect(Deadline(PATIENCE))
            told.add(str(connection.last_error))
        assert told == {f"{connection.address} is not connected"}


def test_alarm_of_any_kind_in_the_middle_fails_the_attempt() -> None:
    """Whatever exception the alarm is raised with, the attempt fails with an error of the library, and tells why."""

    class Alarmed(SocketConnection):
        def prepare(self, deadline: Deadline) -> None:
            self.raise_alarm(ValueError("a strange greeting"))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Alarmed("127.0.0.1", listening.getsockname()[1])
        assert not connection.try_connect()
        assert isinstance(connection.last_error, ConnectError)
        assert "a strange greeting" in str(connection.last_error)
        assert isinstance(connection.last_error.__cause__, ValueError)


def test_waiting_for_messages_in_a_preparation_is_refused() -> None:
    """None is emitted before CONNECTED, so it would never end; the error says what to use instead."""

    class Waiting(SocketConnection):
        def prepare(self, deadline: Deadline) -> None:
            """Wait for a message."""
            self.wait_for(lambda: None)

    near, far = socket.socketpair()
    with far, pytest.raises(RuntimeError, match=r"use the reading methods in prepare\(\)"):
        Waiting.from_socket(near).connect()
