"""``cnx doctor URL``"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO
from urllib.parse import parse_qs, unquote, urlsplit

import click

from cnx.cli.console import clean_exit, echo, insecure_option, open_url
from cnx.cli.smartbus.url import client_at
from cnx.cli.tecoroute import find_password
from cnx.clients.tecoroute import Connector
from cnx.doctor import Finding, examine, examine_client

__all__ = ["doctor"]

MARKS = {True: ("ok", "green"), None: ("note", "yellow"), False: ("FAILED", "red")}


@click.command()
@click.argument("url")
@click.option(
    "--timeout", default=5.0, show_default=True, type=click.FloatRange(0.01, 3600), help="Seconds for each step."
)
@click.option(
    "--patience",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds to wait for first bytes.",
)
@click.option("--send", default="", help=r'Send this, with escapes such as "\r\n", and wait for an answer.')
@click.option(
    "--password-file", type=click.File(encoding="utf-8"), help="File with the password for a login; - for stdin."
)
@insecure_option
def doctor(url: str, timeout: float, patience: float, send: str, password_file: TextIO | None, insecure: bool) -> None:
    """Find out what is wrong with URL, step by step.

    The steps are name, addresses, TLS, certificate, first bytes, and a round trip with --send. For a smartbus or
    tecoroute URL, a login replaces the last two. The password comes from --password-file, the environment variable
    SMARTBUS_PASSWORD or TECOROUTE_PASSWORD, or a prompt.

    The exit code is 1 if the device cannot be reached or a step failed.

    \b
    cnx doctor tls://device.example:4443
    cnx doctor tcp://127.0.0.1:5025 --send '*IDN?\\n'
    cnx doctor 'smartbus://user@bus.example:8089/?unit=20'
    cnx doctor tecoroute://user@route.tecomat.com:61682/AB_1234
    """
    scheme = urlsplit(url).scheme
    if send and scheme in ("smartbus", "tecoroute"):
        raise click.BadParameter(f"a {scheme} server is asked by a login, not by bytes", param_hint="--send")
    if password_file is not None and scheme not in ("smartbus", "tecoroute"):
        raise click.BadParameter("only smartbus and tecoroute have a login", param_hint="--password-file")
    if insecure and scheme in ("smartbus", "tecoroute"):
        raise click.BadParameter(f"{scheme} has no certificate", param_hint="--insecure")
    with clean_exit():
        if scheme == "smartbus":
            steps = smartbus_steps(url, password_file, timeout)
        elif scheme == "tecoroute":
            steps = tecoroute_steps(url, password_file, timeout)
        else:
            steps = examine(open_url(url, insecure), timeout=timeout, patience=patience, request=unescaped(send))
        findings = []
        for finding in steps:
            show(finding)
            findings.append(finding)
    failed = [finding for finding in findings if finding.good is False]
    reached = any(finding.step == "address" and finding.good for finding in findings)
    if any(finding.step != "address" for finding in failed) or (failed and not reached):
        raise click.exceptions.Exit(1)


def unescaped(text: str) -> bytes:
    """Return text with escapes as bytes."""
    try:
        return text.encode().decode("unicode_escape").encode("latin-1")
    except UnicodeError as error:
        raise click.BadParameter(str(error), param_hint="--send") from error


def smartbus_steps(url: str, password_file: TextIO | None, timeout: float) -> Iterator[Finding]:
    """Examine one server or both, and register."""
    client = client_at(url, password_file)
    parts = urlsplit(url)
    servers = [parts.netloc.rpartition("@")[2], *parse_qs(parts.query).get("backup", [])]
    return examine_client(client, [open_url(f"tcp://{server}") for server in servers], timeout=timeout)


def tecoroute_steps(url: str, password_file: TextIO | None, timeout: float) -> Iterator[Finding]:
    """Examine the service, and log in to a PLC."""
    parts = urlsplit(url)
    if parts.password is not None:  # the message must not repeat it
        raise click.UsageError("other users can see a password in a URL; use --password-file")
    try:
        host, port = parts.hostname, parts.port or 61682
        if not host or not parts.username or len(parts.path) < 2 or parts.query or parts.fragment:
            raise ValueError("it is tecoroute://USER@HOST:PORT/PLC")
        client = Connector(
            *(unquote(parts.username), find_password(None, password_file), unquote(parts.path[1:])),
            tecoroute_host=host,
            tecoroute_port=port,
        )
    except ValueError as error:
        raise click.UsageError(f"{url!r}: {error}") from error
    where = f"[{host}]" if ":" in host else host
    return examine_client(client, [open_url(f"tcp://{where}:{port}")], timeout=timeout)


def show(finding: Finding) -> None:
    """Print a finding with its advice."""
    mark, colour = MARKS[finding.good]
    echo(f"{mark:6}", fg=colour, bold=True, nl=False)
    echo(f"  {finding.step:11} {finding.seconds * 1000:8.1f} ms  {finding.verdict}")
    if finding.advice:
        echo(f"{'':33}{finding.advice}")
