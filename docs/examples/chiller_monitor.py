"""Look after a chiller: print what it measures, and what is wrong with it."""

import threading

import cnx
from cnx.clients.chiller import AlarmReport, Alarms, ChillerClient, ChillerMonitor, Telemetry, Thresholds
from cnx.clients.chiller.simulator import ChillerSimulator

measured, over = threading.Event(), threading.Event()


def on_telemetry(telemetry: Telemetry) -> None:
    if not measured.is_set():
        print(f"supply {telemetry.supply_temperature} °C, flow {telemetry.flow} l/min")
    measured.set()


def on_alarm_raised() -> None:
    print("alarm: the chiller goes to standby")


def on_alarm_details(report: AlarmReport) -> None:
    print("alarm details:", *report.names)


def on_alarm_cleared(report: AlarmReport) -> None:
    print("alarm over")
    over.set()


with ChillerSimulator() as simulator:  # in place of a unit behind tcp://adapter:4001 or serial:///dev/ttyUSB0
    chiller = ChillerClient(
        simulator.listen_tcp(),
        thresholds=Thresholds(high_supply_warning=30.0, low_supply_warning=10.0, low_flow_alarm=0.5),
        setpoint=18.0,
    )
    monitor = ChillerMonitor(chiller, watchdog_interval=0.1, telemetry_interval=0.1)  # in real life leave these out
    cnx.subscribe(monitor, monitor.Signals.TELEMETRY, on_telemetry)
    cnx.subscribe(monitor, monitor.Signals.ALARM_RAISED, on_alarm_raised)
    cnx.subscribe(monitor, monitor.Signals.ALARM_DETAILS, on_alarm_details)
    cnx.subscribe(monitor, monitor.Signals.ALARM_CLEARED, on_alarm_cleared)
    with cnx.ConnectionManager(chiller), monitor:
        chiller.start()
        measured.wait(10)
        simulator.units[1].supervision.alarms = Alarms.LOW_COOLANT_LEVEL
        over.wait(10)
        print("now", chiller.watchdog().state.name)
