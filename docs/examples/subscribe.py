"""Be told what comes, instead of waiting for it."""

import threading

from thermometer_simulator import ThermometerSimulator

import cnx

done = threading.Event()


def on_message(message: bytes) -> None:
    print(message.decode(), "on", threading.current_thread().name)
    if message == b"T=21.7":
        done.set()


def on_disconnected(reason: BaseException) -> None:
    print("disconnected:", reason)


with ThermometerSimulator() as simulator:
    thermometer = cnx.connection(simulator.listen_tcp(), framing=cnx.Delimited(b"\n"), name="thermometer")
    signals = thermometer.Signals
    cnx.subscribe(thermometer, signals.CONNECTED, lambda: print("connected"))
    cnx.subscribe(thermometer, signals.MESSAGE_RECEIVED, on_message)
    cnx.subscribe(thermometer, signals.DISCONNECTED, on_disconnected)
    with thermometer:
        thermometer.send(b"STREAM 3")
        done.wait(10)
