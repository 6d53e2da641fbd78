"""Two clients on a SmartBus: data, a ping, a flow, and who else is there; the server is simulated."""

import threading

from cnx import ConnectionManager, subscribe
from cnx.clients.smartbus import BusServer, SmartBusClient

received = threading.Event()


def on_message(message):
    print("from", message.source, "came", message.text())
    received.set()


with BusServer(users={"ann": "secret"}) as server:
    host, _, port = server.listen_tcp().removeprefix("tcp://").rpartition(":")
    server.flow("shop", "price")(lambda item, count: [item, 2 * count])

    account = {"user": "ann", "password": "secret"}
    ann = SmartBusClient(host, int(port), unit_id=20, client_id=1, client_type=9, info="ann's desk", **account)
    bob = SmartBusClient(host, int(port), unit_id=21, client_id=1, client_type=9, **account)
    subscribe(bob, bob.Signals.MESSAGE_RECEIVED, on_message)
    with ConnectionManager(ann), ConnectionManager(bob):
        ann.send(1, 3, 21, 1, 9, "hello")  # command, command type, unit, client, client type
        received.wait(5.0)
        print("round trip below a second:", bob.ping(20, 1, 9) < 1.0)
        call = ann.invoke_flow(0, 0, "shop", "price", ["apple", 3])
        print("started:", call.acknowledged(), "returned:", call.result())
        print("bob sees", bob.peers[0].info)
