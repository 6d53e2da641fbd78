"""The chiller client over TCP and a pseudo terminal, with a simulated unit and with what may go wrong."""

from __future__ import annotations

import contextlib
import logging
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
from cnx.clients.chiller.simulator_quirks import T257P, Quirks
from cnx.errors import ConnectionLost, DeviceError, ProtocolError, TimedOut
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
from tests.clients.chiller.bench import Clock
from tests.clients.chiller.scripted import Late, ScriptedLine, Spoil, instead, nothing, replace

TIMEOUT = 10.0
SOON = 0.1
"""Reply timeout where no reply comes."""


@pytest.fixture
def simulator() -> Iterator[ChillerSimulator]:
    """A running simulator of unit 1, whose time stands still."""
    with ChillerSimulator(clock=Clock()) as running:
        yield running


@pytest.fixture
def line() -> Iterator[ScriptedLine]:
    """A running line with a script."""
    with ScriptedLine() as running:
        yield running


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
        ({"setpoint": 60.0, "thresholds": Thresholds(high_supply_warning=50.0)}, ValueError),
    ],
)
def test_bad_settings(arguments: dict[str, Any], kind: type[Exception]) -> None:
    """A client that cannot be is not made."""
    with pytest.raises(kind):
        ChillerClient(**{"source": "tcp://127.0.0.1:1", **arguments})


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


def test_disconnect_ends_a_command(line: ScriptedLine) -> None:
    """A command that waits for its reply ends when the link is closed, and so do those that wait for their turn."""
    client = ChillerClient(line.listen_tcp(), reply_timeout=TIMEOUT * 6).connect()
    asked = threading.Event()

    def swallow(reply: bytes) -> bytes:
        asked.set()
        return b""

    line.script = [swallow]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.supply_temperature) for _ in range(3)]
        assert asked.wait(TIMEOUT)
        client.disconnect()
        errors = [future.exception(TIMEOUT) for future in waiting]
    assert all(isinstance(error, ConnectionError) for error in errors)


def test_threads_share_a_client(client: ChillerClient, simulator: ChillerSimulator) -> None:
    """Commands of many threads do not mix."""

    def ask(number: int) -> bool:
        method, value = (client.supply_temperature, 21.0) if number % 2 else (client.ambient_temperature, 22.0)
        return all(method() == value for _ in range(25))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_handler_must_not_run_commands(simulator: ChillerSimulator) -> None:
    """A handler of received data that runs a command gets a clear error instead of a deadlock."""
    client = ChillerClient(simulator.listen_tcp())
    outcome: list[BaseException] = []

    def on_data(data: bytes) -> None:
        try:
            client.watchdog()
        except RuntimeError as error:
            outcome.append(error)

    with client, subscribe(client, client.Signals.DATA_RECEIVED, on_data):
        assert client.supply_temperature() == 21.0
    assert outcome


def test_connected_means_that_the_unit_answers(line: ScriptedLine) -> None:
    """An attempt to connect fails with the reason when nobody answers on the line."""
    line.script = [nothing]
    client = ChillerClient(line.listen_tcp(), reply_timeout=SOON)
    assert not client.try_connect()
    assert isinstance(client.last_error, TimedOut)
    with client:
        assert client.supply_temperature() == 21.0


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
