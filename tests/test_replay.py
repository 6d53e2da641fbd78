"""Playing a recording back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cnx.faults import faults, split
from cnx.recording.recorder import Record
from cnx.replay import Difference, Replay
from cnx.testing import eventually
from tests.helpers.bare_clients import Client, dial

TALK = [
    Record(0.0, "*", text="opened"),
    Record(0.1, "<", b"HELLO\n", 6),
    Record(0.2, ">", b"*ID", 3),
    Record(0.2, ">", b"N?\n", 3),
    Record(0.3, "<", b"ACME\n", 5),
    Record(0.4, "*", text="disconnected: the end"),
    Record(9.0, "*", text="opened"),
    Record(9.1, ">", b"BYE\n", 4),
    Record(9.2, "<", b"bye\n", 4),
]


@contextmanager
def playing(speed: float = math.inf, patience: float = 10.0) -> Iterator[tuple[Replay, Client]]:
    """Give a player of the talk, and its first client."""
    with Replay(TALK, speed=speed, patience=patience) as replay, dial(replay.listen_tcp()) as client:
        yield replay, client


def test_the_peer_answers_as_it_did() -> None:
    """Answers come in the recorded order, and each client meets the next link, after the last one the first."""
    with playing() as (replay, client):
        assert client.receive_exactly(6) == b"HELLO\n"
        client.send(b"*IDN?\n")
        assert client.receive_all() == b"ACME\n"
        with dial(replay.urls[0]) as second:
            second.send(b"BYE\n")
            assert second.receive_exactly(4) == b"bye\n"
        with dial(replay.urls[0]) as third:
            assert third.receive_exactly(6) == b"HELLO\n"
            assert not replay.differences  # afterwards there is one: the third one left without a word


def test_pieces_do_not_matter() -> None:
    """A client whose bytes come one by one sends no difference."""
    with playing() as (replay, client), faults(replay, split(1, direction="in")):
        client.send(b"*IDN?\n")
        assert client.receive_all() == b"HELLO\nACME\n"
        assert not replay.differences


def test_another_request_is_told() -> None:
    """A difference tells where it is, what was expected and what came; the recording goes on."""
    with playing() as (replay, client):
        client.send(b"*RST!\n")
        assert client.receive_all() == b"HELLO\nACME\n"
        assert list(replay.differences) == [Difference(0, 1, b"IDN?\n", b"RST!\n")]
        assert str(replay.differences[0]) == r"client 0 sent b'RST!\n' instead of b'IDN?\n', after 1 bytes"


def test_silence_is_told() -> None:
    """A client that does not send what was recorded is answered after a while."""
    with playing(patience=0.05) as (replay, client):
        assert client.receive_all() == b"HELLO\nACME\n"
        assert list(replay.differences) == [Difference(0, 0, b"*IDN?\n", b"")]


def test_more_than_recorded_is_told() -> None:
    """What a client sends after the end of the recording is a difference, too."""
    with playing() as (replay, _), dial(replay.urls[0]) as second:
        second.send(b"BYE\nBYE\n")
        assert second.receive_exactly(4) == b"bye\n"
        assert eventually(lambda: Difference(1, 4, b"", b"BYE\n") in replay.differences)


def test_pauses() -> None:
    """The peer is as slow as the speed makes it: what took 0.1 s takes an hour here."""
    with Replay([Record(0, "*", text="a"), *TALK[1:]], speed=0.1 / 3600) as replay, dial(replay.listen_tcp()) as client:
        assert client.silent()


@pytest.mark.parametrize(
    ("records", "speed", "text"),
    [
        ([], 1.0, "no bytes"),
        (TALK[:1], 1.0, "no bytes"),
        ([Record(0, "<", b"x", 1000)], 1.0, "only 1 of 1000 bytes"),
        (TALK, 0.0, "speed"),
        (TALK, math.nan, "speed"),
    ],
)
def test_what_cannot_be_played(records: list[Record], speed: float, text: str) -> None:
    """A recording that is empty or was shortened is refused."""
    with pytest.raises(ValueError, match=text):
        Replay(records, speed=speed)
