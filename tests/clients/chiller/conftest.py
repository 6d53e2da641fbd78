"""Simulated chillers that the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cnx.clients.chiller.simulator import ChillerSimulator
from tests.helpers.chiller_bench import Clock
from tests.helpers.chiller_scripted import ScriptedLine


@pytest.fixture
def simulator() -> Iterator[ChillerSimulator]:
    """A running simulator of unit 1, whose time stands still."""
    with ChillerSimulator(clock=Clock()) as running:
        yield running


@pytest.fixture
def line() -> Iterator[ScriptedLine]:
    """A running line with a script."""
    with ScriptedLine() as running:
        yield running
