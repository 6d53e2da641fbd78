"""Let a manager connect, and connect again after a loss."""

from thermometer_simulator import ThermometerSimulator

import cnx


def on_state_changed(old: cnx.State, new: cnx.State) -> None:  # and ``reason``, the exception that says why
    print(f"{old.value} -> {new.value}")


with ThermometerSimulator() as simulator:
    thermometer = cnx.connection(simulator.listen_tcp(), terminator=b"\n", timeout=5.0)
    manager = cnx.ConnectionManager(thermometer, backoff=cnx.Backoff.local())
    cnx.subscribe(manager, manager.Signals.STATE_CHANGED, on_state_changed)
    with manager:
        simulator.kill()  # as if somebody pulled the power cord
        manager.wait_until("recovering", timeout=10)
        simulator.start()
        manager.wait_until("connected", timeout=10)
        print(thermometer.request(b"T?\n"))
    print(f"{manager.counters.connects} connects, {manager.counters.losses} loss")
