"""Spoiled answers: what is delivered, and whether the link goes on, for each way that an answer can be wrong."""

from __future__ import annotations

import pytest

import cnx
from cnx.clients.tecoroute import ConnectorConnectionError, TecorouteSimulator
from cnx.clients.tecoroute.simulator.faults import FAULTS
from tests.helpers.tecoroute_service import PATIENCE, connected, epsnet

FIRST, SECOND, THIRD = epsnet(1, b"first!"), epsnet(2, b"second"), epsnet(3, b"third!")

LINK_GOES_ON = {
    "empty": [FIRST, THIRD],
    "status-204": [FIRST, THIRD],
    "status-304": [FIRST, THIRD],
    "redirect": [FIRST, THIRD],
    "unavailable": [FIRST, THIRD],
    "unauthorized": [FIRST, THIRD],
    "error-with-data": [FIRST, THIRD],
    "chunked": [FIRST, SECOND, THIRD],
    "chunked-by-one": [FIRST, SECOND, THIRD],
    "version-1.0": [FIRST, SECOND, THIRD],
    "says-close": [FIRST, SECOND, THIRD],
    "byte-by-byte": [FIRST, SECOND, THIRD],
    "continue-first": [FIRST, SECOND, THIRD],
    "line-feeds": [FIRST, SECOND, THIRD],
    "twice": [FIRST, SECOND, SECOND, THIRD],
    "none": [FIRST, THIRD],
    "one-byte": [FIRST, b"\x2a", THIRD],
}
LINK_ENDS = {
    "gzip": [FIRST],
    "no-length": [FIRST],
    "no-length-then-close": [FIRST],
    "no-field": [FIRST],
    "closes": [FIRST, SECOND],
    "close-in-head": [FIRST],
    "close-in-body": [FIRST],
    "close-in-chunk": [FIRST],
    "close": [FIRST],
    "reset": [FIRST],
    "length-and-chunked": [FIRST],
    "not-http": [FIRST],
    "cut-short": [FIRST],
}


def test_every_fault_is_here() -> None:
    """What a simulator can spoil, this module tests."""
    assert {*LINK_GOES_ON, *LINK_ENDS} == set(FAULTS)


@pytest.mark.parametrize(("fault", "delivered"), LINK_GOES_ON.items(), ids=LINK_GOES_ON)
def test_faults_that_a_link_survives(fault: str, delivered: list[bytes]) -> None:
    """Of three answers the second is spoiled; the third comes, and nothing that is no datagram of the PLC."""
    with connected(TecorouteSimulator(faults={2: fault}, delay=0.02)) as connector:
        for datagram in (FIRST, SECOND, THIRD):
            connector.send(datagram)
        assert [connector.receive(PATIENCE) for _ in delivered] == delivered
        assert connector.connected
        with pytest.raises(cnx.TimedOut):
            connector.receive(0)


@pytest.mark.parametrize(("fault", "delivered"), LINK_ENDS.items(), ids=LINK_ENDS)
def test_faults_that_end_a_link(fault: str, delivered: list[bytes]) -> None:
    """Of three answers the second is spoiled beyond repair; what came before is delivered, then comes the error."""
    with connected(TecorouteSimulator(faults={2: fault}, delay=0.02)) as connector:
        for datagram in (FIRST, SECOND, THIRD):
            connector.send(datagram)
        assert [connector.receive(PATIENCE) for _ in delivered] == delivered
        with pytest.raises(ConnectorConnectionError):
            connector.receive(PATIENCE)
        assert not connector.connected
