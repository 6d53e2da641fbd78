"""A link and the threads that use it: all their interleavings with at most two preemptions."""

from __future__ import annotations

from cnx.connections.sockets import SocketConnection
from cnx.errors import Cancelled, ConnectionLost
from cnx.link.selector import INPUT
from tests.helpers.interleavings import Bench
from tests.interleavings.conftest import Explore

CUT = ConnectionLost("cut")


def pieces(*data: bytes, subscribed: bool = False, **settings: bool) -> Bench:
    bench = Bench(subscribed=subscribed, **settings)
    bench.transport.feed(*data)
    return bench


def end(bench: Bench) -> None:
    bench.link.end(CUT)


def disconnect(bench: Bench) -> None:
    bench.link.end(Cancelled("disconnect() was called"))


def write(bench: Bench) -> None:
    bench.attempt(lambda: bench.link.write(b"written", 1.0))


def turn(bench: Bench) -> None:
    bench.turn()


def armed() -> Bench:
    """A link with a subscriber, whose listener waits for input, which is there."""
    bench = Bench(subscribed=True)
    bench.attendant.interest = bench.link._interest = INPUT
    bench.transport.feed(b"1\n")
    return bench


def test_two_readers_get_every_line_once(explore: Explore) -> None:
    """Each reads the transport in its turn, or takes what the other one has read."""

    def holds(bench: Bench) -> bool:
        return sorted(bench.got) == [b"1\n", b"2\n"]

    explore(
        "reading x reading",
        lambda: pieces(b"1\n2\n", announced=False),
        Bench.readline,
        Bench.readline,
        holds=holds,
        preemptions=1,
    )


def test_readers_of_different_kinds_get_every_line_once(explore: Explore) -> None:
    """Lines that were cut already are taken in one step, while another reader puts them back to look at the stream."""

    def setup() -> tuple[SocketConnection, Bench]:
        bench = pieces(b"1\n2\n3\n", announced=False)
        connection = bench.connection()
        bench.link.read_waiting()
        bench.got.append(connection.readline())  # and cuts the others
        return connection, bench

    def readline(state: tuple[SocketConnection, Bench]) -> None:
        state[1].got.append(state[0].readline())

    def readuntil(state: tuple[SocketConnection, Bench]) -> None:
        state[1].got.append(state[0].readuntil(b"\n"))

    def holds(state: tuple[SocketConnection, Bench]) -> bool:
        state[0]._cnx.link = None  # or it would warn that it was not disconnected
        return sorted(state[1].got) == [b"1\n", b"2\n", b"3\n"]

    among = "cnx/connections/stream|cnx/link/inbox"
    explore("readline x readuntil", setup, readline, readuntil, holds=holds, among=among)
    explore("readline x readline", setup, readline, readline, holds=holds, among=among)


def test_a_reader_gets_what_came_before_the_end(explore: Explore) -> None:
    """It gets the line, or, if the end came first, the reason; and then the link is closed once, unused."""

    def holds(bench: Bench) -> bool:
        return bench.got in ([b"1\n"], ["ConnectionLost"]) and bench.settled_once()

    explore("reading x end", lambda: pieces(b"1\n"), Bench.readline, end, holds=holds)


def test_a_waiting_reader_notices_the_end(explore: Explore) -> None:
    """A reader that waits for bytes, or is about to, ends with the link."""

    def holds(bench: Bench) -> bool:
        return bench.got == ["NotConnected"] and bench.settled_once()

    explore("waiting reader x disconnect", Bench, Bench.readline, disconnect, holds=holds)


def test_a_write_is_whole_or_not_made_at_the_end(explore: Explore) -> None:
    """The transport is not closed under it, and the end is emitted once."""

    def holds(bench: Bench) -> bool:
        return (
            bench.settled_once()
            and bench.subscriber.events == [CUT]
            and ((bench.got, bench.transport.written) in (([None], [b"written"]), (["ConnectionLost"], [])))
        )

    explore("writing x end", Bench, write, end, holds=holds)


def test_writes_follow_each_other(explore: Explore) -> None:
    """One writes while the other waits, and both are counted."""

    def holds(bench: Bench) -> bool:
        return bench.got == [None, None] and bench.link.writes == 2 and not bench.transport.misused

    explore("writing x writing", Bench, write, write, holds=holds)


