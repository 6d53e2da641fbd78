"""Simulators: threaded servers on TCP, TLS, unix sockets, ptys and UDP, for simulated devices.

Derive from :class:`Simulator` and define how one client is served::

    class Echo(Simulator):
        def serve(self, session):
            while data := session.read():
                session.write(data)

    with Echo() as simulator:
        url = simulator.listen_tcp()
"""

from __future__ import annotations

from cnx.simulation.session import Session
from cnx.simulation.simulator import Simulator

__all__ = ["Session", "Simulator"]
