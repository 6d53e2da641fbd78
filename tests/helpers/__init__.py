"""What the tests share; no tests.

* Every test: ``processes`` and ``commands`` start processes and end them; ``interrupts`` strikes at a chosen point of a
  call. What also helps users to test, such as waiting for a condition and finding leaks, is in ``cnx.testing``.
* Peers: ``echo`` is a simulator, ``bare_clients`` are sockets that talk to one, ``certificates`` is for TLS,
  ``dead_ports`` do not answer, ``kinds_of_addresses`` and ``kinds_of_connections`` are one of each.
* Stops: ``stop_situations`` for connections in general; ``stop_scenes`` with the faults and all kinds of clients.
* One client each: ``chiller_*``, ``m2_*``, ``smartbus_*``, ``tecoroute_*``.
"""
