"""Faults as values and as texts."""

from __future__ import annotations

import dataclasses

import pytest

from cnx import faults as kinds
from cnx.faults import KINDS, Fault, Plan, corrupt, delay, half_open, parse, split, unplug


class TestValues:
    """Faults as values and as texts."""

    @pytest.mark.parametrize("name", sorted(KINDS))
    def test_round_trip_of_the_text(self, name: str) -> None:
        """Every fault has a text, which gives the same value; the bare name gives the defaults."""
        assert parse(name) == KINDS[name]() == parse(str(KINDS[name]()))

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("delay=0.05,jitter=0.02", delay(0.05, jitter=0.02)),
            ("delay,jitter=1,direction=both", delay(jitter=1.0, direction="both")),
            (" split = 2 , direction = in ", split(2, direction="in")),
            ("half_open=3", half_open(after=3.0)),
            ("unplug=1,seconds=2", unplug(1.0, 2.0)),
            ("corrupt=1e-3", corrupt(0.001)),
        ],
    )
    def test_texts(self, text: str, fault: Fault) -> None:
        """A text names the fault, perhaps its first option, and others."""
        assert parse(text) == fault == parse(str(fault))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "unknown fault ''"),
            ("deley=1", "the faults are accept_close, .*delay"),
            ("delay=x", "seconds must be a number, not 'x'"),
            ("split=1.5", "size must be a number"),
            ("delay=1,speed=2", "option 'speed'.* delay has seconds, jitter, direction"),
            ("delay=1,seconds=2", "repeated option"),
            ("delay=-1", "seconds of delay must be between 0"),
            ("drop=2", "probability of drop must be between 0 and 1"),
            ("split=0", "size of split must be between 1"),
            ("split,direction=up", "in, out or both"),
            ("wrong_certificate=x", "unknown fault"),
        ],
    )
    def test_bad_texts(self, text: str, message: str) -> None:
        """The error for a bad text says what is wrong and what would be right."""
        with pytest.raises(ValueError, match=message):
            parse(text)

    def test_bad_options(self) -> None:
        """Options of the wrong type or out of range are refused when the value is made."""
        for wrong in ("1", None, True):
            with pytest.raises(TypeError, match="seconds of delay must be a number"):
                delay(wrong)
        with pytest.raises(TypeError, match="whole number"):
            split(1.5)
        with pytest.raises(ValueError, match="nan"):
            delay(float("nan"))

    def test_frozen(self) -> None:
        """Faults are values: equal, hashable, not changeable."""
        assert len({delay(1.0), delay(1.0), delay(2.0)}) == 2
        with pytest.raises(dataclasses.FrozenInstanceError):
            delay(1.0).seconds = 2.0

    def test_everything_is_public(self) -> None:
        """Every fault with a text can be imported from the package."""
        assert set(KINDS) <= set(kinds.__all__)

    def test_only_faults(self) -> None:
        """A plan of other things is refused."""
        with pytest.raises(TypeError, match=r"faults must be of cnx\.faults, not 'delay'"):
            Plan(["delay"])
