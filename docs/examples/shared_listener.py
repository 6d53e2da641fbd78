"""One thread for many connections."""

import threading

from thermometer_simulator import ThermometerSimulator

import cnx

done = threading.Semaphore(0)

with ThermometerSimulator() as simulator:
    url = simulator.listen_tcp()
    listener = cnx.Listener("lab")
    thermometers = [cnx.connection(url, framing=cnx.Delimited(b"\n"), listener=listener) for _ in range(50)]
    for thermometer in thermometers:
        cnx.subscribe(thermometer, thermometer.Signals.MESSAGE_RECEIVED, lambda message: done.release())
        thermometer.connect()
        thermometer.send(b"T?")
    answered = sum(done.acquire(timeout=10) for _ in thermometers)
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("cnx listener")]
    print(answered, "answers on", threads)
    for thermometer in thermometers:
        thermometer.disconnect()
