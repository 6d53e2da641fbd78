"""What all tests share."""

from __future__ import annotations

import pytest

from cnx.testing import NewThreads


@pytest.fixture(autouse=True)
def new_threads(no_leaks: None) -> NewThreads:
    """The threads started since the beginning of the test; and every test has to end them, and close its descriptors.

    It is made before all other fixtures of a test, so that the threads of these count, too.
    """
    return NewThreads()
