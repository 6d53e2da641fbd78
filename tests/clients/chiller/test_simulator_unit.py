"""The simulated chiller: every command, its physics and its oddities, in time that the test sets."""

from __future__ import annotations

from typing import Any

import pytest

from cnx.clients.chiller.protocol.errors import ErrorCode
from cnx.clients.chiller.protocol.table import COMMANDS
from cnx.clients.chiller.protocol.values import (
    ControlSensor,
    ControlState,
    Mode,
    SystemAlarms,
)
from cnx.clients.chiller.simulator.quirks import T257P, Quirks
from cnx.clients.chiller.simulator.unit import Unit
from tests.helpers.chiller_bench import Bench
from tests.helpers.chiller_vectors import COMPUTED, ERRORS, PRINTED

EXAMPLES: dict[int, Any] = {12: True, 15: True, 16: ControlSensor.RETURN, 25: 0.5, 30: 0.3, 23: 40.0, 28: 45.0}


def test_every_command_is_answered() -> None:
    """Each command of the table gets a good reply that can be read, and a threshold that is set can be read back."""
    bench = Bench()
    bench.unit.external_sensors = True
    for row in COMMANDS:
        values = [EXAMPLES.get(row.number, 10.0)] if row.sets and not row.selector else []
        call = bench.call(row.number, *values, half=row.selector)
        reply = bench.exchange(call.frame)
        assert reply is not None, row
        assert reply.error is ErrorCode.NONE, row
        reply.value(call)
        if 21 <= row.number <= 30:
            assert bench.value(row.number + 13) == values[0], row


@pytest.mark.parametrize(("command", "reply"), [(c, r) for c, r, _ in PRINTED + COMPUTED if c[5] == "s" or "Ctrl" in c])
def test_settings_are_echoed_as_documented(command: str, reply: str) -> None:
    """A setting is answered with the very frame of the document."""
    assert Unit().answer(command.encode()) == reply.encode() + b"\r"


@pytest.mark.parametrize(("command", "reply", "code"), ERRORS)
def test_refusals(command: str, reply: str, code: ErrorCode) -> None:
    """Wrong commands are refused with the right code."""
    quirks = Quirks(rejects_briefly=code is ErrorCode.REJECTED, echoes_refused=code is ErrorCode.BOUNDS)
    assert Unit(quirks=quirks).answer(command.encode()) == f"{reply}\r".encode()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (".0114rSupplyT999", ErrorCode.CHECKSUM),
        (".0114reserved1234", ErrorCode.NUMBER),
        (".0117sCtrlT__+099", ErrorCode.LENGTH),
        (".0117sCtrlT__0+99", ErrorCode.LENGTH),
        (".0117sCtrlT__+0460", ErrorCode.BOUNDS),
        (".0117sCtrlT__+04a0", ErrorCode.BOUNDS),
        (".0119rAlrmLv23", ErrorCode.BOUNDS),
        (".0106rExtThrm", ErrorCode.NOT_FITTED),
    ],
)
def test_order_of_checks(frame: str, code: ErrorCode) -> None:
    """Checksum, number, length, bounds and feature are checked in this order."""
    total = sum(frame.encode()) + (1 if code is ErrorCode.CHECKSUM else 0)
    reply = Bench().exchange(f"{frame}{total & 255:02X}\r".encode())
    assert reply is not None
    assert reply.error is code


@pytest.mark.parametrize(
    "frame", [b".0201WatchDog02\r", b"\r", b".\r", b"#01010WatchDog0100E7\r", b".01\xff1WatchDog01\r"]
)
def test_silence(frame: bytes) -> None:
    """A unit does not answer what is for another one, or for nobody."""
    assert Bench().exchange(frame) is None


def test_lower_case_is_understood() -> None:
    """A command with a checksum in lower case is done."""
    reply = Bench().exchange(b".0120rWarnLv1ee\r")
    assert reply is not None
    assert reply.error is ErrorCode.NONE


