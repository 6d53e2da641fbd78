"""Counters of connectors."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics", "UdpStatistics"]


@dataclass
class Statistics:
    """Counters of a connector, over all its links.

    Attributes:
        sent: datagrams to the PLC.
        received: datagrams from the PLC.
        keepalives: requests without data.
        keepalive_answers: answers to those.
        errors: answers with an HTTP status other than 200.
        empty: answers without data, to requests with data.
        late: answers that arrived after their request was given up.
        dropped: datagrams from the PLC that were not received.
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
    """Counters of a UDP connector.

    Attributes:
        received: datagrams from programs.
        forwarded: datagrams sent to the PLC.
        answered: answers sent back to programs.
        refused: datagrams from addresses that are not allowed.
        expired: datagrams that could not be forwarded in time.
        overflowed: datagrams dropped because too many were held while the tunnel was down.
        lost: datagrams that were being forwarded when the tunnel broke.
        undelivered: answers that the system refused to send.
        unmatched: datagrams from the PLC that answer no request.
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
