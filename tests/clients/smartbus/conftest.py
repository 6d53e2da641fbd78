"""What the tests of the SmartBus share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.smartbus_office import RecordingServer


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """A bus server that lets everybody in."""
    with RecordingServer() as running:
        running.listen_tcp()
        yield running


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls that wait while the test plays the server."""
    with ThreadPoolExecutor() as executor:
        yield executor
