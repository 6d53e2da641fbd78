"""Messages of JSON, one a line, over any connection."""

import cnx
from cnx.clients.m2.simulator import M2Simulator

with M2Simulator() as simulator:
    port, _ = simulator.listen_ports(command_port=0, telemetry_port=0)

    with cnx.SocketConnection("127.0.0.1", port, framing=cnx.JsonLines()) as connection:
        connection.send({"id": "cmd_clearErrors", "sequence_id": 1})
        status = ""
        while status != "success":
            message = connection.receive(timeout=5.0)
            if "sequence_id" in message:
                print(message)
                status = message["id"]
