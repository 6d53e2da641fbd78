"""Stopping a simulator that misbehaves."""

from __future__ import annotations

import ssl

import pytest

from cnx.faults import (
    Fault,
    bandwidth,
    delay,
    faults,
    half_open,
    hang_tls,
    huge_frame,
    merge,
    reset,
    slow_accept,
    unplug,
)
from cnx.testing import NewThreads, eventually
from tests.helpers.bare_clients import Client, dial, reachable
from tests.helpers.certificates import certificates
from tests.helpers.echo import Echo, answered

SERVER_CONTEXT, CLIENT_CONTEXT = certificates()
LONG = 3600.0


class TestStop:
    """A stop ends every wait of every fault: nothing is left, at once, and no late thread is logged."""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", ["tcp", "tls", "serial"])
    @pytest.mark.parametrize(
        "fault",
        [
            delay(LONG),
            delay(LONG, direction="in"),
            bandwidth(1),
            merge(100, within=LONG),
            merge(100, within=LONG, direction="in"),
            huge_frame(1 << 26),
            half_open(),
        ],
        ids=str,
    )
    def test_in_the_bytes(
        self, new_threads: NewThreads, fault: Fault, kind: str, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """While a fault delays, holds back or floods."""
        with Echo() as simulator:
            url = simulator.listen_pty() if kind == "serial" else simulator.listen_tcp(tls=context_of(kind))
            with dial(url, CLIENT_CONTEXT if kind == "tls" else None) as client:
                assert answered(client)
                with faults(simulator, fault) as plan:
                    client.send(b"ping")
                    assert eventually(lambda: plan.trace)
                    getattr(simulator, how)()
                    assert not new_threads()
        assert caplog.text == ""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    @pytest.mark.parametrize("kind", ["tcp", "tls"])
    @pytest.mark.parametrize("fault", [slow_accept(LONG), hang_tls()], ids=str)
    def test_at_arrival(
        self, new_threads: NewThreads, fault: Fault, kind: str, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """While a client waits for service."""
        with Echo() as simulator, faults(simulator, fault), dial(simulator.listen_tcp(tls=context_of(kind))):
            assert eventually(lambda: simulator.sessions)
            getattr(simulator, how)()
            assert not new_threads()
        assert caplog.text == ""

    @pytest.mark.parametrize("fault", [reset(LONG), half_open(LONG), unplug(LONG)], ids=str)
    def test_before_its_time(self, new_threads: NewThreads, fault: Fault, echo: Echo, client: Client) -> None:
        """While a fault is still to come."""
        with faults(echo, fault):
            assert answered(client)
            echo.stop()
            assert not new_threads()

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_while_unplugged(self, new_threads: NewThreads, how: str, echo: Echo) -> None:
        """While the whole simulator is away; after a start it is there again."""
        echo.listen_pty()
        with faults(echo, unplug(seconds=LONG)):
            assert eventually(lambda: not any(map(reachable, echo.urls)))
            getattr(echo, how)()
            assert not new_threads()
        echo.start()
        assert all(map(reachable, echo.urls))


def context_of(kind: str) -> ssl.SSLContext | None:
    """Return what a port of that kind needs."""
    return SERVER_CONTEXT if kind == "tls" else None
