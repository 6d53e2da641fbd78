"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from cnx.testing import NewThreads


@pytest.fixture(autouse=True)
def new_threads(no_leaks: None) -> NewThreads:
    """The threads started since the beginning of the test; and every test has to end them, and close its descriptors.

    It is made before all other fixtures of a test, so that the threads of these count, too.
    """
    return NewThreads()


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Have the interpreter switch threads a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)
