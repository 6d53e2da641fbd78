"""Use a client by itself, and under a manager."""

from urllib.parse import urlsplit

from thermometer import Thermometer
from thermometer_simulator import ThermometerSimulator

import cnx

with ThermometerSimulator() as simulator:
    port = urlsplit(simulator.listen_tcp()).port or 0

    with Thermometer("127.0.0.1", port) as thermometer:
        print(thermometer.celsius())

    thermometer = Thermometer("127.0.0.1", port)
    with cnx.ConnectionManager(thermometer) as manager:
        simulator.celsius = 22.0
        print(manager.state.value, thermometer.celsius())
