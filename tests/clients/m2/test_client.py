"""The client of one port: messages out, messages in."""

from __future__ import annotations

import itertools
import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydispatch import dispatcher

from cnx import Connection, LimitExceeded, NotConnected, PeerClosed, subscribe
from cnx.clients.m2 import BrokenMessage, M2Client, M2Lines, M2Signals, MessageNotSent, MsgType, sequence_numbers
from cnx.clients.m2.client import client as client_module
from cnx.clients.m2.client.client import MessageRate, fastest_decoder
from tests.helpers import m2_wire_examples as wire

DEADLINE = 10.0


class Pair:
    """A client and its peer, a plain socket."""

    def __init__(self, **options: Any) -> None:
        own, self.peer = socket.socketpair()
        self.peer.settimeout(DEADLINE)
        self.client = M2Client.from_socket(own, **options)
        self.messages: list[Any] = []
        self.ended = threading.Event()
        self.reason: BaseException | None = None
        subscribe(self.client, Connection.Signals.DISCONNECTED, self.on_end)

    def on_end(self, reason: BaseException) -> None:
        """Note the end."""
        self.reason = reason
        self.ended.set()

    def listen(self) -> None:
        """Collect messages, and connect."""
        subscribe(self.client, Connection.Signals.MESSAGE_RECEIVED, self.messages.append)
        self.client.connect()

    def say(self, data: bytes) -> None:
        """Send everything, end, and wait until the client has noticed."""
        self.peer.sendall(data)
        self.peer.shutdown(socket.SHUT_WR)
        assert self.ended.wait(DEADLINE)

    def received(self, lines: int) -> bytes:
        """Return what the client has sent, that many lines."""
        data = b""
        while data.count(b"\r\n") < lines:
            data += self.peer.recv(65536)
        return data


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Return a pair that is not connected yet, with the options of the test's parameter."""
    pair = Pair(**getattr(request, "param", {}))
    yield pair
    pair.client.close()
    pair.peer.close()


# -- sending ---------------------------------------------------------------------------------------------------------


def test_write_message(pair: Pair) -> None:
    """All three types go out as in the original, and commands are numbered."""
    client = pair.client.connect()
    assert client.last_sequence_id == -1
    client.write_message(MsgType.COMMAND, "clearErrors")
    client.write_message(1, "power", {"powerType": 2, "status": True}, "ignored")
    client.write_message(MsgType.TELEMETRY, "elevation", {"actualPosition": 45.5}, "MTMount")
    client.write_message(MsgType.EVENT, "inPosition", comp_name="")
    assert client.last_sequence_id == 2
    expected = wire.CLEAR_ERRORS + wire.COMMUNICATION_ON + wire.ELEVATION + wire.EMPTY_COMPONENT
    assert pair.received(4) == expected


@pytest.mark.parametrize("arguments", [(1, "x"), (1, "x", {"id": 1}), (9, "x"), (1, "x", {"a": object()})])
def test_not_connected_comes_before_everything_else(arguments: Any) -> None:
    """Without a connection every call says so, as a RuntimeError too, and takes no number."""
    client = M2Client("127.0.0.1", 1)
    for expected in (MessageNotSent, NotConnected, RuntimeError, ConnectionError):
        with pytest.raises(expected, match="not connected"):
            client.write_message(*arguments)
    assert client.last_sequence_id == -1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1, "x", {"id": 1}), ValueError),
        ((0, "x"), ValueError),
        ((4, "x"), ValueError),
        ((1, "x", {"a": object()}), TypeError),
        ((1, "x", "details"), TypeError),
        ((2, "x", {"id": None}), ValueError),
    ],
)
def test_bad_messages_are_not_sent(pair: Pair, arguments: Any, error: type[Exception]) -> None:
    """What cannot be sent is an error, sends nothing, and uses no number."""
    client = pair.client.connect()
    with pytest.raises(error):
        client.write_message(*arguments)
    client.write_message(1, "clearErrors")
    assert pair.received(1) == wire.CLEAR_ERRORS


@pytest.mark.parametrize("pair", [{"sequence": itertools.count(7)}], indirect=True)
def test_any_iterator_numbers(pair: Pair) -> None:
    """Numbers come from the iterator that was given."""
    pair.client.connect().write_message(1, "getInnerLoopControlMode", {"addresses": [0, 83]})
    assert pair.received(1) == wire.INNER_LOOP


def test_clients_can_share_a_sequence() -> None:
    """Two clients with one sequence use each number once, and each knows its own last one."""
    sequence = sequence_numbers()
    pairs = [Pair(sequence=sequence), Pair(sequence=sequence)]
    for _ in range(2):
        for pair in pairs:
            pair.client.connect().write_message(1, "x")
    assert [json.loads(line)["sequence_id"] for pair in pairs for line in pair.received(2).split(b"\r\n")[:2]] == [
        1,
        3,
        2,
        4,
    ]
    assert [pair.client.last_sequence_id for pair in pairs] == [3, 4]
    for pair in pairs:
        pair.client.close()
        pair.peer.close()


