"""The chiller client over TCP and a pseudo terminal: every command, its errors, and its configuration."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from cnx import ConnectionManager, SocketConnection, State, subscribe
from cnx.clients import chiller
from cnx.clients.chiller import ChillerClient, ControlSensor, ControlState, Drive, Mode, Pid, Pwm, Threshold, Thresholds
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.clients.chiller.simulator.quirks import T257P, Quirks
from cnx.errors import DeviceError
from cnx.transports.sockets import SocketTransport
from tests.helpers.chiller_scripted import ScriptedLine

TIMEOUT = 10.0


@pytest.fixture(params=["tcp", "pty"])
def client(request: pytest.FixtureRequest, simulator: ChillerSimulator) -> Iterator[ChillerClient]:
    """A connected client, over each kind of line."""
    url = simulator.listen_tcp() if request.param == "tcp" else simulator.listen_pty()
    with ChillerClient(url, reply_timeout=TIMEOUT) as connected:
        yield connected


def test_reads(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """Every reading method returns what the unit has, in its unit of measurement."""
    unit = simulator.units[1]
    unit.plant.supply, unit.plant.ambient = 17.26, 4.56
    assert client.watchdog() == (ControlState.STANDBY, False, False, True)
    assert client.control_sensor() is ControlSensor.SUPPLY
    assert client.setpoint() == 20.0
    assert client.supply_temperature() == 17.3
    assert client.return_temperature() == 17.3
    assert client.ambient_temperature() == 4.6
    assert client.flow() == 0.0
    assert (client.tec_current(1), client.tec_current(2)) == (0.0, 0.0)
    assert client.drive() == Drive(0, Mode.COOL)
    assert client.pwm() == Pwm(1, Mode.COOL)
    assert client.pid() == Pid(20.0, 0)
    assert client.uptime() == timedelta(0)
    assert [client.fan_speed(fan) for fan in (1, 2, 3, 4)] == [41, 42, 43, 44]
    assert client.warnings() == chiller.Warnings.LOW_AMBIENT_TEMPERATURE
    assert client.system_alarms() == chiller.SystemAlarms(0)
    assert client.sensor_alarms() == chiller.SensorAlarms(0)
    assert [client.threshold(which) for which in Threshold] == [50.0, 5.0, 40.0, 5.0, 0.5, 52.0, 2.0, 45.0, 2.0, 0.3]


def test_settings(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """Every setting arrives in the unit."""
    unit = simulator.units[1]
    client.set_temperature(18.25)
    client.set_control_sensor(ControlSensor.RETURN)
    client.enable_external_sensors(True)
    client.set_threshold(Threshold.LOW_FLOW_ALARM, 1.25)
    client.start()
    assert (unit.setpoint, unit.sensor, unit.external_sensors) == (18.3, ControlSensor.RETURN, True)
    assert unit.thresholds[30] == 1.3
    assert unit.state is ControlState.RUN
    assert client.external_rtd_temperature() == client.external_thermistor_temperature()
    client.stop()
    assert client.watchdog().state is ControlState.STANDBY
    client.restore_defaults()
    assert unit.thresholds[30] == 0.3


def test_reading_alarms_resets_them(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """Level 1 is told once."""
    simulator.units[1].supervision.alarms = chiller.Alarms.LOW_COOLANT_LEVEL
    assert client.read_and_reset_alarms() == chiller.Alarms.LOW_COOLANT_LEVEL
    assert client.read_and_reset_alarms() == chiller.Alarms(0)


def test_status(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """The status has everything, and nothing in place of what is not fitted."""
    simulator.units[1].quirks = Quirks(not_fitted=frozenset({7, 53}))
    simulator.units[1].plant.coolant_low = True
    status = client.status()
    assert (status.state, status.pump, status.alarm, status.warning) == (ControlState.STANDBY, False, False, True)
    assert status.warnings == chiller.Warnings.COOLANT_LEVEL
    assert status.telemetry.return_temperature is None
    assert status.telemetry.fan_speeds == (41, 42, 43, None)
    assert status.telemetry.supply_temperature == 21.0


def test_typed_commands(client: ChillerClient) -> None:
    """A command may be given as text, under any name, and the answer shows the frame."""
    answer = client.run_command("17sCtrlTmp+0195")
    assert (answer.value, answer.frame[:19]) == (19.5, "#01170sCtrlTmp+0195")
    assert client.run_command("19rAlrmLv22").value == chiller.SensorAlarms(0)
    assert client.format_full_command("01WatchDog") == b".0101WatchDog01\r"
    assert client.compute_checksum("#01010WatchDog0100") == "E7"


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda client: client.set_temperature(60.0), chiller.OutOfRange),
        (lambda client: client.external_rtd_temperature(), chiller.FeatureNotFitted),
    ],
)
def test_refusals(client: ChillerClient, ask: Callable[[ChillerClient], object], kind: type[DeviceError]) -> None:
    """What the unit refuses is a typed error with command and reply, and the link stays up."""
    with pytest.raises(kind, match=r"unit 01: \d\d\w{8}.* was answered with #01\d\d[35]"):
        ask(client)
    assert client.connected
    assert client.setpoint() == 20.0


def test_bare_rejection(simulator: ChillerSimulator) -> None:
    """A T257P rejects number 16 without detail."""
    simulator.units[1].quirks = T257P
    with ChillerClient(simulator.listen_tcp()) as client:
        with pytest.raises(chiller.Rejected, match="16sCtrlSen0 was answered with #23"):
            client.set_control_sensor(ControlSensor.SUPPLY)
        assert client.supply_temperature() == 21.0


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda client: client.set_temperature(float("nan")), ValueError),
        (lambda client: client.set_temperature(1000), ValueError),
        (lambda client: client.set_temperature("20"), TypeError),
        (lambda client: client.set_threshold(Threshold.LOW_FLOW_WARNING, 0.0), ValueError),
        (lambda client: client.set_threshold(99, 1.0), ValueError),
        (lambda client: client.set_control_sensor(7), ValueError),
        (lambda client: client.enable_external_sensors(1), ValueError),
        (lambda client: client.tec_current(3), ValueError),
        (lambda client: client.fan_speed(0), ValueError),
        (lambda client: client.fan_speed(1.5), TypeError),
        (lambda client: client.run_command("14reserved"), ValueError),
        (lambda client: client.run_command("04rSupplyT9"), ValueError),
        (lambda client: client.run_command(b"01WatchDog"), TypeError),
        (lambda client: client.configure(Thresholds(), float("inf")), ValueError),
    ],
)
def test_bad_arguments(line: ScriptedLine, ask: Callable[[Any], object], kind: type[Exception]) -> None:
    """A bad argument is refused before anything is sent."""
    with ChillerClient(line.listen_tcp()) as client:
        before = len(line.received)
        with pytest.raises(kind):
            ask(client)
        client.watchdog()
        assert len(line.received) == before + 1


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"source": "tcp://"}, ValueError),
        ({"source": 4001}, TypeError),
        ({"device_id": 33}, ValueError),
        ({"reply_timeout": 0}, ValueError),
        ({"reply_timeout": float("inf")}, ValueError),
        ({"pause": -1}, ValueError),
        ({"reply_timout": 3.0}, TypeError),
        ({"setpoint": 60.0, "thresholds": Thresholds(high_supply_warning=50.0)}, ValueError),
    ],
)
def test_bad_settings(arguments: dict[str, Any], kind: type[Exception]) -> None:
    """A client that cannot be is not made."""
    with pytest.raises(kind):
        ChillerClient(**{"source": "tcp://127.0.0.1:1", **arguments})


def test_threads_share_a_client(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """Commands of many threads do not mix."""

    def ask(number: int) -> bool:
        method, value = (client.supply_temperature, 21.0) if number % 2 else (client.ambient_temperature, 22.0)
        return all(method() == value for _ in range(25))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_configuration_is_applied_before_connected(simulator: ChillerSimulator) -> None:
    """Set point and thresholds are in force when the client counts as connected, and again after a recovery."""
    unit = simulator.units[1]
    thresholds = Thresholds(high_supply_warning=30.0, low_supply_warning=10.0, low_flow_alarm=1.0)
    client = ChillerClient(simulator.listen_tcp(), thresholds=thresholds, setpoint=18.0)
    seen: list[tuple[float, ...]] = []
    signals = client.Signals
    note = subscribe(client, signals.CONNECTED, lambda: seen.append((unit.setpoint, unit.thresholds[21])))
    with note, ConnectionManager(client) as manager:
        client.set_temperature(19.0)
        unit.power_cycle()
        lost = threading.Event()
        with subscribe(client, signals.DISCONNECTED, lambda: lost.set()):
            simulator.drop_sessions()
            assert lost.wait(TIMEOUT)
        manager.wait_until(State.CONNECTED, TIMEOUT)
        assert unit.thresholds[30] == 1.0
    assert seen == [(18.0, 30.0), (19.0, 30.0)]


def test_refused_configuration_fails_the_attempt(simulator: ChillerSimulator) -> None:
    """A configuration that the unit refuses is the reason why there is no connection."""
    client = ChillerClient(simulator.listen_tcp(), setpoint=200.0)
    assert not client.try_connect()
    assert isinstance(client.last_error, chiller.OutOfRange)


def test_configure(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """A configuration takes effect at once; what the unit refused is not kept."""
    client.configure(Thresholds(high_supply_warning=30.0), 25.0)
    assert simulator.units[1].thresholds[21] == 30.0
    with pytest.raises(ValueError, match=r"above high_supply_warning of 30\.0"):
        client.set_temperature(31.0)
    with pytest.raises(chiller.OutOfRange):
        client.configure(Thresholds(high_supply_warning=300.0))
    client.disconnect()
    simulator.units[1].power_cycle()
    client.connect()
    assert client.threshold(Threshold.HIGH_SUPPLY_WARNING) == 30.0
    assert client.setpoint() == 25.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low_flow_alarm": 0.0}, "0.1 to 999.9"),
        ({"high_supply_alarm": float("nan")}, "finite"),
        ({"low_ambient_warning": 20.0, "high_ambient_warning": 20.0}, "must be below"),
    ],
)
def test_bad_thresholds(values: dict[str, float], message: str) -> None:
    """Thresholds that cannot be are refused when they are written down."""
    with pytest.raises(ValueError, match=message):
        Thresholds(**values)


def test_open_sockets_as_source(simulator: ChillerSimulator) -> None:
    """A client takes over a connection that was not opened yet, or an open transport for one link."""
    host, _, port = simulator.listen_tcp().removeprefix("tcp://").rpartition(":")
    with ChillerClient(SocketConnection(host, int(port))) as client:
        assert client.supply_temperature() == 21.0
    transport = SocketTransport(socket.create_connection((host, int(port)), TIMEOUT), "an open socket")
    with ChillerClient(transport) as client:
        assert client.supply_temperature() == 21.0
    assert not client.try_connect()
    assert "for one link" in str(client.last_error)
