"""Use PyDispatcher itself: the rules of who gets what are its own."""

import threading

from pydispatch import dispatcher
from thermometer_simulator import ThermometerSimulator

import cnx

done = threading.Event()


def on_data(data: bytes, sender: object, **rest: object) -> None:
    print(type(sender).__name__, data)
    done.set()


with ThermometerSimulator() as simulator:
    thermometer = cnx.connection(simulator.listen_tcp())
    dispatcher.connect(on_data, signal=thermometer.Signals.DATA_RECEIVED, sender=thermometer)
    with thermometer:
        thermometer.write(b"T?\n")
        done.wait(10)
    dispatcher.disconnect(on_data, signal=thermometer.Signals.DATA_RECEIVED, sender=thermometer)
