"""A simulated thermometer: a real server that speaks a small line protocol."""

from __future__ import annotations

from cnx import Delimited
from cnx.buffer import ReceiveBuffer
from cnx.simulation import Session, Simulator


class ThermometerSimulator(Simulator):
    """Answers ``*IDN?`` and ``T?``; ``STREAM 3`` makes it tell three temperatures by itself."""

    celsius = 21.5

    def serve(self, session: Session) -> None:
        """Serve one client until it leaves."""
        framing, buffer = Delimited(b"\n"), ReceiveBuffer()
        while data := session.read():
            buffer.append(data)
            for line in framing.take_all(buffer):
                for answer in self.answers(line.decode()):
                    session.write(framing.encode(answer))

    def answers(self, line: str) -> list[str]:
        """Return the lines that answer one line."""
        command, _, argument = line.partition(" ")
        if command == "*IDN?":
            return ["ACME thermometer,1"]
        if command == "T?":
            return [str(self.celsius)]
        if command == "STREAM":
            return [f"T={self.celsius + 0.1 * number:.1f}" for number in range(int(argument))]
        return [f"ERROR unknown command {command}"]