def test_reaches_the_set_point() -> None:
    """A running unit cools the coolant to the set point and holds it; in standby it warms up to the room."""
    bench = Bench()
    bench.value(17, 12.5)
    bench.value(15, True)
    state = bench.after(20).value(1)
    assert (state.state, state.pump, state.alarm) == (ControlState.RUN, True, False)
    assert bench.value(13).mode is Mode.COOL
    assert bench.value(10) > 0.1
    for _ in range(20):
        bench.after(90)
        assert bench.value(7) > bench.value(4)
    assert bench.value(4) == pytest.approx(12.5, abs=0.1)
    assert bench.value(9) == 3.2
    bench.value(15, False)
    assert bench.after(7200).value(4) == pytest.approx(22.0, abs=0.5)
    assert bench.value(1).pump is False
    assert bench.value(9) == 0.0


def test_heats() -> None:
    """Above the temperature of the room the drive turns round and its current is negative."""
    bench = Bench()
    bench.value(17, 40.0)
    bench.value(15, True)
    bench.after(10)
    assert bench.value(13).mode is Mode.HEAT
    assert bench.value(11) < -1
    assert bench.after(3600).value(4) == pytest.approx(40.0, abs=0.1)


def test_remote_mode() -> None:
    """The keypad is locked from the first valid command until 10 s after the last."""
    bench = Bench()
    assert not bench.unit.remote
    bench.exchange(b".0101WatchDog00\r")
    assert not bench.unit.remote
    bench.value(1)
    assert bench.unit.remote
    bench.clock.now += 9.5
    assert bench.unit.remote
    bench.clock.now += 1
    assert not bench.unit.remote


def test_uptime() -> None:
    """The up time counts minutes, also those in which nobody asked."""
    bench = Bench()
    bench.clock.now += 90_000
    assert bench.value(49) == 1500
    bench.unit.power_cycle()
    assert bench.value(49) == 0


def test_defaults_are_restored() -> None:
    """Number 59 brings the stored thresholds back."""
    bench = Bench()
    bench.value(21, 30.0)
    bench.value(59)
    assert bench.value(34) == 50.0


def test_external_sensors() -> None:
    """The external sensors answer once they are enabled."""
    bench = Bench()
    assert bench.ask(5).error is ErrorCode.NOT_FITTED
    bench.value(12, True)
    assert bench.value(5) == 21.0


def test_t257p() -> None:
    """A T257P rejects number 16 and what is out of bounds without detail, and some of its readings never move."""
    bench = Bench(T257P)
    assert bench.ask(16, ControlSensor.SUPPLY).error is ErrorCode.REJECTED
    assert bench.ask(17, 60.0).error is ErrorCode.REJECTED
    bench.value(15, True)
    bench.after(30)
    assert (bench.value(7), bench.value(9), bench.value(50)) == (12.3, 1.9, 0)


def test_other_quirks() -> None:
    """Checksums, warnings, names, features and flow control can depart from the document."""
    quirks = Quirks(lower_case=True, long_warnings=True, capital_names=True, not_fitted=frozenset({7}))
    unit = Unit(quirks=quirks)
    assert unit.answer(b".0108rAmbTemp0F") == b"#01080rAmbTemp+022023\r"
    assert unit.answer(b".0120rWarnLv1EE") == b"#01200rWarnLv10000000093\r"
    assert unit.answer(b".0134rHiSpTWnF5") == b"#01340rHISpTWn+0500ea\r"
    assert unit.answer(b".0149rUpTime_21") == b"#01490rUpTIme_00000046\r"
    assert unit.answer(b".0107rReturnT3C") == b"#01075rReturnT66\r"
    assert Unit(quirks=Quirks(flow_control=True)).answer(b".0203rSetTemp27") is None
    assert (
        Unit(quirks=Quirks(flow_control=True)).answer(b".0103rSetTemp26") == b"\x13\x11#0103\x13\x110rSetTemp+020038\r"
    )


def test_level_2_of_the_electronics() -> None:
    """A fault of the electronics that a test sets is told."""
    bench = Bench()
    bench.unit.supervision.system = SystemAlarms.I2C | SystemAlarms.EEPROM_2_WRITE
    assert bench.value(19, half="1") == SystemAlarms.I2C | SystemAlarms.EEPROM_2_WRITE
