"""A UDP port that leads to a PLC, for programs that speak EPSNET over UDP; service and PLC are simulated."""

import socket
from datetime import datetime
from urllib.parse import urlsplit

from cnx.clients.tecoroute import TecorouteSimulator, UdpConnector, set_clock
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts

plc = Accounts(plcs={"AB_1234": MODELS["acknowledge"]})
with TecorouteSimulator(plc) as simulator:
    service = urlsplit(simulator.listen_tcp())
    udp = UdpConnector(
        port=0,  # any free one, as this is an example; PLCs have 61682
        username="BroukPytlik",
        password="ferda1",
        plc="AB_1234",
        allow=["127.0.0.0/8"],
        tecoroute_host=service.hostname,
        tecoroute_port=service.port,
    )
    with udp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        udp.manager.wait_until("connected", timeout=10.0)
        host, _, port = udp.address.rpartition(":")
        program.connect((host, int(port)))
        program.settimeout(5.0)
        program.send(set_clock(datetime(2025, 10, 17, 14, 30, 45)))
        print("the PLC answered", program.recv(2048).hex(" "))
    print(udp.statistics.forwarded, "forwarded,", udp.statistics.answered, "answered")