def test_numbers_go_out_in_order_from_all_threads(pair: Pair) -> None:
    """Eight threads send at once: on the wire every number appears once, in order, and no message is mixed."""
    client = pair.client.connect()

    def send() -> None:
        for _ in range(250):
            client.write_message(1, "move", {"x": threading.get_ident()})

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    lines = pair.received(2000).split(b"\r\n")[:-1]
    for thread in threads:
        thread.join()
    assert [json.loads(line)["sequence_id"] for line in lines] == list(range(1, 2001))


@pytest.mark.parametrize(
    ("options", "error"),
    [({"sequence": 5}, TypeError), ({"callback": 5}, TypeError), ({"limit": 0}, ValueError)],
)
def test_bad_arguments(options: Any, error: type[Exception]) -> None:
    """Wrong arguments are refused before anything is opened."""
    with pytest.raises(error):
        M2Client("127.0.0.1", 1, **options)


# -- receiving -------------------------------------------------------------------------------------------------------


def test_messages_are_emitted_in_order(pair: Pair) -> None:
    """Every message is emitted once, in order, also those that arrived just before the end."""
    pair.listen()
    pair.say(wire.FROM_CONTROLLER)
    assert b"".join(json.dumps(message).encode() + b"\r\n" for message in pair.messages) == wire.FROM_CONTROLLER
    assert isinstance(pair.reason, PeerClosed)
    assert not pair.client.connected


def test_single_bytes(pair: Pair) -> None:
    """A stream that arrives byte by byte gives the same messages."""
    pair.listen()
    for byte in wire.COMMUNICATION_ON_REPLY:
        pair.peer.sendall(bytes([byte]))
    pair.say(b"")
    assert [message["id"] for message in pair.messages][:2] == ["ack", "powerSystemState"]
    assert len(pair.messages) == 8


def test_messages_by_kind(pair: Pair) -> None:
    """Each kind has a signal, for handlers of PyDispatcher too; no other subscriber is needed."""
    emitted: dict[M2Signals, list[Any]] = {signal: [] for signal in M2Signals}

    def on_event(message: Any) -> None:
        emitted[M2Signals.EVENT].append(message)

    dispatcher.connect(on_event, signal=M2Signals.EVENT, sender=pair.client)
    for signal in (M2Signals.REPLY, M2Signals.TELEMETRY, M2Signals.UNKNOWN):
        subscribe(pair.client, signal, emitted[signal].append)
    pair.client.connect()
    pair.say(wire.MOVE_REPLY + wire.MOTOR_WARNING + wire.POWER_STATUS + b'{"id": "new"}\r\n[1]\r\n' + wire.FIRST_FAULT)
    assert [message["id"] for message in emitted[M2Signals.REPLY]] == ["noack"]
    assert [message["status"] for message in emitted[M2Signals.EVENT]] == [2**34, 2**57]
    assert [message["id"] for message in emitted[M2Signals.TELEMETRY]] == ["powerStatus"]
    assert emitted[M2Signals.UNKNOWN] == [{"id": "new"}, [1]]


