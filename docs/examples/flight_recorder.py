"""What a connection remembers, and how to play it back."""

import tempfile
from pathlib import Path

from thermometer_simulator import ThermometerSimulator

import cnx
from cnx.recording.history import load
from cnx.replay import Replay

with ThermometerSimulator() as simulator:
    thermometer = cnx.connection(simulator.listen_tcp(), terminator=b"\n", timeout=5.0)
    with thermometer:
        thermometer.request(b"T?\n")
        thermometer.request(b"X?\n")

for record in thermometer.history():
    print(record)

with tempfile.TemporaryDirectory() as directory:
    file = thermometer.history().save(Path(directory, "talk.pcapng"))
    replay = Replay(load(file))

with replay, cnx.connect(replay.listen_tcp(), terminator=b"\n", timeout=5.0) as thermometer:
    print("played back:", thermometer.request(b"T?\n"))
    print("played back:", thermometer.request(b"Y?\n"))
    print(*replay.differences)
