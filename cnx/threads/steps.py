"""Run steps that must all be made, such as those of the end of a link, whatever one of them raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cnx.threads.hook import report_error

__all__ = ["run_each"]


def run_each(subject: Callable[[], str], steps: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Run all steps in their order, also after one has raised something.

    Exceptions are reported when all steps are done, as that may fail, too. Anything else, such as ``SystemExit`` of a
    handler or ``KeyboardInterrupt``, is raised at the end.

    Args:
        subject: names what the steps are about, for the log.
        steps: functions, each with what it does.
    """
    left = iter(tuple(steps))
    failures: list[tuple[str, Exception]] = []
    interrupt: BaseException | None = None
    doing = ""
    while True:
        try:  # around the loop, as an interrupt may also come between two steps
            for what, step in left:
                doing = what
                step()
            break
        except Exception as error:
            failures.append((doing, error))
        except BaseException as error:
            interrupt = interrupt or error
    try:
        for doing, failure in failures:
            report_error(failure, f"{subject()}: {doing} failed")
    finally:
        if interrupt is not None:
            raise interrupt
