"""What the tests of faults on real links share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.bare_clients import Client, dial
from tests.helpers.echo import Echo, answered


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A running simulator with a TCP port."""
    with Echo() as simulator:
        simulator.listen_tcp()
        yield simulator


@pytest.fixture
def client(echo: Echo) -> Iterator[Client]:
    """A client that has been served once."""
    with dial(echo.urls[0]) as client:
        assert answered(client)
        yield client
