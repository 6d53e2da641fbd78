"""A subclass is the user's own: whatever it calls its attributes and methods, connecting and stopping go on working."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from cnx import Connection, ConnectionManager, SocketConnection, StreamConnection, UdpConnection, subscribe
from cnx.connections.names import extension_points
from cnx.testing import PATIENCE, connection_pair, scripted_peer
from tests.helpers.echo import Echo

NAMES = re.findall(
    r"\w+",
    """
    _stop _current _state _turn _port _settings _limit _options _context _host _link _listener _attempts _changed
    _heartbeat _recorder _requesting _begun _address _alarm _archive _armed _attempt _attendant _begin _broken
    _buffer _busy _cache _callback _callbacks _cancel _check _close _closed _closing _cnx_ _command _commands
    _condition _config _configure _connect _connected _connecting _connection _counter _cursor _data _deadline
    _decode _delay _deliver _delivery _device _disconnect _done _driver _emit _encode _encoding _end _error _errors
    _event _events _exchange _fail _file _finish _flush _framing _free _fresh _handle _handler _handlers _history
    _id _idle _inbox _init _input _inside _interval _kind _last _lines _lock _log _logger _loop _manager _message
    _messages _mode _model _monitor _name _notify _on_data _on_error _open _opener _output _owner _parse _parts
    _peer _pending _ping _poll _prepare _process _queue _ready _receive _reconnect _release _reply _request
    _requests _reset _result _retries _retry _run _running _schedule _secret _secrets _send _serial _session _setup
    _signals _sock _socket _start _started _status _stopped _stream _task _terminator _thread _threads _timeout
    _timer _timers _torndown _traffic _transport _unit _update _url _wait _worker _write baud channel close command
    config data device done error flush id idle lock log loop model monitor open parse ping poll port_name process
    queue ready reset result run running serial_number session setup start status stop task thread unit units update
    url value values version volts wait worker
    """,
)


class Junk:
    """A value that is of no use for anything, and says so when it is used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"cnx has used an attribute of the subclass for its own purposes: .{name}")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("cnx has called an attribute of the subclass for its own purposes")

    def __bool__(self) -> bool:
        raise AssertionError("cnx has looked at an attribute of the subclass for its own purposes")


def attributes_before(base: type) -> type:
    """Return a subclass that has all names as attributes before the constructor of the base runs."""

    def __init__(self: Any, *arguments: Any, **settings: Any) -> None:
        vars(self).update({name: Junk() for name in NAMES})
        base.__init__(self, *arguments, **settings)  # type: ignore[misc]

    return type("Before", (base,), {"__init__": __init__})


def attributes_after(base: type) -> type:
    """Return a subclass that has all names as attributes after the constructor of the base has run."""

    def __init__(self: Any, *arguments: Any, **settings: Any) -> None:
        base.__init__(self, *arguments, **settings)  # type: ignore[misc]
        vars(self).update({name: Junk() for name in NAMES})

    return type("After", (base,), {"__init__": __init__})


