"""Every setting is used or refused: none is accepted and then ignored."""

from __future__ import annotations

import inspect
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest
from click import UsageError

import cnx
from cnx import (
    CancellableConnection,
    ConnectError,
    Deadline,
    SerialConnection,
    SocketConnection,
    SocketOptions,
    StreamConnection,
    UdpConnection,
    UnixConnection,
)
from cnx.cli.smartbus.url import client_at
from cnx.clients.chiller import ChillerClient
from cnx.proxy import Proxy
from cnx.simulation import Simulator
from tests.helpers.certificates import certificates

PATIENCE = 10.0

KINDS: list[Callable[..., Any]] = [
    lambda **settings: SocketConnection("host", 1, **settings),
    lambda **settings: UnixConnection("/run/device", **settings),
    lambda **settings: UdpConnection("host", 1, **settings),
    lambda **settings: SerialConnection("/dev/ttyS0", **settings),
    lambda **settings: cnx.connection("tcp://host:1", **settings),
    lambda **settings: cnx.connection("tls://host:1", **settings),
]


@pytest.mark.parametrize("make", KINDS)
def test_unknown_setting_lists_those_that_exist(make: Callable[..., Any]) -> None:
    """With the one that was meant, if it is misspelt."""
    with pytest.raises(
        TypeError, match=r"has no setting speed; it has .*timeout.*, connect_timeout|record_to"
    ) as caught:
        make(speed=9)
    assert "heartbeat_interval" in str(caught.value)
    assert "opener" not in str(caught.value)
    with pytest.raises(TypeError, match=r"no setting timeot \(did you mean timeout\?\)"):
        make(timeot=1)


def test_unknown_setting_of_a_subclass() -> None:
    """Its own settings are listed, too."""

    class Lamp(SocketConnection):
        def __init__(self, host: str, *, colour: str = "red", **settings: Any) -> None:
            super().__init__(host, 4001, **settings)
            self.colour = colour

    with pytest.raises(TypeError, match=r"Lamp has no setting color .did you mean colour.*; it has host, colour, tls"):
        Lamp("host", color="blue")


def test_unknown_setting_of_a_cancellable_connection() -> None:
    """It has two."""

    class Made(CancellableConnection):
        address, connected = "made", False  # type: ignore[assignment]

        def establish(self, deadline: Deadline) -> None:
            """Connect."""

        def release(self, reason: BaseException, timeout: float) -> None:
            """Let go."""

    with pytest.raises(TypeError, match=r"Made has no setting speed; it has name, connect_timeout$"):
        Made(speed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "known"),
    [
        (
            "tcp://h:1?speed=1",
            "a tcp URL takes timeout, connect_timeout, encoding, limit, terminator, nodelay, keepalive",
        ),
        ("tls://h:1?speed=1", "a tls URL takes .*server_hostname.*ca, verify"),
        ("unix:///a?speed=1", "a unix URL takes timeout, connect_timeout, encoding, limit, terminator$"),
        ("udp://h:1?speed=1", "a udp URL takes timeout, connect_timeout, limit$"),
        ("serial:///dev/a?speed=1", "a serial URL takes .*baudrate, bytesize, parity"),
    ],
)
def test_unknown_option_of_a_url_lists_those_that_exist(url: str, known: str) -> None:
    """As for a setting."""
    with pytest.raises(ValueError, match=f"unknown option speed; {known}"):
        cnx.connection(url)


