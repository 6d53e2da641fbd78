"""Faults of the bytes on real links."""

from __future__ import annotations

import pytest

from cnx.faults import (
    Fault,
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    faults,
    garbage,
    huge_frame,
    merge,
    split,
    truncate,
)
from cnx.simulation import Session, Simulator
from cnx.testing import eventually
from tests.helpers.bare_clients import Client, datagrams, dial
from tests.helpers.echo import Echo, answered

LONG = 3600.0


class TestBytesOnLinks:
    """Faults of the bytes on a real link."""

    def test_only_inside_the_block(self, echo: Echo, client: Client) -> None:
        """A link that is open gets the faults at the start of the block and loses them at its end."""
        with faults(echo, duplicate(1.0)):
            client.send(b"a")
            assert client.receive_exactly(2) == b"aa"
        assert answered(client)

    def test_same_seed_same_bytes(self, echo: Echo) -> None:
        """Two runs with one seed are the same for the client and in the trace; a third one is not."""
        values = [corrupt(0.2), garbage(3, 0.5), split(4, direction="both"), delay(0.0001, jitter=0.001)]
        runs = []
        for seed in (5, 5, 6):
            assert eventually(lambda: not echo.sessions)
            with dial(echo.urls[0]) as client, faults(echo, *values, seed=seed) as plan:
                for number in range(10):
                    client.send(b"message %d" % number)
                    assert eventually(lambda number=number: len(plan.trace_of(0, "in")) == 3 * (number + 1))
                client.end()
                runs.append((client.receive_all(), plan.trace_of(0, "in"), plan.trace_of(0, "out")))
        assert runs[0] == runs[1]
        assert runs[0][0] != runs[2][0]

    def test_split(self, echo: Echo, client: Client) -> None:
        """What a client sends is read in single bytes."""
        with faults(echo, split(1, direction="in")) as plan:
            assert answered(client, b"abcd")
        assert len(plan.trace_of(0, "in")) == 4

    def test_merge_by_count(self, echo: Echo, client: Client) -> None:
        """A chunk waits for the next one."""
        with faults(echo, merge(2, within=LONG)):
            client.send(b"a")
            assert client.silent()
            client.send(b"b")
            assert client.receive_exactly(2) == b"ab"

    @pytest.mark.parametrize("direction", ["in", "out"])
    def test_merge_by_time(self, direction: str, echo: Echo, client: Client) -> None:
        """A chunk does not wait for ever."""
        with faults(echo, merge(1000, within=0.01, direction=direction)):
            assert answered(client, b"a")
            assert answered(client, b"b")

    @pytest.mark.parametrize("direction", ["in", "out"])
    def test_held_bytes_survive_the_block(self, direction: str, echo: Echo, client: Client) -> None:
        """What a fault holds back when it ends is passed on, before what comes later."""
        with faults(echo, merge(1000, within=LONG, direction=direction)) as plan:
            client.send(b"first ")
            assert eventually(lambda: plan.trace)
        client.send(b"second")
        assert client.receive_exactly(12) == b"first second"

    def test_all_that_was_held_is_lost(self, echo: Echo, client: Client) -> None:
        """When another fault loses what one held back, that is no end of the link."""
        with faults(echo, merge(1000, within=0.01, direction="in"), drop(1.0, direction="in")) as plan:
            client.send(b"lost")
            assert eventually(lambda: plan.trace)
            assert client.silent(0.05)
        assert answered(client)

    @pytest.mark.parametrize(
        "fault", [delay(LONG), delay(LONG, direction="in"), bandwidth(1, direction="both")], ids=str
    )
    def test_waits_end_with_the_block(self, fault: Fault, echo: Echo, client: Client) -> None:
        """What a fault delays is passed on at once when the fault is over."""
        with faults(echo, fault) as plan:
            client.send(b"delayed")
            assert eventually(lambda: plan.trace)
        assert client.receive_exactly(7) == b"delayed"

    def test_held_bytes_survive_the_end(self) -> None:
        """What a fault holds back when serve() returns is sent before the end."""

        class Brief(Simulator):
            def serve(self, session: Session) -> None:
                session.write(b"good")
                session.write(b"bye")

        with Brief() as simulator, faults(simulator, merge(1000, within=LONG)), dial(simulator.listen_tcp()) as client:
            assert client.receive_all() == b"goodbye"

    def test_truncate(self, echo: Echo, client: Client) -> None:
        """The link ends in the middle of a message."""
        with faults(echo, truncate(3)):
            client.send(b"abcdef")
            assert client.receive_all() == b"abc"

    def test_truncated_input(self, echo: Echo, client: Client) -> None:
        """The link ends in the middle of what the client sends."""
        with faults(echo, truncate(3, direction="in")):
            client.send(b"abcdef")
            assert client.receive_all() == b"abc"

    def test_drop(self, echo: Echo, client: Client) -> None:
        """What is lost is not sent later."""
        with faults(echo, drop(1.0)) as plan:
            client.send(b"lost")
            assert eventually(lambda: plan.trace_of(0, "out") == ["pass 0 bytes, crc 00000000"])
        assert answered(client)

    def test_huge_frame_and_bandwidth(self, echo: Echo, client: Client) -> None:
        """A huge frame arrives whole, also through a narrow line."""
        with faults(echo, huge_frame(100_000), bandwidth(2_000_000)):
            client.send(b"!")
            assert client.receive_exactly(100_001) == b"x" * 100_000 + b"!"

    def test_read_timeout_inside_a_delay(self) -> None:
        """A read that times out while a fault delays its bytes loses none of them."""

        class Impatient(Simulator):
            def serve(self, session: Session) -> None:
                misses = 0
                while True:
                    try:
                        data = session.read(timeout=0.01)
                    except TimeoutError:
                        misses += 1
                    else:
                        return session.write(data if misses else b"no time-out")

        slow = delay(0.3, direction="in")
        with Impatient() as simulator, faults(simulator, slow), dial(simulator.listen_tcp()) as client:
            client.send(b"kept")
            assert client.receive_all() == b"kept"

    def test_serial(self) -> None:
        """A serial line is garbled and split like any other link."""
        with Echo() as simulator, dial(simulator.listen_pty()) as client:
            with faults(simulator, corrupt(1.0), garbage(8), split(1)):
                client.send(b"abc")
                assert client.receive_exactly(11)[8:] != b"abc"
            assert answered(client)

    def test_datagrams(self) -> None:
        """Datagrams are lost, doubled and spoiled as a whole."""
        with Echo() as simulator, datagrams(simulator.listen_udp()) as sock:
            with faults(simulator, drop(1.0, direction="in")) as plan:
                sock.send(b"lost")
                assert eventually(lambda: plan.trace)
            sock.send(b"ab")
            assert sock.recv(10) == b"ba"
            with faults(simulator, duplicate(1.0), corrupt(1.0)):
                sock.send(b"ab")
                copies = [sock.recv(10), sock.recv(10)]
                assert all(len(copy) == 2 and copy != b"ba" for copy in copies)
