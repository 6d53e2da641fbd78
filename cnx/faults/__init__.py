"""Fault injection: let simulators and proxies misbehave, reproducibly for the same seed.

::

    with faults(simulator, delay(0.05, jitter=0.02), split(1), seed=7) as plan:
        ...
    print(plan.trace)

Faults are frozen values that can be compared, combined and written as text (:func:`parse`). They only decide which
steps to take, so they can be tested without a link; ``cnx.simulation`` carries the steps out.
"""

from __future__ import annotations

from cnx.faults.fault import Ending, Fault, StreamFault
from cnx.faults.links import (
    accept_close,
    half_open,
    hang_tls,
    refuse,
    reset,
    slow_accept,
    unplug,
    wrong_certificate,
)
from cnx.faults.plan import Plan, TraceEntry, faults
from cnx.faults.stream import (
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    garbage,
    huge_frame,
    merge,
    split,
    truncate,
)
from cnx.faults.text import KINDS, parse

__all__ = [
    "KINDS",
    "Ending",
    "Fault",
    "Plan",
    "StreamFault",
    "TraceEntry",
    "accept_close",
    "bandwidth",
    "corrupt",
    "delay",
    "drop",
    "duplicate",
    "faults",
    "garbage",
    "half_open",
    "hang_tls",
    "huge_frame",
    "merge",
    "parse",
    "refuse",
    "reset",
    "slow_accept",
    "split",
    "truncate",
    "unplug",
    "wrong_certificate",
]
