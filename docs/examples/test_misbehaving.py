"""What the client makes of a device that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from thermometer import Thermometer
from thermometer_simulator import ThermometerSimulator

from cnx.faults import Fault, delay, faults, garbage, half_open, reset, split, truncate

GENTLE = [split(1), delay(0.001, jitter=0.001), split(3, direction="both")]
HARSH = [reset(), truncate(2), half_open()]


@pytest.fixture
def simulator() -> Iterator[ThermometerSimulator]:
    """Return a device."""
    with ThermometerSimulator() as simulator:
        simulator.listen_tcp()
        yield simulator


@pytest.fixture
def thermometer(simulator: ThermometerSimulator) -> Iterator[Thermometer]:
    """Return a client that is connected, and does not wait for long."""
    with Thermometer("127.0.0.1", urlsplit(simulator.urls[0]).port or 0) as thermometer:
        thermometer.timeout = 0.5
        yield thermometer


@pytest.mark.parametrize("fault", GENTLE, ids=str)
def test_pieces_and_pauses_do_not_matter(
    fault: Fault, simulator: ThermometerSimulator, thermometer: Thermometer
) -> None:
    """Replies that come slowly or in pieces are read as ever."""
    with faults(simulator, fault):
        assert thermometer.celsius() == 21.5


@pytest.mark.parametrize("fault", HARSH, ids=str)
def test_the_end_is_told(fault: Fault, simulator: ThermometerSimulator, thermometer: Thermometer) -> None:
    """A link that breaks, or falls silent, is an error and never a temperature."""
    with faults(simulator, fault), pytest.raises((ConnectionError, TimeoutError)):
        thermometer.celsius()


def test_noise_is_no_temperature(simulator: ThermometerSimulator, thermometer: Thermometer) -> None:
    """Noise before a reply is refused; the same seed makes the same noise."""
    with faults(simulator, garbage(), seed=7), pytest.raises(ValueError, match="could not convert"):
        thermometer.celsius()