def test_connected_comes_before_the_end(explore: Explore) -> None:
    """An announced link emits its end after CONNECTED; one that was not announced emits neither."""

    def holds(bench: Bench) -> bool:
        return bench.settled_once() and bench.subscriber.events in (["CONNECTED", CUT], [])

    explore("announcing x end", lambda: Bench(announced=False), Bench.announce, end, turn, holds=holds)


def test_connected_comes_before_data(explore: Explore) -> None:
    """What arrived before CONNECTED is emitted after it, and subscribers are not deaf afterwards."""

    def holds(bench: Bench) -> bool:
        bench.quiesce()
        return bench.subscriber.events == ["CONNECTED", b"1\n"] and bench.heard(b"2\n")

    def setup() -> Bench:
        return pieces(b"1\n", announced=False, subscribed=True)

    explore("announcing x listener's turn", setup, Bench.announce, turn, turn, holds=holds)


def test_two_ends_are_one(explore: Explore) -> None:
    """Of two reasons the first one is emitted, once."""

    def holds(bench: Bench) -> bool:
        return bench.settled_once() and len(bench.subscriber.events) == 1

    explore("end x end x listener's turn", Bench, end, disconnect, turn, holds=holds, preemptions=1)


def test_subscribers_are_not_deaf_after_a_reading_call(explore: Explore) -> None:
    """Afterwards a caller reads, or the listener is armed for input, or a timer is set that arms it."""

    def holds(bench: Bench) -> bool:
        assert bench.got == [b"1\n"], bench.got
        assert bench.subscriber.events == [b"1\n"], bench.subscriber.events
        return bench.heard(b"2\n")

    explore("listener's turn x reading call", armed, turn, Bench.readline, holds=holds, preemptions=1)


def test_subscribers_are_not_deaf_after_a_call_that_finds_its_bytes(explore: Explore) -> None:
    """A call that takes what waits in the inbox holds the listener up for a moment, and does not read."""

    def setup() -> Bench:
        bench = armed()
        bench.turn()
        bench.transport.feed(b"2\n")
        return bench

    def holds(bench: Bench) -> bool:
        bench.quiesce()
        assert bench.got == [b"1\n"], bench.got
        return bench.subscriber.events == [b"1\n", b"2\n"] and bench.heard(b"3\n")

    explore("listener's turn x call that finds its bytes", setup, turn, Bench.readline, holds=holds)


def test_the_interest_is_that_of_the_listener(explore: Explore) -> None:
    """A caller that leaves disarms the listener while that arms itself."""

    def holds(bench: Bench) -> bool:
        assert bench.attendant.interest == bench.link._interest
        return bench.heard(b"2\n")

    def leave(bench: Bench) -> None:
        bench.link._leave_to_callers(True)

    explore("arming x disarming", armed, turn, leave, holds=holds)


def test_a_rest_is_set_once_or_more_but_not_never(explore: Explore) -> None:
    """Callers come and go while the timer of an earlier one runs out."""

    def setup() -> Bench:
        bench = pieces(b"1\n", subscribed=True)
        bench.attendant.interest = bench.link._interest = 0
        bench.link._rest(0.1)
        return bench

    def holds(bench: Bench) -> bool:
        bench.quiesce()
        return bench.got == [b"1\n"] and bench.heard(b"2\n")

    explore("resting x reading call", setup, turn, Bench.readline, holds=holds, preemptions=1)


def test_an_answer_belongs_to_its_own_request(explore: Explore) -> None:
    """Requests of two threads take turns."""

    def setup() -> tuple[SocketConnection, Bench]:
        bench = Bench(subscribed=False)
        bench.transport.answers = True
        return bench.connection(), bench

    def request(number: bytes):  # type: ignore[no-untyped-def]
        def ask(state: tuple[SocketConnection, Bench]) -> None:
            connection, bench = state
            bench.got.append((number, connection.request(number)))

        return ask

    def holds(state: tuple[SocketConnection, Bench]) -> bool:
        state[0]._cnx.link = None
        return sorted(state[1].got) == [(b"1\n", b"1\n"), (b"2\n", b"2\n")]

    explore(
        "request x request",
        setup,
        request(b"1\n"),
        request(b"2\n"),
        holds=holds,
        among="cnx/connections/stream|cnx/link/link",
    )
