"""What all tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> None:
    """Every test has to end all its threads and close all its descriptors."""
    request.getfixturevalue("no_leaks")
