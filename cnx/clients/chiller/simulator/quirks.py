"""How simulated chillers differ from each other and from the document.

"TTK Serial Communication Protocol Release II", revision X2.003, has no limits for settings and no factory
values. The values here are choices, within the range that users of a T257P have configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FACTORY_THRESHOLDS", "LIMITS", "T257P", "Quirks"]

FACTORY_THRESHOLDS: dict[int, float] = {
    21: 50.0, 22: 5.0, 23: 40.0, 24: 5.0, 25: 0.5, 26: 52.0, 27: 2.0, 28: 45.0, 29: 2.0, 30: 0.3,
}  # fmt: skip
"""Thresholds by the number of the command that sets them."""

LIMITS: dict[int, tuple[float, float]] = {
    17: (-5.0, 45.0),
    **dict.fromkeys((21, 22, 26, 27), (-7.0, 55.0)),
    **dict.fromkeys((23, 24, 28, 29), (0.0, 50.0)),
    **dict.fromkeys((25, 30), (0.1, 20.0)),
}
"""Lowest and highest accepted value by number of the command; the document has none."""


@dataclass(frozen=True)
class Quirks:
    """How a unit differs from the document.

    Attributes:
        rejects_briefly: answers ``#23`` instead of error 3, and to number 16.
        not_fitted: numbers of commands that are answered with error 5.
        stuck: numbers of commands whose value never changes, and that value.
        echoes_refused: error replies repeat the data of the command.
        lower_case: checksums of replies are in lower case.
        long_warnings: the reply to number 20 has eight digits instead of four.
        capital_names: names in replies have a capital I where the document prints one.
        flow_control: sends XOFF and XON before and within each reply.
        reading_resets: number 18 clears level 1.
        mode_mismatch: clearing an alarm before the front panel has seen it locks the unit until a power cycle.
    """

    rejects_briefly: bool = False
    not_fitted: frozenset[int] = frozenset()
    stuck: Mapping[int, tuple[Any, ...]] = field(default_factory=dict)
    echoes_refused: bool = False
    lower_case: bool = False
    long_warnings: bool = False
    capital_names: bool = False
    flow_control: bool = False
    reading_resets: bool = True
    mode_mismatch: bool = True


T257P = Quirks(rejects_briefly=True, stuck={7: (12.3,), 9: (1.9,), 50: (0,), 51: (0,), 52: (0,), 53: (0,)})
"""As seen by users of a T257P: no number 16, and a return temperature, flow and fan speeds that never change."""
