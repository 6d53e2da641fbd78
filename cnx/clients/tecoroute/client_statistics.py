"""What a connector counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass
class Statistics:
    """What a connector did so far, over all its links.

    Attributes:
        sent: datagrams to the PLC.
        received: datagrams from the PLC.
        keepalives: requests that only kept the session alive.
        keepalive_answers: answers to those.
        errors: answers that were an error of the service.
        empty: answers without data, to requests with data.
        late: answers to requests that nobody waited for any more.
        dropped: datagrams that nobody received.
    """

    sent: int = 0
    received: int = 0
    keepalives: int = 0
    keepalive_answers: int = 0
    errors: int = 0
    empty: int = 0
    late: int = 0
    dropped: int = 0
