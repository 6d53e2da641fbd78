"""Tests of the error tree: one root, builtins beside it, and copies that keep everything."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re

import pytest

import cnx
from cnx import errors
from cnx.errors import (
    AccessDenied,
    Cancelled,
    CnxError,
    ConnectError,
    ConnectionLost,
    DeviceError,
    EncodingError,
    IncompleteRead,
    InvalidJson,
    LimitExceeded,
    NotConnected,
    PeerClosed,
    ProtocolError,
    TimedOut,
    TornDown,
    as_failure,
    fresh,
    with_text,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]

BUILTINS = {
    ConnectError: ConnectionError,
    AccessDenied: ConnectionError,
    NotConnected: ConnectionError,
    ConnectionLost: ConnectionError,
    PeerClosed: ConnectionError,
    IncompleteRead: EOFError,
    Cancelled: ConnectionError,
    TornDown: RuntimeError,
    TimedOut: TimeoutError,
    LimitExceeded: ValueError,
    EncodingError: UnicodeError,
    ProtocolError: ValueError,
    InvalidJson: ValueError,
}


def test_every_error_is_of_one_tree_and_public() -> None:
    """So that ``except CnxError`` catches them all."""
    defined = {thing for thing in vars(errors).values() if inspect.isclass(thing) and thing.__module__ == "cnx.errors"}
    assert set(CLASSES) == defined
    assert all(issubclass(kind, CnxError) for kind in CLASSES)
    assert all(getattr(cnx, kind.__name__) is kind for kind in CLASSES)


@pytest.mark.parametrize(("kind", "builtin"), BUILTINS.items(), ids=lambda kind: kind.__name__)
def test_errors_are_the_builtins_beside_them(kind: type[CnxError], builtin: type[Exception]) -> None:
    """A program that knows nothing of cnx can catch them."""
    assert issubclass(kind, builtin)


def test_the_drawing_of_the_tree_is_right() -> None:
    """Every class stands in it once, under its parent, beside its builtin."""
    drawn = re.findall(
        r"^(\W*)(\w+)(?: \.+)?(?: +(\w+(?:Error))\b)?", errors.__doc__.partition("::\n\n")[2], re.MULTILINE
    )
    path: list[type] = []
    seen = []
    for indent, name, builtin in drawn:
        kind = getattr(errors, name, None)
        if kind is None:
            break
        depth = max(0, (len(indent) - 4) // 4)
        path[depth:] = [kind]
        seen.append(kind)
        if depth:
            assert path[depth - 1] in kind.__bases__, name
        if builtin:
            assert issubclass(kind, getattr(builtins, builtin)), name
    assert sorted(seen, key=str) == sorted(CLASSES, key=str)


MADE = [
    *(kind("what, where, why") for kind in CLASSES if kind not in (IncompleteRead, InvalidJson)),
    IncompleteRead("ended", b"par", 10),
    InvalidJson("not JSON", "{"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"]
)
def test_errors_can_be_copied_and_sent_to_another_process(error: CnxError, duplicate: object) -> None:
    """With their text and what they carry."""
    again = duplicate(error)  # type: ignore[operator]
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_errors_carry() -> None:
    """Beside the text."""
    incomplete = IncompleteRead("ended", b"par", 10)
    assert (incomplete.partial, incomplete.expected) == (b"par", 10)
    assert IncompleteRead("ended", b"par").expected is None
    assert InvalidJson("not JSON", "{").text == "{"


def test_which_errors_make_retrying_pointless() -> None:
    """A refusal by the peer; one error may be told from others of its kind."""
    assert AccessDenied("wrong password").fatal
    assert not ConnectError("refused").fatal
    assert ConnectError("busy").retry_after is None


def test_errors_of_a_device_are_no_errors_of_the_link() -> None:
    """Who recovers links must not take them for losses."""
    assert not issubclass(DeviceError, (ConnectionError, OSError, ValueError))
    assert not issubclass(ProtocolError, OSError)


class Wordless(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Demanding(Exception):
    """An exception that cannot be copied."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("stored", [*MADE, ValueError("wrong"), OSError(2, "No such file")], ids=repr)
def test_stored_error_is_raised_anew(stored: Exception) -> None:
    """The new one is of the same kind, and the old one is its cause and stays as it is."""
    for _ in range(3):
        with pytest.raises(type(stored)) as caught:
            raise fresh(stored)
        assert caught.value is not stored
        assert caught.value.__cause__ is stored
        assert str(caught.value) == str(stored)
    assert stored.__traceback__ is None


@pytest.mark.parametrize("stored", [Demanding(1, 2), Wordless()], ids=["demanding", "wordless"])
def test_stored_error_that_cannot_be_copied(stored: Exception) -> None:
    """It is the cause of a general one, or of one of its kind."""
    again = fresh(stored)
    assert isinstance(again, (ConnectError, Wordless))
    assert again.__cause__ is stored


def test_every_reason_has_a_text() -> None:
    """One that has none is replaced; it stays as the cause."""
    lost = ConnectionLost("gone")
    assert with_text(lost) is lost
    wordless = Wordless()
    replaced = with_text(wordless)
    assert "Wordless" in str(replaced)
    assert replaced.__cause__ is wordless


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        (OSError(113, "No route to host"), ConnectError, "cannot connect to here: No route to host"),
        (TimeoutError("too slow"), TimedOut, "cannot connect to here: too slow"),
        (AccessDenied("wrong password"), AccessDenied, "wrong password"),
        (KeyError("x"), ConnectError, "the attempt ended by an alarm: KeyError: 'x'"),
    ],
)
def test_failure_of_an_attempt_is_an_error_of_cnx(reason: Exception, kind: type[CnxError], text: str) -> None:
    """Whatever it was, which is its cause."""
    failure = as_failure(reason, "here")
    assert type(failure) is kind
    assert str(failure) == text
    assert failure.__cause__ is reason
