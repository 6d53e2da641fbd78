"""What the flight recorder of a SmartBus client shows."""

from __future__ import annotations

from pathlib import Path

from cnx.clients.smartbus import SmartBusClient
from cnx.clients.smartbus.simulator import BusServer
from cnx.testing import eventually

CANARY = "canary-swordfish"


def test_no_file_has_the_password(tmp_path: Path) -> None:
    """The histories that are saved at an alarm have the registration, and stars in place of its password."""
    with BusServer() as server:
        port = int(server.listen_tcp().rpartition(":")[2])
        client = SmartBusClient(
            "127.0.0.1", port, unit_id=19, client_id=5, client_type=9, user="ferda", password=CANARY, record_to=tmp_path
        )
        with client:
            server.kill()
            assert eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert all(b"*" * len(CANARY) in data for data in files)
    assert not any(CANARY.encode() in data for data in files)
