"""Connecting where the process has no descriptor to spare, for every number of descriptors that are left."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.processes import PROCESS_PATIENCE

SCRIPT = """
import os, resource, socket, ssl, sys, tempfile, threading
import trustme
import cnx
from cnx.testing import PtyPeer

server = socket.create_server(("127.0.0.1", 0), backlog=100)
path = os.path.join(tempfile.mkdtemp(), "socket")
unix = socket.socket(socket.AF_UNIX)
unix.bind(path)
unix.listen(100)
pty = PtyPeer()
authority = trustme.CA()
presents, trusts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
authority.issue_cert("localhost").configure_cert(presents)
authority.configure_trust(trusts)
port = server.getsockname()[1]
KINDS = {
    "tcp": lambda: cnx.SocketConnection("127.0.0.1", port, timeout=5),
    "name": lambda: cnx.SocketConnection("localhost", port, timeout=5),
    "unix": lambda: cnx.UnixConnection(path),
    "udp": lambda: cnx.UdpConnection("127.0.0.1", 9),
    "serial": lambda: cnx.SerialConnection(pty.port, exclusive=True),
    "loop": lambda: cnx.SerialConnection("loop://"),
    "tls": lambda: cnx.SocketConnection("localhost", port, tls=trusts),
}
make = KINDS[sys.argv[1]]

def serve():
    while True:
        try:
            sock = server.accept()[0]
        except OSError:
            continue  # this process has no descriptor for it
        if sys.argv[1] == "tls":
            try:
                with presents.wrap_socket(sock, server_side=True) as secure:
                    secure.recv(1)
            except OSError:
                pass
        sock.close()

if sys.argv[1] == "tls":
    threading.Thread(target=serve, daemon=True).start()

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def attempt():
    connection = make()
    try:
        connection.connect(5)
        return "connected"
    except cnx.CnxError as error:
        return "CnxError"
    except BaseException as error:
        return repr(error)
    finally:
        connection.teardown()

print(attempt())  # what is loaded and kept for the process
before = descriptors()
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
outcomes = []
for free in range(12):
    full = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, limit[1]))
    try:
        while True:
            full.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for _ in range(free):
        os.close(full.pop())
    outcomes.append(attempt())
    for fd in full:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
print(*outcomes)
print(attempt(), descriptors() - before if sys.argv[1] != "tls" else 0)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("kind", ["tcp", "name", "unix", "udp", "serial", "loop", "tls"])
def test_every_failure_is_an_error_of_cnx_and_leaves_nothing_open(kind: str) -> None:
    """With too few descriptors an attempt fails as documented; after that it succeeds, and none is lost."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    first, outcomes, last = done.stdout.splitlines()
    assert first == "connected", done.stderr
    assert set(outcomes.split()) <= {"connected", "CnxError"}
    assert outcomes.split()[-1] == "connected"
    assert last == "connected 0"
    assert "Traceback" not in done.stderr
