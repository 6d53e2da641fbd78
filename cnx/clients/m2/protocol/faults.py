"""The bits of ``summaryFaultsStatus`` and ``enabledFaultsMask``.

Sources: the list of error codes ``error_code.tsv`` in ``ts_config_mttcs`` (MTM2/v2), and ``ts_m2com`` 1.5.16 (Rubin
Observatory).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DEFAULT_FAULTS_MASK", "FAULTS", "Fault", "faults_in"]

DEFAULT_FAULTS_MASK = 0xFF800007FFFFFFFF
"""``enabledFaultsMask`` after a start of the controller."""


@dataclass(frozen=True)
class Fault:
    """One bit of ``summaryFaultsStatus``.

    Attributes:
        bit: its number, 0 to 63.
        code: the error code, 6051 to 6088.
        warning: whether it is a warning only, which does not stop the mirror.
        meaning: in words; empty if it is not known here.
    """

    bit: int
    code: int
    warning: bool = False
    meaning: str = ""

    @property
    def mask(self) -> int:
        """The value of the bit."""
        return 1 << self.bit


_FAULTS = (
    Fault(3, 6051, meaning="an inner-loop controller of an actuator cannot be read"),
    Fault(4, 6055, meaning="excessive force"),
    Fault(5, 6057, True, "limit switch in open loop"),
    Fault(6, 6056, meaning="limit switch in closed loop"),
    Fault(7, 6058),
    Fault(8, 6059, True),
    Fault(9, 6061),
    Fault(10, 6062, True),
    Fault(11, 6063),
    Fault(12, 6064, True),
    Fault(13, 6065),
    Fault(14, 6066),
    Fault(15, 6067),
    Fault(16, 6068),
    Fault(17, 6069),
    Fault(18, 6070),
    Fault(19, 6071, True),
    Fault(20, 6072),
    Fault(21, 6078, True),
    Fault(22, 6079),
    Fault(23, 6080),
    Fault(24, 6081, True, "a temperature sensor of the mirror is out of range"),
    Fault(25, 6082, True),
    Fault(26, 6083),
    Fault(27, 6084),
    Fault(32, 6088, meaning="load cell of a tangent link"),
    Fault(33, 6060, meaning="the inclinometers differ"),
    Fault(34, 6052, True, "a monitoring inner-loop controller cannot be read"),
    Fault(55, 6077),
    Fault(56, 6054, meaning="an inner-loop controller did not change its state"),
    Fault(57, 6053, meaning="communication with the real-time controller was lost"),
    Fault(58, 6086, True),
    Fault(59, 6085),
    Fault(60, 6075, True),
    Fault(61, 6073),
    Fault(62, 6074, True),
    Fault(63, 6087, meaning="emergency stop by a person"),
)

FAULTS: Mapping[int, Fault] = MappingProxyType({fault.code: fault for fault in _FAULTS})
"""All faults and warnings by code. Bits that are not here have no meaning."""


def faults_in(status: int) -> list[Fault]:
    """Return the faults and warnings whose bits are set in ``status``, in the order of the bits."""
    return [fault for fault in _FAULTS if status & fault.mask]