def methods(base: type) -> type:
    """Return a subclass that has all names as methods."""

    def use(self: Any, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("cnx has called a method of the subclass for its own purposes")

    return type("Methods", (base,), dict.fromkeys(NAMES, use))


@pytest.mark.parametrize("derive", [attributes_before, attributes_after, methods])
def test_stream_with_every_name(derive: Callable[[type], Any]) -> None:
    """Everything that a stream does, with every natural name in the subclass."""
    with Echo() as echo:
        host, _, port = echo.listen_tcp().removeprefix("tcp://").rpartition(":")
        connection: SocketConnection = derive(SocketConnection)(
            host, int(port), timeout=PATIENCE, heartbeat=b"!", heartbeat_interval=PATIENCE, record=10
        )
        emitted: list[bytes] = []
        assert repr(connection) == f"<{type(connection).__name__} {host}:{port} not connected>"
        assert connection.connect().connected
        assert connection.request(b"one\r\n") == b"one\r\n"
        connection.write_str("two")
        assert connection.read_str() == "two"
        with subscribe(connection, Connection.Signals.DATA_RECEIVED, emitted.append):
            connection.write(b"three\n")
            assert connection.readline() == b"three\n"
        connection.schedule(PATIENCE, lambda: None).cancel()
        assert connection.traffic.bytes_sent == connection.traffic.bytes_received == 16
        assert "three" in connection.history().text()
        assert connection.read_waiting() == b""
        connection.raise_alarm("enough")
        with ConnectionManager(connection) as manager:
            assert manager.state.value == "connected"
            connection.limit, connection.timeout, connection.connect_timeout = 100, 1.0, 1.0
        assert emitted == [b"three\n"]
        assert "torn down" in repr(connection)


@pytest.mark.parametrize("derive", [attributes_before, attributes_after, methods])
def test_datagrams_with_every_name(derive: Callable[[type], Any]) -> None:
    """The same for UDP."""
    with Echo() as echo:
        host, _, port = echo.listen_udp().removeprefix("udp://").rpartition(":")
        with derive(UdpConnection)(host, int(port), timeout=PATIENCE) as connection:
            connection.send(b"abc")
            assert connection.receive() == b"cba"


@pytest.mark.parametrize("derive", [attributes_before, attributes_after, methods])
def test_plain_connection_with_every_name(derive: Callable[[type], Any]) -> None:
    """The same for a connection of three methods."""

    class Plain(Connection):
        def __init__(self) -> None:
            """Nothing to keep."""

        def try_connect(self) -> bool:
            return True

        def disconnect(self) -> None:
            """Nothing to close."""

        def teardown(self) -> None:
            """Nothing to release."""

    connection: Connection = derive(Plain)()
    with ConnectionManager(connection) as manager:
        connection.raise_alarm("enough")
        manager.wait_until("connected", PATIENCE)
    assert not connection.connected


def test_every_private_name_but_one_is_free() -> None:
    """No class of the core defines or sets any other private name."""
    for kind in (Connection, *all_subclasses(Connection)):
        if kind.__module__.startswith("cnx.connections."):
            private = {name for name in vars(kind) if name.startswith("_") and not name.startswith("__")}
            assert private - {"_cnx", "_abc_impl"} == set(), kind
    with connection_pair() as (connection, peer), scripted_peer(peer, [(b"?\r\n", b"!\r\n")]):
        connection.request(b"?\r\n", timeout=PATIENCE)
        assert set(vars(connection)) == {"_cnx"}


def all_subclasses(cls: type) -> set[type]:
    """Return all classes that derive from a class."""
    found = set(cls.__subclasses__())
    return found.union(*(all_subclasses(each) for each in found))


@pytest.mark.parametrize("name", ["read", "write", "name", "timeout", "connect", "disconnect", "raise_alarm", "_cnx"])
def test_names_of_cnx_cannot_be_overridden(name: str) -> None:
    """The error names the class and the name, and says what to do."""
    advice = {"name": "pass name=", "timeout": "pass timeout=", "_cnx": "is reserved"}.get(name, "choose another name")
    with pytest.raises(TypeError, match=rf"Thermometer.*{name}.*{advice}"):
        type("Thermometer", (StreamConnection,), {name: lambda self: None})


def test_extension_points_can_be_overridden() -> None:
    """All of them at once, without a warning."""
    points = extension_points(StreamConnection)
    assert not {"try_connect", "disconnect", "teardown"} & set(points)
    assert {"prepare", "on_message", "on_disconnected", "open_transport", "emit_messages", "address"} <= set(points)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        type("Everything", (StreamConnection,), {point: lambda self, *arguments: None for point in points})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_mesage", "on_message"),
        ("on_messages", "on_message"),
        ("prepair", "prepare"),
        ("open_transprt", "open_transport"),
        ("on_disconected", "on_disconnected"),
    ],
)
def test_misspelt_extension_point_is_warned_of(name: str, meant: str) -> None:
    """Nothing would ever call it."""
    with pytest.warns(UserWarning, match=f"nothing calls Thermometer.{name}; did you mean the extension point {meant}"):
        type("Thermometer", (StreamConnection,), {name: lambda self, *arguments: None})


@pytest.mark.parametrize("name", ["on_connected", "temperature", "measure", "closed", "opened", "reset", "addresses"])
def test_other_names_are_not_warned_of(name: str) -> None:
    """A natural name is the user's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        type("Thermometer", (StreamConnection,), {name: lambda self: None})
