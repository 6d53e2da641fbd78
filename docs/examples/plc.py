"""Talk to a PLC behind the TecoRoute service; here the service is simulated, and the PLC echoes."""

from datetime import datetime
from urllib.parse import urlsplit

import cnx
from cnx.clients.tecoroute import Connector, ConnectorPlcError, Datagram, TecorouteSimulator, set_clock

with TecorouteSimulator() as simulator:
    service = urlsplit(simulator.listen_tcp())
    place = {"tecoroute_host": service.hostname, "tecoroute_port": service.port}  # left out for the real service

    with Connector("BroukPytlik", "ferda1", "AB_1234", **place) as connector:
        print("connected to", connector.name)

        answer = connector.request(set_clock(datetime(2025, 10, 17, 14, 30, 45)), timeout=2.0)
        print("one request:", Datagram.decode(answer).message_id.hex(), len(answer), "bytes")

        for number in range(3):  # none of these waits for an answer
            connector.send(Datagram(number.to_bytes(2, "big"), b"\xe5").encode())
        print("three at once:", [connector.receive(timeout=2.0).hex() for _ in range(3)])

        print("the service took less than a second:", connector.http_time < 1.0)

    try:
        Connector("BroukPytlik", "ferda1", "XY_0000", **place).connect()
    except ConnectorPlcError as error:
        print(error.error_code, isinstance(error, cnx.AccessDenied))
