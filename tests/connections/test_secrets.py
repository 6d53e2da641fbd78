"""Passwords are nowhere to be seen: not in logs, texts, errors, histories, captures, nor among the threads."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cnx import CnxError, Connection
from cnx.clients.smartbus import BusServer, Pulse, SmartBusClient
from cnx.clients.tecoroute import Connector, Pace, TecorouteSimulator
from cnx.clients.tecoroute.simulator.service import Accounts
from cnx.connections.urls import connection
from cnx.simulation import Simulator
from cnx.testing import PATIENCE, NewThreads
from tests.helpers.commands import running
from tests.helpers.processes import PROCESS_PATIENCE

CANARY = "kanarek-7d1f"

Made = tuple[Simulator, Connection]


def smartbus(known: str, folder: Path) -> Made:
    """A SmartBus that knows a password, and a client that has another one or the same."""
    server = BusServer(users={"user": known})
    host, port = server.listen_tcp().removeprefix("tcp://").split(":")
    settings: dict[str, Any] = {"pulse": Pulse(reconnect_delay=0.0), "record_to": str(folder)}
    client = SmartBusClient(
        host, int(port), unit_id=20, client_id=1, client_type=9, user="user", password=CANARY, **settings
    )
    return server, client


def tecoroute(known: str, folder: Path) -> Made:
    """The same for TecoRoute."""
    simulator = TecorouteSimulator(Accounts(users={"user": known}))
    host, port = simulator.listen_tcp().removeprefix("tcp://").split(":")
    client = Connector(
        "user", CANARY, "AB_1234", tecoroute_host=host, tecoroute_port=int(port), pace=Pace(0.0), record_to=str(folder)
    )
    return simulator, client


@pytest.mark.parametrize("known", [CANARY, "another"], ids=["right", "wrong"])
@pytest.mark.parametrize("make", [smartbus, tecoroute])
def test_password_is_never_shown(
    make: Callable[[str, Path], Made],
    known: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    new_threads: NewThreads,
) -> None:
    """Whether the password is right or wrong, and whatever is logged, printed, raised or saved."""
    caplog.set_level(logging.DEBUG)
    simulator, client = make(known, tmp_path)
    shown: list[str] = []
    with simulator:
        try:
            client.connect(PATIENCE)
            client.raise_alarm("so that the history is saved")
        except CnxError as error:
            shown += traceback.format_exception(error)
        shown += [repr(client), str(client), repr(client.last_error), repr(simulator)]
        shown += [thread.name for thread in new_threads()]
        for link in (client, *getattr(client, "_links", ())):
            if hasattr(link, "history"):
                shown += [repr(link), str(link.history())]
        client.teardown()
    saved = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert caplog.records
    assert CANARY not in caplog.text + "".join(shown)
    assert CANARY.encode() not in saved


@pytest.mark.parametrize("scheme", ["tcp", "tls", "udp", "unix", "serial"])
def test_password_in_a_url_is_not_repeated(scheme: str) -> None:
    """A URL that has a password, which it must not have, is refused without showing it."""
    with pytest.raises(ValueError) as caught:  # what matters is what it does not say
        connection(f"{scheme}://user:{CANARY}@host:1/x")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "make",
    [
        lambda password: SmartBusClient("h", 1, unit_id=20, client_id=1, client_type=9, user="u", password=password),
        lambda password: Connector("user", password, "AB_1234"),
    ],
    ids=["smartbus", "tecoroute"],
)
def test_password_that_cannot_be_encoded(make: Callable[[str], Connection]) -> None:
    """Is refused, and is in no part of the error: the one that encoding raises holds all of the text."""
    with pytest.raises(ValueError) as caught:  # what matters is what it does not say
        make(f"{CANARY}\ud800")
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {error.args} {vars(error)}"
        assert not isinstance(error, UnicodeError)
        error = error.__context__


def command_lines() -> str:
    """Return the command lines of all processes, as every user sees them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ends just now
            found.append(file.read_text(errors="replace").replace("\0", " "))
    return "\n".join(found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux shows processes as files")
def test_password_is_in_no_process_list(tmp_path: Path) -> None:
    """A password that a command is given in a file is not in the command line of any process, nor printed."""
    file = tmp_path / "password"
    file.write_text(CANARY)
    simulator = TecorouteSimulator(Accounts(users={"user": CANARY}))
    with simulator:
        host, port = simulator.listen_tcp().removeprefix("tcp://").split(":")
        service = ["--tecoroute-host", host, "--tecoroute-port", port, "-u", "user", "-l", "AB_1234"]
        with running("-vv", "tecoroute", "connect", "-m", "udp", "-P", "0", "-S", str(file), *service) as command:
            assert simulator.record.wait_for(lambda requests: len(requests) > 2, PROCESS_PATIENCE)
            shown = command_lines() + "".join(map(str, command.stop()))
    assert "tecoroute connect" in shown
    assert CANARY not in shown
