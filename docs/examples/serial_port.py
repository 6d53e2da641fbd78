"""A serial port; here the device on the other end is simulated on a pseudo terminal."""

from thermometer_simulator import ThermometerSimulator

import cnx

with ThermometerSimulator() as simulator:
    port = simulator.listen_pty().removeprefix("serial://")  # such as /dev/ttyUSB0
    with cnx.SerialConnection(port, baudrate=9600, timeout=5.0, terminator=b"\n") as thermometer:
        thermometer.write_str("T?")
        print(thermometer.read_str())
