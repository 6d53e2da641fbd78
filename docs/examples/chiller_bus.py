"""Ask several chillers on one line."""

from cnx import DeviceError, TimedOut
from cnx.clients.chiller import ChillerBus
from cnx.clients.chiller.simulator import ChillerSimulator

with ChillerSimulator([2, 3]) as simulator, ChillerBus(simulator.listen_pty(), reply_timeout=0.5) as bus:
    bus.unit(2).set_temperature(17.5)
    for number in (2, 3, 4):
        unit = bus.unit(number)
        try:
            print(f"unit {number}: set point {unit.setpoint()} °C")
        except (DeviceError, TimedOut) as error:
            print(f"unit {number}: {type(error).__name__}")