def test_broken_messages_are_emitted_and_skipped(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """A line that is not a message is logged, and emitted as BROKEN; the stream goes on."""
    broken: list[BaseException] = []
    subscribe(pair.client, M2Signals.BROKEN, lambda reason: broken.append(reason))
    pair.listen()
    pair.say(wire.NOT_JSON + wire.FIRST_FAULT + wire.EMPTY_LINE + b"\xff\r\n" + wire.HEARTBEAT + wire.MOTOR_WARNING)
    assert [message["status"] for message in pair.messages] == [2**57, 2**34]
    assert [type(reason).__name__ for reason in broken] == [
        "InvalidJson",
        "InvalidJson",
        "EncodingError",
        "InvalidJson",
    ]
    assert isinstance(pair.reason, PeerClosed)
    assert "not json" in caplog.text


def test_broken_messages_without_another_subscriber(pair: Pair) -> None:
    """A subscriber of BROKEN alone gets every broken line."""
    broken: list[BaseException] = []
    subscribe(pair.client, M2Signals.BROKEN, lambda reason: broken.append(reason))
    pair.client.connect()
    pair.say(wire.FIRST_FAULT + wire.NOT_JSON + b"\xff\r\n")
    assert [type(reason).__name__ for reason in broken] == ["InvalidJson", "EncodingError"]


class Collector(M2Client):
    """A client with an on_message of its own."""

    messages: list[Any]

    def on_message(self, message: Any) -> None:
        """Collect messages."""
        self.messages.append(message)


def test_on_message_of_a_subclass() -> None:
    """The method of a subclass gets every message in its order, and a BrokenMessage for a broken line."""
    own, peer = socket.socketpair()
    client = Collector.from_socket(own)
    client.messages = []
    ended = threading.Event()
    subscribe(client, Connection.Signals.DISCONNECTED, lambda: ended.set())
    client.connect()
    peer.sendall(wire.FIRST_FAULT + wire.NOT_JSON + wire.MOTOR_WARNING)
    peer.close()
    assert ended.wait(DEADLINE)
    assert [message["status"] for message in client.messages[::2]] == [2**57, 2**34]
    assert [type(message) for message in client.messages[1::2]] == [BrokenMessage]


def test_a_line_over_the_limit_ends_the_connection(pair: Pair) -> None:
    """Only a line without an end ends the connection, with a reason that says so; earlier messages are emitted."""
    pair.listen()
    pair.peer.sendall(wire.FIRST_FAULT + wire.NOT_JSON + b"x" * 66000)
    assert pair.ended.wait(DEADLINE)
    assert isinstance(pair.reason, LimitExceeded)
    assert "65538" in str(pair.reason)
    assert len(pair.messages) == 1


def test_messages_can_be_received_one_by_one(pair: Pair) -> None:
    """Without subscribers, receive() returns message after message and skips what is broken; none is lost."""
    client = pair.client.connect()
    pair.peer.sendall(wire.NOT_JSON + wire.FIRST_FAULT + wire.EMPTY_LINE + wire.MOTOR_WARNING[:10])
    assert client.receive(timeout=DEADLINE)["status"] == 2**57
    with pytest.raises(TimeoutError):
        client.receive(timeout=0.0)
    pair.peer.sendall(wire.MOTOR_WARNING[10:])
    assert client.receive(timeout=DEADLINE)["status"] == 2**34


class Owner:
    """Something with a callback in the style of the original."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any]] = []
        self.client: M2Client | None = None

    def on_message(self, tag: str, *, message: Any) -> None:
        """Note a message, fail on some, close on others."""
        self.calls.append((tag, message["id"]))
        if message["id"] == "ack":
            raise ValueError("on purpose")
        if message["id"] == "success" and self.client is not None:
            self.client.close()


@pytest.mark.parametrize("owner", [Owner()])
def test_callback(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    """The callback gets its arguments and the message by name; what it raises is logged and ends nothing."""
    pair = Pair(callback=owner.on_message, callback_args=("m2",))
    pair.client.connect()
    pair.say(wire.CLEAR_ERRORS_REPLY)
    ids = ["ack", "summaryFaultsStatus", "digitalInput", "digitalOutput", "interlock", "success"]
    assert owner.calls == [("m2", name) for name in ids]
    assert "on purpose" in caplog.text
    pair.peer.close()


def test_close_in_the_callback() -> None:
    """After a close from within the callback the rest is not delivered."""
    owner = Owner()
    pair = Pair(callback=owner.on_message, callback_args=(1,))
    owner.client = pair.client
    pair.client.connect()
    pair.peer.sendall(wire.CLEAR_ERRORS_REPLY + wire.MOTOR_ON_REPLY)
    assert pair.ended.wait(DEADLINE)
    assert owner.calls[-1] == (1, "success")
    assert len(owner.calls) == 6
    pair.client.close()
    pair.client.close()
    pair.peer.close()


@pytest.mark.parametrize("loads", [None, fastest_decoder()], ids=["standard", "fastest"])
def test_decoders_agree(loads: Any) -> None:
    """The optional decoder gives the same messages, large integers, NaN and broken lines included."""
    pair = Pair(framing=M2Lines(loads=loads))
    pair.listen()
    odd = b'{"a": NaN, "b": 18446744073709551616, "c": 1e400, "d": "\\ud800", "d": -0.0}\r\n'
    pair.say(wire.FROM_CONTROLLER + odd + wire.NOT_JSON + wire.WHITE_SPACE + wire.FAULTS_MASK)
    assert repr(pair.messages[-3]) == "{'a': nan, 'b': 18446744073709551616, 'c': inf, 'd': -0.0}"
    assert pair.messages[-1]["mask"] == 18410715311050326015
    assert len(pair.messages) == 60
    pair.peer.close()


def test_message_rate() -> None:
    """The rate is the floor of messages over seconds, returned when the period is over."""
    rate = MessageRate(100.0)
    assert rate.count(3, 101.0) is None
    assert rate.count(4, 102.5) == 2
    assert rate.count(0, 104.4) is None
    assert rate.count(10, 104.5) == 5


@pytest.mark.parametrize("pair", [{"check_message_rate": True}], indirect=True)
def test_the_rate_is_measured_on_demand(
    pair: Pair, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option, the rate is known and logged."""
    monkeypatch.setattr(client_module, "RATE_PERIOD", 0.0)
    caplog.set_level(logging.DEBUG, "cnx")
    assert pair.client.message_rate is None
    pair.listen()
    pair.say(wire.FROM_CONTROLLER)
    assert pair.client.message_rate
    assert "messages per second" in caplog.text
