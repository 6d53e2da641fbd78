"""A line to a chiller: which replies are taken, and what is made of all others."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading

import pytest

from cnx import subscribe
from cnx.clients import chiller
from cnx.clients.chiller import ChillerClient, ControlSensor
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.clients.chiller.simulator.quirks import Quirks
from cnx.errors import ConnectionLost, ProtocolError, TimedOut
from cnx.faults import (
    StreamFault,
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    faults,
    garbage,
    merge,
    split,
    truncate,
)
from cnx.transports.sockets import SocketTransport
from tests.helpers.chiller_bench import Clock
from tests.helpers.chiller_scripted import Late, ScriptedLine, Spoil, instead, nothing, replace

TIMEOUT = 10.0
SOON = 0.1
"""Reply timeout where no reply comes."""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda reply: reply.lower().replace(b"supplyt", b"SupplyT").replace(b"rs", b"rS"),
        lambda reply: b"\x13\x11" + reply,
        lambda reply: b"\n\xff~#0" + reply,
        lambda reply: reply[:7] + b"\x13\x11" + reply[7:],
        lambda reply: reply + b"#01040rSupplyT+09995D\r",
        replace(b"rSupplyT", b"RSUPPLYT"),
    ],
    ids=["lower case", "flow control", "noise", "flow control within", "two in one packet", "name in capitals"],
)
def test_harmless_replies(line: ScriptedLine, spoil: Spoil) -> None:
    """What a line may add to a reply does not change the value, nor the next one."""
    with ChillerClient(line.listen_tcp()) as client:
        line.script = [spoil]
        assert client.supply_temperature() == 21.0
        assert client.ambient_temperature() == 22.0
        assert client.supply_temperature() == 21.0


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda reply: reply.replace(b"9\r", b"8\r"), ProtocolError),
        (replace(b"#01", b"#02"), TimedOut),
        (replace(b"#0104", b"#0108"), TimedOut),
        (replace(b"#", b"!"), TimedOut),
        (replace(b"+0210", b"+0A10"), ProtocolError),
        (replace(b"+0210", b"+021"), ProtocolError),
        (replace(b"+0210", b"+02100"), ProtocolError),
        (replace(b"rSupplyT", b"rAmbTemp"), ProtocolError),
        (replace(b"#01040", b"#01049"), ProtocolError),
        (replace(b"+0210", b"+02\xb10"), ProtocolError),
        (nothing, TimedOut),
        (lambda reply: reply[:-1], TimedOut),
        (replace(b"#01040", b"#01041"), chiller.ChecksumError),
        (replace(b"#01040", b"#01042"), chiller.UnknownCommand),
        (replace(b"#01040", b"#01044"), chiller.LengthError),
        (instead(b"#23\r"), chiller.Rejected),
    ],
    ids=[
        "checksum",
        "other id",
        "other number",
        "start",
        "no digit",
        "too short",
        "too long",
        "other name",
        "error code 9",
        "above 0x7E",
        "no reply",
        "no end",
        "error 1",
        "error 2",
        "error 4",
        "bare rejection",
    ],
)
def test_bad_replies(line: ScriptedLine, spoil: Spoil, kind: type[Exception]) -> None:
    """What is no good reply is an error, never a value; the link stays up and the next command works."""
    with ChillerClient(line.listen_tcp(), reply_timeout=SOON) as client:
        client.reply_timeout = SOON if kind is TimedOut else TIMEOUT
        line.script = [spoil]
        with pytest.raises(kind):
            client.supply_temperature()
        client.reply_timeout = TIMEOUT
        line.unit.plant.supply = 9.0
        assert client.supply_temperature() == 9.0
        assert client.connected


def test_late_reply_is_never_taken_for_another(line: ScriptedLine) -> None:
    """A reply after its timeout is dropped, also when the same command was sent again."""
    with ChillerClient(line.listen_tcp()) as client:
        late = Late()
        line.script = [late, late]
        client.reply_timeout = SOON
        with pytest.raises(TimedOut, match=r"unit 01 did not answer 04rSupplyT within 0\.1 s"):
            client.supply_temperature()
        client.reply_timeout = TIMEOUT
        line.unit.plant.supply = 9.0
        assert client.supply_temperature() == 9.0
        assert [frame[3:5] for frame in line.received[1:]] == [b"04", b"01", b"04"]


def test_late_rejection_is_never_taken_for_another(line: ScriptedLine) -> None:
    """A bare rejection that comes late does not reject the next command."""
    with ChillerClient(line.listen_tcp()) as client:
        line.script = [nothing, lambda reply: b"#23\r#broken\r" + reply]
        client.reply_timeout = SOON
        with pytest.raises(TimedOut):
            client.set_control_sensor(ControlSensor.RETURN)
        client.reply_timeout = TIMEOUT
        assert client.supply_temperature() == 21.0


def test_unit_that_stays_silent(line: ScriptedLine) -> None:
    """However often a unit does not answer, the first reply after that is the right one."""
    with ChillerClient(line.listen_tcp()) as client:
        client.reply_timeout = 0.01
        line.script = [nothing] * 25
        while line.script:
            with pytest.raises(TimedOut):
                client.watchdog()
        client.reply_timeout = TIMEOUT
        line.unit.setpoint = 12.0
        assert client.setpoint() == 12.0


class Stalled:
    """Holds replies back, and sends them all when told."""

    def __init__(self) -> None:
        self._held = b""

    def hold(self, reply: bytes) -> bytes:
        """Keep a reply."""
        self._held += reply
        return b""

    def send(self, reply: bytes) -> bytes:
        """Send what was kept, and a reply."""
        return self._held + reply


@pytest.mark.parametrize("commands", [2, 9, 29])
def test_line_that_stalls(line: ScriptedLine, commands: int) -> None:
    """When a line delivers the replies to many commands late, none is taken for the answer to the next of its kind."""
    with ChillerClient(line.listen_tcp()) as client:
        stalled = Stalled()
        line.script = [stalled.hold] * commands
        client.reply_timeout = 0.01
        while line.script:
            with contextlib.suppress(TimedOut):
                client.setpoint()
                raise AssertionError
        line.unit.setpoint = 12.0
        line.script = [stalled.send]
        client.reply_timeout = TIMEOUT
        assert client.setpoint() == 12.0


def test_reply_that_comes_twice(line: ScriptedLine) -> None:
    """A reply that comes once more after it was taken is not the answer to the next command."""
    host, _, port = line.listen_tcp().removeprefix("tcp://").rpartition(":")
    transport = SocketTransport(socket.create_connection((host, int(port)), TIMEOUT), "an open socket")
    with ChillerClient(transport) as client:
        assert client.supply_temperature() == 21.0
        (session,) = line.sessions
        session.write(b"#01040rSupplyT+021059\r")
        assert select.select([transport], [], [], TIMEOUT)[0]
        line.unit.plant.supply = 9.0
        assert client.supply_temperature() == 9.0


def test_reply_that_a_subscriber_saw(line: ScriptedLine) -> None:
    """What came unasked for and was told to subscribers is not the answer to the next command."""
    seen = threading.Event()
    with ChillerClient(line.listen_tcp()) as client:
        assert client.supply_temperature() == 21.0
        with subscribe(client, client.Signals.DATA_RECEIVED, lambda data: seen.set()):
            line.sessions[0].write(b"#01040rSupplyT+021059\r")
            assert seen.wait(TIMEOUT)
        line.unit.plant.supply = 9.0
        assert client.supply_temperature() == 9.0


def test_reply_in_pieces(simulator: ChillerSimulator) -> None:
    """A slow line that delivers single characters and garbage changes nothing."""
    with faults(simulator, garbage(20), split(1)), ChillerClient(simulator.listen_tcp()) as client:
        assert [client.supply_temperature() for _ in range(20)] == [21.0] * 20


@pytest.mark.parametrize(
    "fault",
    [delay(0.01), split(3), merge(), drop(0.2), duplicate(0.3), corrupt(0.002), garbage(20), bandwidth(5000)],
    ids=str,
)
def test_spoiled_line(simulator: ChillerSimulator, fault: StreamFault) -> None:
    """Whatever a line does to replies, a value that comes is the right one, and the client goes on after it."""
    values = {"supply_temperature": 21.0, "ambient_temperature": 22.0, "setpoint": 20.0}
    right = 0
    with ChillerClient(simulator.listen_tcp()) as client:
        client.reply_timeout = 0.1
        with faults(simulator, fault, seed=3):
            for name, value in list(values.items()) * 10:
                with contextlib.suppress(TimedOut, ProtocolError):
                    assert getattr(client, name)() == value
                    right += 1
        client.reply_timeout = TIMEOUT
        assert client.supply_temperature() == 21.0
    assert right


def test_serial_line_at_9600_baud() -> None:
    """Over a serial line that takes its time for every character, everything works within the usual reply timeout."""
    with ChillerSimulator(clock=Clock(), baudrate=9600) as simulator:
        url = f"{simulator.listen_pty()}?baudrate=9600&xonxoff=yes"
        with ChillerClient(url, setpoint=18.0) as client:
            assert client.status().telemetry.setpoint == 18.0


def test_lenience(simulator: ChillerSimulator) -> None:
    """Eight digits of warnings are an error, unless that is allowed."""
    simulator.units[1].quirks = Quirks(long_warnings=True)
    simulator.units[1].plant.coolant_low = True
    url = simulator.listen_tcp()
    with ChillerClient(url) as client, pytest.raises(ProtocolError, match="8 characters"):
        client.warnings()
    with ChillerClient(url, lenient=True) as client:
        assert client.warnings() == chiller.Warnings.COOLANT_LEVEL


def test_loss_in_the_middle_of_a_reply(simulator: ChillerSimulator) -> None:
    """When the link ends before the reply is complete, the command fails with the reason."""
    with ChillerClient(simulator.listen_tcp()) as client:
        with faults(simulator, truncate(10)), pytest.raises(ConnectionLost):
            client.supply_temperature()
        assert not client.connected
        with pytest.raises(ConnectionError, match="not connected"):
            client.supply_temperature()
        assert client.connect().supply_temperature() == 21.0


def test_pause(line: ScriptedLine) -> None:
    """With a pause, what comes after a reply is dropped before the next command."""
    with ChillerClient(line.listen_tcp(), pause=0.05) as client:
        line.script = [lambda reply: reply + b"#01040rSupplyT+09995D\r"]
        assert client.supply_temperature() == 21.0
        assert client.supply_temperature() == 21.0


def test_slow_unit(simulator: ChillerSimulator) -> None:
    """A reply that takes its time, but not too much, is the reply."""
    with ChillerClient(simulator.listen_tcp()) as client, faults(simulator, delay(0.02)):
        assert client.supply_temperature() == 21.0


def test_discarded_bytes_are_logged(line: ScriptedLine, caplog: pytest.LogCaptureFixture) -> None:
    """What is thrown away can be found in the log."""
    caplog.set_level(logging.DEBUG, "cnx.clients.chiller")
    with ChillerClient(line.listen_tcp()) as client:
        line.script = [lambda reply: b"#01080rAmbTemp+022023\r" + reply]
        assert client.supply_temperature() == 21.0
    assert "discarded #01080rAmbTemp+022023" in caplog.text