@pytest.mark.parametrize(
    ("url", "settings", "names"),
    [
        ("tls://h:1?ca={ca}&verify=no", {}, "verify=no would ignore ca"),
        ("tls://h:1?ca={ca}", {"tls": ssl.create_default_context()}, "ca in the URL would be ignored"),
        ("tls://h:1?verify=no", {"tls": ssl.create_default_context()}, "verify in the URL would be ignored"),
        ("tcp://h:1?nodelay=no", {"options": SocketOptions()}, "nodelay in the URL would be ignored"),
        ("udp://h:1", {"framing": cnx.JsonLines()}, "each datagram is a message"),
        ("tcp://h:1", {"record": 0, "record_to": "."}, "record=0 keeps nothing"),
        ("serial:socket://h:1?baudrate=115200", {}, "baudrate cannot be set over socket://"),
        ("serial:socket://h:1", {"parity": "E", "rtscts": True}, "parity and rtscts cannot be set over socket://"),
        ("serial:loop://", {"exclusive": True}, "loop:// is not"),
        ("serial:rfc2217://h:1?exclusive=yes", {}, "rfc2217:// is not"),
        ("serial:///dev/a?stopbits=1.5", {}, "8 data bits go with 1 or 2 stop bits, not 1.5"),
        ("serial:///dev/a?stopbits=2&bytesize=5", {}, "5 data bits go with 1 or 1.5 stop bits, not 2"),
    ],
)
def test_settings_that_would_be_ignored(url: str, settings: dict[str, Any], names: str, tmp_path: Any) -> None:
    """Two that exclude each other, or one that this kind does not have."""
    ca = tmp_path / "ca.pem"
    ca.write_text(ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0]))
    with pytest.raises(ValueError, match=names):
        cnx.connection(url.format(ca=ca), cnx.UdpConnection if url.startswith("udp") else StreamConnection, **settings)


def test_trust_of_a_url_holds_with_tls_true(tmp_path: Any) -> None:
    """``tls=True`` does not bring the usual authorities back."""
    made = cnx.connection("tls://h:1?verify=no", SocketConnection, tls=True)
    assert made.tls is not None
    assert made.tls.verify_mode is ssl.CERT_NONE


def test_listener_that_cannot_be_shared_is_refused() -> None:
    """A transport without a descriptor has a thread of its own; a manager does not try again."""
    with SerialConnection("loop://"):
        pass
    connection = SerialConnection("loop://", listener=cnx.Listener())
    with pytest.raises(ConnectError, match=r"loop:// has no descriptor.*leave out listener=") as caught:
        connection.connect()
    assert caught.value.fatal


class TestFromSocket:
    """The settings of a connection that is made from an open socket."""

    def test_tls_is_started(self) -> None:
        """Over the given socket: nothing is sent in the clear, and the peer is verified."""
        theirs, ours = certificates("device.example")
        near, far = socket.socketpair()
        connection = SocketConnection.from_socket(near, tls=ours, server_hostname="device.example")
        assert connection.tls is ours
        heard: list[bytes] = []

        def serve() -> None:
            with theirs.wrap_socket(far, server_side=True) as secure:
                heard.append(secure.recv(100))
                secure.sendall(b"let in\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with connection:
            assert connection.request(b"secret\r\n", timeout=PATIENCE) == b"let in\r\n"
            assert connection.peer_certificate()
        thread.join()
        assert heard == [b"secret\r\n"]

    def test_tls_with_the_wrong_name(self) -> None:
        """The connection fails, and the socket is closed."""
        theirs, ours = certificates("device.example")
        near, far = socket.socketpair()
        connection = SocketConnection.from_socket(near, tls=ours, server_hostname="other.example")

        def serve() -> None:
            with pytest.raises(ssl.SSLError), far:
                theirs.wrap_socket(far, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectError, match="certificate"):
            connection.connect()
        thread.join()
        assert near.fileno() == -1

    def test_tls_with_a_peer_that_speaks_none(self) -> None:
        """All that is sent to it is the greeting of TLS."""
        near, far = socket.socketpair()
        connection = SocketConnection.from_socket(near, tls=True, server_hostname="device.example")
        with far:
            with pytest.raises(TimeoutError):
                connection.connect(timeout=0.05)
            assert far.recv(1) == b"\x16"

    def test_tls_needs_a_name(self) -> None:
        """A socket that is not TCP has none to verify."""
        near, far = socket.socketpair()
        with near, far:
            with pytest.raises(ValueError, match="server_hostname="):
                SocketConnection.from_socket(near, tls=True)

    def test_options_are_set(self) -> None:
        """On a TCP socket, those that were given or else the usual ones."""
        for options in (SocketOptions(nodelay=False, keepalive=(5, 6, 7), user_timeout=8.0), None):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                sock = socket.create_connection(listener.getsockname())
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(options is None) ^ 1)
                with SocketConnection.from_socket(sock, options=options) as connection:
                    found = [
                        sock.getsockopt(level, option) == value for level, option, value in connection.options._settings
                    ]
                assert all(found)
                assert len(found) >= 5

    def test_options_of_another_kind_of_socket(self) -> None:
        """It has none."""
        near, far = socket.socketpair()
        with near, far:
            with pytest.raises(ValueError, match="options are for TCP"):
                SocketConnection.from_socket(near, options=SocketOptions())


