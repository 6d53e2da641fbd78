"""``cnx doctor URL``"""

from __future__ import annotations

import click

from cnx.cli.console import clean_exit, open_url
from cnx.doctor import Finding, examine

__all__ = ["doctor"]

MARKS = {True: ("ok", "green"), None: ("note", "yellow"), False: ("FAILED", "red")}


@click.command()
@click.argument("url")
@click.option(
    "--timeout", default=5.0, show_default=True, type=click.FloatRange(0.01, 3600), help="Seconds for a step."
)
@click.option(
    "--patience", default=1.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds for first bytes."
)
@click.option("--send", default="", help=r'Send this, with escapes such as "\r\n", and wait for an answer.')
def doctor(url: str, timeout: float, patience: float, send: str) -> None:
    r"""Find out what is wrong with URL, step by step: name, addresses, TLS, certificate, first bytes, round trip.

    The exit code is 1 if there is no way to the device, or a step on it failed.

    \b
    cnx doctor tls://device.example:4443
    cnx doctor tcp://127.0.0.1:5025 --send '*IDN?\n'
    """
    try:
        request = send.encode().decode("unicode_escape").encode("latin-1")
    except UnicodeError as error:
        raise click.BadParameter(str(error), param_hint="--send") from error
    with clean_exit():
        findings = []
        for finding in examine(open_url(url), timeout=timeout, patience=patience, request=request):
            show(finding)
            findings.append(finding)
    failed = [finding for finding in findings if finding.good is False]
    reached = any(finding.step == "address" and finding.good for finding in findings)
    if any(finding.step != "address" for finding in failed) or (failed and not reached):
        raise click.exceptions.Exit(1)


def show(finding: Finding) -> None:
    """Print a finding, and the advice below it."""
    mark, colour = MARKS[finding.good]
    click.secho(f"{mark:6}", fg=colour, bold=True, nl=False)
    click.echo(f"  {finding.step:11} {finding.seconds * 1000:8.1f} ms  {finding.verdict}")
    if finding.advice:
        click.echo(f"{'':33}{finding.advice}")
