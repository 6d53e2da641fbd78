"""A program in which SIGPIPE has its default action, as in command line tools: a peer that goes must not end it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.processes import PROCESS_PATIENCE

HEAD = """
import select, signal, socket, threading
import cnx
from cnx.transports.serial_ports import open_serial
from cnx.testing import connection_pair
from tests.helpers.certificates import certificates
signal.signal(signal.SIGPIPE, signal.SIG_DFL)

def write_to_the_end(connection):
    try:
        while True:
            connection.write(bytes(100_000), timeout=10)
    except cnx.CnxError as error:
        print(type(error).__name__)

def write_until_it_is_cut(connection, far):
    writing = threading.Thread(target=write_to_the_end, args=[connection])
    writing.start()
    far.recv(1)
    connection.disconnect()
    writing.join()
"""

PROGRAMS = {
    "unix, the peer goes": """
with connection_pair() as (connection, far):
    far.close()
    write_to_the_end(connection)
""",
    "unix, disconnect() during a write": """
with connection_pair() as (connection, far):
    write_until_it_is_cut(connection, far)
""",
    "TCP, the peer goes": """
with socket.create_server(("127.0.0.1", 0)) as listening:
    with cnx.SocketConnection(*listening.getsockname()) as connection:
        peer, _ = listening.accept()
        peer.close()
        write_to_the_end(connection)
        write_to_the_end(connection)
""",
    "TCP, disconnect() during a write": """
with socket.create_server(("127.0.0.1", 0)) as listening:
    with cnx.SocketConnection(*listening.getsockname()) as connection:
        peer, _ = listening.accept()
        write_until_it_is_cut(connection, peer)
""",
    "TLS, disconnect() during a write": """
theirs, ours = certificates()
near, far = socket.socketpair()
peers = []
thread = threading.Thread(target=lambda: peers.append(theirs.wrap_socket(far, server_side=True)))
thread.start()
with cnx.SocketConnection.from_socket(near, tls=ours, server_hostname="localhost") as connection:
    thread.join()
    write_until_it_is_cut(connection, peers[0])
""",
    "TLS, the peer goes": """
theirs, ours = certificates()
near, far = socket.socketpair()
peers = []
thread = threading.Thread(target=lambda: peers.append(theirs.wrap_socket(far, server_side=True)))
thread.start()
with cnx.SocketConnection.from_socket(near, tls=ours, server_hostname="localhost") as connection:
    thread.join()
    peers[0].close()
    write_to_the_end(connection)
""",
    "socket:// of pyserial, the peer goes": """
with socket.create_server(("127.0.0.1", 0)) as listening:
    transport = open_serial("socket://127.0.0.1:%d" % listening.getsockname()[1], {}, cnx.Deadline(10))
    listening.accept()[0].close()
    select.select([transport.fileno()], [], [], 10)  # its end has arrived, so the next write is answered by a reset
    write_to_the_end(transport)
""",
    "a simulator whose client goes": """
from cnx.simulation import Simulator
over = threading.Event()
class Talker(Simulator):
    def serve(self, session):
        try:
            while True:
                session.write(bytes(100_000))
        finally:
            over.set()
with Talker() as simulator:
    with cnx.connect(simulator.listen_tcp()) as connection:
        connection.readexactly(1)
    print(over.wait(10))
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_lives_on(name: str) -> None:
    """The write raises an error in place of the signal."""
    program = f"{HEAD}{PROGRAMS[name]}\nprint('alive')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    *errors, last = done.stdout.split()
    assert last == "alive"
    assert set(errors) <= {"NotConnected", "ConnectionLost", "True"}
    assert errors
