"""One signal to plain subscribers, by ``dispatcher.send`` and by an emitter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter

from pydispatch import dispatcher

from cnx.signals import Emitter
from tests.benchmarks.harness import Case, Target, case
from tests.benchmarks.measuring import SIGNALS

SIGNAL = SIGNALS.DATA_RECEIVED


class Sender:
    """Whose signal it is."""


@case("emit")
def emit() -> Iterator[Case]:
    """To one, to ten, and to none."""
    for count, must, aim in ((1, 0.13, 0.10), (10, 0.06, 0.05), (0, 0.18, 0.14)):
        sender = Sender()
        handlers = [_handler() for _ in range(count)]
        for handler in handlers:
            dispatcher.connect(handler, signal=SIGNAL, sender=sender)
        emitter = Emitter(sender, SIGNAL, "data")
        made = Case(f"emit to {count}", "ns", slices=5)
        made.way("dispatcher.send", partial(_each, partial(dispatcher.send, SIGNAL, sender, data=b"")))
        made.way("cnx", partial(_each, partial(emitter.emit, b"")), Target(must, aim, upper=True))
        yield made


def _handler() -> Callable[[bytes], None]:
    def on_data(data: bytes) -> None:
        pass

    return on_data


def _each(once: Callable[[], object]) -> float:
    began = perf_counter()
    for _ in range(5_000):
        once()
    return (perf_counter() - began) / 5_000 * 1e9
