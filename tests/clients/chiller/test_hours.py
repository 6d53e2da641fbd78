"""Eight hours of operation on a bad line: whatever happens to frames, no wrong value is ever delivered."""

from __future__ import annotations

import contextlib
import random
from datetime import timedelta
from typing import Any

import pytest

from cnx import subscribe
from cnx.clients.chiller import Alarms, ChillerClient, ChillerMonitor, ControlState, Drive, Telemetry, Warnings
from cnx.clients.chiller.protocol.table import find_command
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.clients.chiller.simulator.quirks import Quirks
from cnx.clients.chiller.simulator.unit import Unit
from cnx.errors import CnxError
from tests.helpers.chiller_bench import Clock
from tests.helpers.chiller_joined import JoinedLine, Mishaps

HOURS = 8 * 3600
WATCHDOG, TELEMETRY = 5, 7


def shown(number: int, *values: Any) -> Any:
    """Return values as a frame can carry them."""
    command = find_command(number)
    assert command is not None
    return command.decode(command.encode_reply(*values))


def truth(unit: Unit) -> dict[str, Any]:
    """Return what a round of values must bring."""
    plant = unit.plant
    return {
        "setpoint": shown(3, unit.setpoint),
        "supply_temperature": shown(4, plant.supply),
        "return_temperature": shown(7, plant.return_temperature),
        "ambient_temperature": shown(8, plant.ambient),
        "flow": shown(9, plant.flow),
        "drive": Drive(plant.level, plant.mode),
        "tec_currents": (shown(10, plant.current(1)), shown(11, plant.current(2))),
        "fan_speeds": tuple(plant.fan_speed(fan) for fan in (1, 2, 3, 4)),
    }


class Operation:
    """A unit, a monitor whose rounds follow the unit's clock, and somebody who changes things."""

    def __init__(self, client: ChillerClient, unit: Unit, clock: Clock) -> None:
        self.client, self.unit, self.clock = client, unit, clock
        self.monitor = ChillerMonitor(client)
        self.chance = random.Random(1)
        self.values = self.states = self.alarms = 0
        signals = ChillerMonitor.Signals
        subscribe(self.monitor, signals.TELEMETRY, self._on_telemetry)
        subscribe(self.monitor, signals.STATUS_CHANGED, self._on_status)
        subscribe(self.monitor, signals.ALARM_RAISED, self._on_alarm)
        self.wrong: list[str] = []

    def run(self, seconds: int) -> None:
        """Operate for so long."""
        for second in range(seconds):
            self.clock.now += 1
            self.unit.advance()
            if not self.client.connected:
                self.client.try_connect()
            if second % WATCHDOG == 0:
                self.monitor.check()
            if second % TELEMETRY == 0:
                self.monitor.measure()
            if second % 600 == 0:
                self._change()

    def _change(self) -> None:
        """Do something that a day brings."""
        plant = self.unit.plant
        plant.load = self.chance.uniform(0.0, 300.0)
        plant.ambient = self.chance.uniform(4.0, 35.0)
        plant.flow_factor = self.chance.choice([0.02, 1.0, 1.0, 1.0])
        celsius = round(self.chance.uniform(8.0, 30.0), 1)
        with contextlib.suppress(CnxError):
            self.client.set_temperature(celsius)
            self._expect("confirmed set point", self.unit.setpoint, celsius)
            self.client.start()
            self._expect("confirmed start", self.unit.state, ControlState.RUN)

    def _on_telemetry(self, telemetry: Telemetry) -> None:
        for name, true in truth(self.unit).items():
            told = getattr(telemetry, name)
            pairs = list(zip(told, true, strict=True)) if name in ("tec_currents", "fan_speeds") else [(told, true)]
            for value, expected in pairs:
                if value is not None:
                    self.values += 1
                    self._expect(name, value, expected)

    def _on_status(self, status: Any) -> None:
        if status is not None:
            self.states += 1
            unit = self.unit
            flags = (bool(unit.supervision.alarms), bool(unit.warnings))
            self._expect("state", tuple(status), (unit.state, unit.plant.pump, *flags))

    def _on_alarm(self) -> None:
        self.alarms += 1
        self._expect("alarm", bool(self.unit.supervision.alarms), True)

    def _expect(self, name: str, told: object, true: object) -> None:
        if told != true:
            self.wrong.append(f"{self.clock.now}: {name} is {true}, and was told as {told}")


@pytest.mark.parametrize("quirks", [Quirks(), Quirks(lower_case=True, capital_names=True, flow_control=True)])
def test_eight_hours(quirks: Quirks) -> None:
    """In eight hours with a spoiled frame in a hundred, every value that is delivered is the unit's own."""
    clock, there, back = Clock(), Mishaps(0.005, seed=5), Mishaps(0.005, seed=6)
    simulator = ChillerSimulator(clock=clock, quirks=quirks)
    client = ChillerClient(JoinedLine(simulator, there, back))
    operation = Operation(client, simulator.units[1], clock)
    client.try_connect()
    operation.run(HOURS)
    client.disconnect()
    assert operation.wrong == []
    assert there.count > 200
    assert back.count > 200
    assert operation.values > 0.8 * 12 * HOURS / TELEMETRY
    assert operation.states > 50
    assert operation.alarms > 1


def test_quiet_hours() -> None:
    """On a good line nothing is missing, and no link is lost."""
    clock = Clock()
    simulator = ChillerSimulator(clock=clock)
    with ChillerClient(JoinedLine(simulator)) as client:
        operation = Operation(client, simulator.units[1], clock)
        operation.run(1800)
        assert operation.wrong == []
        assert operation.values == 12 * -(-1800 // TELEMETRY)
        assert client.uptime() == timedelta(minutes=30)
        assert operation.monitor.warnings in Warnings(0xFF)
        assert operation.monitor.report is None or operation.monitor.report.alarms != Alarms(0)
