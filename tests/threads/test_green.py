"""gevent and eventlet are refused by name, where they have replaced threads and sockets."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.helpers.processes import PROCESS_PATIENCE

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent without threads": "from gevent import monkey; monkey.patch_all(thread=False)",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}

PROGRAM = """
connection = cnx.SocketConnection("127.0.0.1", 1, connect_timeout=None)
assert not connection.try_connect()
print(connection.last_error.fatal, connection.last_error)
try:
    cnx.ConnectionManager(connection).connect()
except cnx.ConnectError as error:
    print(error.fatal, error)
"""


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("order", ["patched first", "imported first"])
def test_patched_process(patch: str, order: str) -> None:
    """The first attempt fails with the reason, and a manager does not try again."""
    library = patch.split()[0]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    lines = [PATCHES[patch], "import cnx"]
    program = "\n".join([*(lines if order == "patched first" else reversed(lines)), PROGRAM])
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert done.stdout.count(f"True {library} has replaced the modules socket") == 2, done.stderr


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_process_that_only_imports_it(library: str) -> None:
    """Nothing is replaced, so nothing is refused."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    imports = "import gevent.monkey" if library == "gevent" else "import eventlet.patcher"
    program = f"""
{imports}
import socket, cnx
with socket.create_server(("127.0.0.1", 0)) as listening:
    with cnx.SocketConnection(*listening.getsockname()) as connection:
        print(connection.connected)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert done.stdout == "True\n", done.stderr
