"""The original client library in a process of its own."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from cnx.clients.smartbus import Packet
from cnx.clients.smartbus.protocol.packets import HEADER, Address
from tests.helpers.processes import PROCESS_PATIENCE, started
from tests.helpers.smartbus_native import library
from tests.helpers.smartbus_peer import PATIENCE

NATIVE = Address(20, 1, 9)


class Native:
    """The original client in a process of its own."""

    def __init__(self, unit: int = NATIVE.unit) -> None:
        path = library()
        assert path is not None
        script = str(Path(__file__).with_name("smartbus_native.py"))
        self._ending = ExitStack()
        command, pipes = [sys.executable, script, path, unit], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = self._ending.enter_context(started(command, text=True, **pipes))
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            assert self.next("init", PROCESS_PATIENCE)["result"] == 0
        except BaseException:
            self.close()
            raise

    def do(self, function: str, *values: Any, data: bytes = b"") -> int:
        """Call a function of the library and return its result."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": function, "values": values, "data": data.hex()}) + "\n")
        self._process.stdin.flush()
        result: int = self.next("done")["result"]
        return result

    def connect(self, port: int, **options: str) -> None:
        """Create the client's connection."""
        texts = [options.get(name, "") for name in ("user", "password", "info")]
        assert self.do("CreateConnect", NATIVE.client, NATIVE.type, "127.0.0.1", port, None, 0xFFFF, *texts) == 0

    def next(self, event: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Return the next event of this kind; others before it are kept."""
        others = []
        while (found := self._events.get(timeout=patience))["event"] != event:
            others.append(found)
        for other in others:
            self._events.put(other)
        return found

    def data(self) -> Packet:
        """Return the next packet that was delivered."""
        found = self.next("data")
        head = HEADER.unpack(bytes.fromhex(found["head"]))
        source, destination = Address(head[4], head[5], head[3]), Address(head[7], head[8], head[6])
        return Packet(head[1], head[2], source, destination, bytes.fromhex(found["data"]))

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._reader.join(PATIENCE)  # before its pipe is closed
        self._ending.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A process that is killed may leave half a line.
            with suppress(ValueError):
                self._events.put(json.loads(line))
