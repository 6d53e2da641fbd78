"""What every simulator shares: a threaded server on TCP, TLS, unix sockets, ptys and UDP.

Derive from :class:`Simulator` and say how one client is served::

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
