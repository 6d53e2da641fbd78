"""TLS with an authority of one's own, and what happens without it."""

import ssl

import trustme
from thermometer_simulator import ThermometerSimulator

import cnx

authority = trustme.CA()
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("127.0.0.1").configure_cert(server)
client = ssl.create_default_context()
authority.configure_trust(client)

with ThermometerSimulator() as simulator:
    url = simulator.listen_tcp(tls=server)
    with cnx.connection(url, tls=client, terminator=b"\n", timeout=5.0) as thermometer:
        print(thermometer.request(b"T?\n"))
    stranger = cnx.connection(url)
    if not stranger.try_connect():
        print(str(stranger.last_error).partition(": ")[2])
