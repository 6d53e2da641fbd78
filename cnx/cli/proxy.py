"""``cnx proxy LISTEN TARGET``"""

from __future__ import annotations

import click

from cnx.cli.console import clean_exit, echo
from cnx.cli.simulate import run_simulator
from cnx.faults import KINDS, Fault, faults, parse
from cnx.proxy import Proxy
from cnx.simulation import Session

__all__ = ["OutspokenProxy", "proxy"]


class OutspokenProxy(Proxy):
    """A proxy that prints when its server cannot be reached."""

    def on_unreachable(self, session: Session, error: Exception) -> None:
        """Print it, in addition to the log."""
        super().on_unreachable(session, error)
        echo(f"no server for the client {session.address}: {error}", err=True)


def parsed(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Fault, ...]:
    """Return the faults described by ``texts``."""
    try:
        return tuple(map(parse, texts))
    except (TypeError, ValueError) as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=f"Faults: {', '.join(sorted(KINDS))}.")
@click.argument("listen")
@click.argument("target")
@click.option("--fault", "chosen", callback=parsed, multiple=True, help="A fault: NAME=VALUE,OPTION=VALUE; repeatable.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same faults.")
def proxy(listen: str, target: str, chosen: tuple[Fault, ...], seed: int) -> None:
    """Pass on bytes between clients and the server TARGET, with faults, until interrupted.

    LISTEN is where clients connect; the address that they have to use is printed first.

    \b
    cnx proxy tcp://127.0.0.1:4002 tcp://192.168.0.10:4001 --fault delay=0.05,jitter=0.02 --fault split=1
    cnx proxy pty: 'serial:///dev/ttyUSB0?baudrate=9600' --fault corrupt=0.01 --seed 7
    """
    with clean_exit():
        try:
            between = OutspokenProxy(target)
            between.listen(listen)
        except (TypeError, ValueError) as error:
            raise click.UsageError(str(error)) from error
    with faults(between, *chosen, seed=seed):
        run_simulator(between)
