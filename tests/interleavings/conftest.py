"""The fixture that explores a scenario, and prints how many interleavings it has."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from tests.helpers.interleavings import LINK
from tests.helpers.interleavings import explore as explore_all

__all__ = ["Explore"]

Explore = Callable[..., None]


@pytest.fixture
def explore(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Explore:
    """Explore a scenario; fail if an interleaving breaks it, or if there are too many."""
    pytest.importorskip("frontrun", reason="the extra 'interleavings' is not installed")

    def explore(name: str, setup: Any, *workers: Any, holds: Any, among: str = LINK, preemptions: int = 2) -> None:
        bound = int(os.environ.get("CNX_PREEMPTIONS", preemptions))
        began = monotonic()
        found = explore_all(setup, *workers, holds=holds, among=among, preemptions=bound)
        what = "complete" if found.complete else "NOT COMPLETE"
        with capsys.disabled():
            print(
                f"\n  {name:45} {found.interleavings:6} with {bound} preemptions, {what}, {monotonic() - began:.0f} s",
                end=" ",
            )
        assert found.complete, found.failure or f"more than {found.interleavings} interleavings"

    return explore
