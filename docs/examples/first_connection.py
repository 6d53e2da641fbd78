"""Connect, ask, and read the answer."""

from thermometer_simulator import ThermometerSimulator

import cnx

with ThermometerSimulator() as simulator:
    url = simulator.listen_tcp()
    with cnx.connection(url, terminator=b"\n", timeout=5.0) as thermometer:
        thermometer.write_str("*IDN?")
        print(thermometer.read_str())
        print(thermometer.request(b"T?\n"))
    try:
        thermometer.write_str("T?")
    except cnx.NotConnected as error:
        print("NotConnected:", error)
