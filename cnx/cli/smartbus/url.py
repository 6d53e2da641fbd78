"""SmartBus clients by URL: ``smartbus://user@host:8089/?unit=20&client=1&type=9``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TextIO
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import click

from cnx.clients.smartbus import SmartBusClient

__all__ = ["client_at"]

PASSWORD = "SMARTBUS_PASSWORD"
"""The environment variable with the password."""
TYPE = 9
"""The client type of a URL without one; the first number for applications."""


def client_at(url: str, password_file: TextIO | None) -> SmartBusClient:
    """Return a client that is not connected; raises ``click.UsageError``."""
    try:
        parts = urlsplit(url)
        settings = checked_parts(parts) | checked_query(parts.query)
        return SmartBusClient(**settings, password=find_password(settings["user"], password_file))
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"--url {url.partition('?')[0]!r}: {error}") from error


def checked_parts(parts: SplitResult) -> dict[str, Any]:
    """Return host, port and user as arguments of the client; raises ValueError."""
    if parts.scheme != "smartbus":
        raise ValueError(f"the scheme must be smartbus, not {parts.scheme!r}")
    if parts.password is not None:
        # Not a ValueError, as the message for that shows the URL, and with it the password.
        raise click.UsageError(f"a password in a URL can be seen by everybody; use --password-file or {PASSWORD}")
    if not parts.hostname or not parts.port:
        raise ValueError("the host or the port is missing: smartbus://user@host:8089/?unit=20")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("the URL must not have a path or a fragment")
    return {"host": parts.hostname, "port": parts.port, "user": unquote(parts.username or "")}


def checked_query(query: str) -> dict[str, Any]:
    """Return the options in the query as arguments of the client; raises ValueError."""
    known: dict[str, tuple[str, Callable[[str], Any]]] = {
        "unit": ("unit_id", number),
        "client": ("client_id", number),
        "type": ("client_type", number),
        "backup": ("backup", address),
        "info": ("info", str),
        "encoding": ("encoding", str),
    }
    given: set[str] = set()
    settings: dict[str, Any] = {"client_id": 0, "client_type": TYPE}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if name in given:
            raise ValueError(f"the option {name} is given twice")
        if name not in known:
            raise ValueError(f"unknown option {name}; the options are {', '.join(known)}")
        given.add(name)
        argument, convert = known[name]
        settings[argument] = convert(value)
    if "unit_id" not in settings:
        raise ValueError("the unit id of this client is missing: ?unit=20, from 16 to 47")
    return settings


def number(text: str) -> int:
    """Return ``text`` as a number; raises ValueError."""
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f"unit, client and type must be numbers, not {text!r}")
    return int(text)


def address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def find_password(user: str, file: TextIO | None) -> str:
    """Return the password from a file, the environment or the terminal; empty without a user."""
    if file is not None:
        return file.read().removesuffix("\n").removesuffix("\r")
    if PASSWORD in os.environ or not user or not sys.stdin.isatty():
        return os.environ.get(PASSWORD, "")
    return str(click.prompt("Password", hide_input=True, default="", show_default=False, err=True))
