"""A manager that gives up, and why."""

import socket

import cnx

with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))  # taken, but nobody listens there
    nobody = cnx.SocketConnection("127.0.0.1", unused.getsockname()[1])
    manager = cnx.ConnectionManager(nobody, backoff=cnx.Backoff(first=0.01, attempts=3))
    try:
        manager.connect()
    except cnx.ConnectError as error:
        print(error)
    print(manager.state.value, "after", manager.counters.attempts, "attempts")
    manager.teardown()
