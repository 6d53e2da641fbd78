"""What a connector counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics", "UdpStatistics"]


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

    def count_sent(self, keepalive: bool) -> None:
        """Count a request that was sent."""
        if keepalive:
            self.keepalives += 1
        else:
            self.sent += 1


@dataclass
class UdpStatistics:
    """What a UDP connector did so far.

    Attributes:
        received: datagrams from programs.
        forwarded: those that were sent to the PLC.
        answered: answers that went back.
        refused: datagrams from addresses that are not allowed.
        expired: datagrams that could not be forwarded soon enough.
        overflowed: datagrams for which there was no room while the tunnel was down.
        lost: datagrams that were being forwarded when the tunnel broke.
        undelivered: answers that the system did not take.
        unmatched: datagrams from the PLC that nobody had asked for.
    """

    received: int = 0
    forwarded: int = 0
    answered: int = 0
    refused: int = 0
    expired: int = 0
    overflowed: int = 0
    lost: int = 0
    undelivered: int = 0
    unmatched: int = 0
