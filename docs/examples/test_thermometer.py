"""Tests of a client: a fake for each reply, a simulator for the whole."""

import socket
from urllib.parse import urlsplit

import pytest
from thermometer import Thermometer
from thermometer_simulator import ThermometerSimulator

from cnx import ConnectError, DeviceError
from cnx.testing import scripted_peer

HELLO = (b"*IDN?\n", b"ACME thermometer,1\n")


@pytest.mark.usefixtures("no_leaks")
def test_celsius() -> None:
    """A reply becomes a number."""
    near, far = socket.socketpair()
    with far, scripted_peer(far, [HELLO, (b"T?\n", b"21.5\n")]), Thermometer.from_socket(near) as thermometer:
        assert thermometer.celsius() == 21.5


@pytest.mark.usefixtures("no_leaks")
def test_celsius_tells_what_the_device_says() -> None:
    """An error of the device is an exception with its text."""
    near, far = socket.socketpair()
    with far, scripted_peer(far, [HELLO, (b"T?\n", b"ERROR sensor\n")]), Thermometer.from_socket(near) as thermometer:
        with pytest.raises(DeviceError, match="ERROR sensor"):
            thermometer.celsius()


@pytest.mark.usefixtures("no_leaks")
def test_another_device_is_refused() -> None:
    """What is no thermometer is never told to be connected."""
    near, far = socket.socketpair()
    with far, scripted_peer(far, [(b"*IDN?\n", b"ACME kettle,7\n")]):
        with pytest.raises(ConnectError, match="no thermometer"):
            Thermometer.from_socket(near).connect()


@pytest.mark.usefixtures("no_leaks")
def test_with_a_simulator() -> None:
    """The client works with a real server."""
    with ThermometerSimulator() as simulator:
        port = urlsplit(simulator.listen_tcp()).port or 0
        with Thermometer("127.0.0.1", port) as thermometer:
            assert thermometer.celsius() == simulator.celsius
