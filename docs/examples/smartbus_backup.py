"""A master and its backup: when the one in use dies, the client goes on with the other; both are simulated."""

from cnx import ConnectionManager, subscribe
from cnx.clients.smartbus import BusServer, SmartBusClient


def address(url):
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    return host, int(port)


master = BusServer(unit=0)
backup = BusServer(unit=1, bus=master.bus)
servers = {server.listen_tcp(): server for server in (master, backup)}
with master, backup:
    main, spare = map(address, servers)
    client = SmartBusClient(*main, backup=spare, unit_id=20, client_id=1, client_type=9)
    subscribe(client, client.Signals.CONNECTED, lambda: print("on the bus"))
    subscribe(client, client.Signals.DISCONNECTED, lambda reason: print("off the bus:", reason))
    with ConnectionManager(client):
        for _ in range(2):
            used = servers[f"tcp://{client.active_server}"]
            print("an answer:", client.ping(used.address.unit, 0, 1) > 0)
            if used is not backup:
                used.kill()
                backup.wait(0.5)