def test_every_keyword_of_a_url_setting_is_one_of_a_class() -> None:
    """The settings that type checkers know are those that the constructors take."""
    known = set(cnx.connections.urls.UrlSettings.__annotations__)
    taken = {
        name
        for kind in (SocketConnection, SerialConnection, UdpConnection, UnixConnection)
        for base in kind.__mro__
        if "__init__" in vars(base)
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    assert known == taken - {"self", "host", "port", "path", "opener", "args", "kwargs"}


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("tcp://127.0.0.1:0?nodelay=no", "nodelay=no"),
        ("tcp://127.0.0.1:0/path", "path"),
        ("tcp://127.0.0.1:0#part", "part"),
        ("tcp://user@127.0.0.1:0", "user"),
        ("udp://127.0.0.1:0?limit=1", "limit=1"),
        ("unix:///tmp/none?timeout=1", "timeout=1"),
    ],
)
def test_url_of_a_simulator_or_a_proxy(url: str, part: str) -> None:
    """It has no options, so none are ignored."""
    with Simulator() as simulator:
        with pytest.raises(ValueError, match=f"'{part}' means nothing in the URL of a simulator"):
            simulator.listen(url)
    with pytest.raises(ValueError, match=f"'{part}' means nothing in the URL of a proxy"):
        Proxy(url.replace(":0", ":1"))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("speed=1", "unknown option speed; the options are baudrate, bytesize"),
        ("xonxoff=perhaps", "option xonxoff=perhaps"),
        ("baudrate=fast", "option baudrate=fast"),
    ],
)
def test_serial_line_of_a_proxy(query: str, text: str) -> None:
    """Its options are those of a serial URL."""
    with pytest.raises(ValueError, match=text):
        Proxy(f"serial:///dev/none?{query}")


@pytest.mark.parametrize("option", ["timeout=1", "connect_timeout=3", "encoding=ascii", "terminator=lf"])
def test_source_of_a_chiller(option: str) -> None:
    """Only its transport is used, so what a connection would do with the option is refused."""
    name = option.partition("=")[0]
    with pytest.raises(ValueError, match=f"{name} of the source would be ignored"):
        ChillerClient(f"tcp://host:1?{option}")
    with pytest.raises(ValueError, match=f"{name} of the source would be ignored"):
        ChillerClient(cnx.connection(f"tcp://host:1?{option}"))
    assert ChillerClient("tcp://host:1?nodelay=no").address == "host:1"


def test_option_that_the_system_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused if it was asked for, and left out otherwise."""
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    with pytest.raises(ValueError, match="this system has no TCP_USER_TIMEOUT"):
        SocketOptions(user_timeout=5.0)
    assert len(SocketOptions()._settings) == len(SocketOptions(user_timeout=None)._settings)


def test_option_of_a_smartbus_url_that_is_given_twice() -> None:
    """Neither of the two is silently dropped."""
    with pytest.raises(UsageError, match="the option unit is given twice"):
        client_at("smartbus://user@host:1/?unit=20&unit=21", None)
