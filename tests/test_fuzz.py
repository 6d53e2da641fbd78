"""Every parser takes any bytes: it keeps its promises, and little memory; ``python -m tests.fuzz`` looks further."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.cases import FOUND, SEEDS
from tests.fuzz.targets import TARGETS


def mutations(name: str) -> st.SearchStrategy[bytes]:
    """Return valid bytes with something replaced, and bytes without any sense."""
    seeds = SEEDS.get(name, [b""])
    places = st.tuples(st.sampled_from(seeds), st.integers(0, 100), st.integers(0, 20), st.binary(max_size=20))
    return st.one_of(
        st.binary(max_size=200),
        places.map(lambda drawn: drawn[0][: drawn[1]] + drawn[3] + drawn[0][drawn[1] + drawn[2] :]),
    )


@pytest.mark.parametrize("name", TARGETS)
def test_anything(name: str) -> None:
    """Only the errors that are promised leave, and messages do not depend on how the bytes are cut."""

    @settings(deadline=None, max_examples=100)
    @given(mutations(name))
    def feed(data: bytes) -> None:
        TARGETS[name](data)

    feed()


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, found in FOUND.items() for data in found])
def test_found(name: str, data: bytes) -> None:
    """What was found once stays mended."""
    TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"urls"}))
def test_memory(name: str) -> None:
    """Sizes that the bytes only claim take no memory."""
    for head in (b"", *SEEDS.get(name, [])):
        data = head + b"\xff\x7f" * 500
        tracemalloc.start()
        try:
            TARGETS[name](data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20
