"""Tests of URLs: every scheme and option, and every wrong part by its name."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from typing import Any
from urllib.parse import SplitResult

import pytest
import trustme

import cnx
from cnx import (
    Deadline,
    SerialConnection,
    SocketConnection,
    SocketOptions,
    StreamConnection,
    Transport,
    UdpConnection,
    UnixConnection,
    connection,
)
from cnx.connections import urls
from cnx.errors import ConnectError
from tests.helpers.processes import PROCESS_PATIENCE

PATIENCE = 10.0


@pytest.mark.parametrize(
    ("url", "kind", "address"),
    [
        ("tcp://host:4001", SocketConnection, "host:4001"),
        ("tcp://HOST:4001/", SocketConnection, "host:4001"),
        ("TCP://127.0.0.1:1", SocketConnection, "127.0.0.1:1"),
        ("tcp://[::1]:65535", SocketConnection, "[::1]:65535"),
        ("tcp://[fe80::1%25eth0]:80", SocketConnection, "[fe80::1%eth0]:80"),
        ("tls://host:443", SocketConnection, "host:443"),
        ("unix:///run/a%20device.sock", UnixConnection, "/run/a device.sock"),
        ("udp://host:5005", UdpConnection, "host:5005/udp"),
        ("udp://[::1]:5005", UdpConnection, "[::1]:5005/udp"),
        ("serial:///dev/ttyUSB0", SerialConnection, "/dev/ttyUSB0"),
        ("serial://COM3", SerialConnection, "COM3"),
        ("serial:loop://", SerialConnection, "loop://"),
        ("serial:rfc2217://host:1%3Fign_set_control", SerialConnection, "rfc2217://host:1?ign_set_control"),
    ],
)
def test_schemes(url: str, kind: type, address: str) -> None:
    """Each makes a connection that is not open."""
    made = connection(url, kind)
    assert type(made) is kind
    assert made.address == address
    assert not made.connected


def test_options_of_all_streams() -> None:
    """Timeouts, text and limit."""
    made = connection("tcp://h:1?timeout=1.5&connect_timeout=3&encoding=latin-1&limit=1000&terminator=LF")
    assert (made.timeout, made.connect_timeout, made.encoding, made.limit) == (1.5, 3.0, "latin-1", 1000)
    assert made.terminator == b"\n"
    ends = [connection(f"unix:///a?terminator={name}").terminator for name in ("crlf", "cr", "nul")]
    assert ends == [b"\r\n", b"\r", b"\0"]


def test_options_of_tcp() -> None:
    """How TCP behaves."""
    made = connection("tcp://h:1?nodelay=no&keepalive=10,5,3&user_timeout=7.5")
    assert made.options == SocketOptions(nodelay=False, keepalive=(10, 5, 3), user_timeout=7.5)
    assert connection("tcp://h:1?keepalive=no").options.keepalive is None
    assert connection("tcp://h:1").options == SocketOptions()


def test_options_of_tls(tmp_path: Any) -> None:
    """Whom to trust, and which name to expect."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    trusting = connection(f"tls://h:1?ca={file}")
    assert len(trusting.tls.get_ca_certs()) >= 1
    assert trusting.tls.verify_mode is ssl.CERT_REQUIRED
    lax = connection("tls://h:1?verify=no")
    assert (lax.tls.verify_mode, lax.tls.check_hostname) == (ssl.CERT_NONE, False)
    assert connection("tls://h:1?server_hostname=other").server_hostname == "other"
    own = ssl.create_default_context()
    assert connection("tls://h:1", tls=own).tls is own


def test_options_of_udp() -> None:
    """Timeouts and limit."""
    made = connection("udp://h:1?timeout=1&connect_timeout=2&limit=3", UdpConnection)
    assert (made.timeout, made.connect_timeout, made.limit) == (1.0, 2.0, 3)


def test_options_of_serial_ports() -> None:
    """All of the line."""
    made = connection(
        "serial:///dev/ttyS0?baudrate=115200&bytesize=7&parity=e&stopbits=2&xonxoff=yes&rtscts=true&dsrdtr=1&exclusive=no"
    )
    assert made._cnx.opener.line == {
        "baudrate": 115200,
        "bytesize": 7,
        "parity": "E",
        "stopbits": 2,
        "xonxoff": True,
        "rtscts": True,
        "dsrdtr": True,
        "exclusive": False,
    }


def test_arguments_win_over_the_query() -> None:
    """And reach the class."""
    framing = cnx.JsonLines()
    made = connection("tcp://h:1?timeout=1&limit=5", timeout=2, name="lamp", framing=framing)
    assert (made.timeout, made.limit, made.name, made.framing) == (2, 5, "lamp", framing)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("", "scheme is missing; it is one of tcp, tls, unix, udp, serial"),
        ("host", "scheme is missing"),
        ("//host:1", "scheme is missing"),
        ("host:4001", "scheme 'host'"),
        ("http://host:1", "scheme 'http' is none of tcp, tls, unix, udp, serial"),
        ("tcp://host", "port is missing"),
        ("tcp://host:", "port is missing"),
        ("tcp://:4001", "host is missing"),
        ("tcp:host:1", "host is missing"),
        ("tcp://host:0", "port must be between 1 and 65535, not 0"),
        ("tcp://host:70000", "port"),
        ("tcp://host:-1", "port"),
        ("tcp://host:http", "port"),
        ("tcp://[::1:80", "IPv6"),
        ("tcp://::1:4001", "an IPv6 address stands in brackets"),
        ("tcp://fe80::1:4001", "an IPv6 address stands in brackets"),
        ("tcp://a..b:80", "host must be .* 'a..b'"),
        ("tcp://ho st:1", "spaces"),
        ("tcp://ho\nst:1", "control"),
        ("tcp://ho\tst:1", "control"),
        ("tcp://host:1/path", r"path \(/path\)"),
        ("tcp://host:1#part", r"fragment \(#part\)"),
        ("tcp://user@host:1", "no user"),
        ("tcp://host:1?speed=9", "unknown option speed"),
        ("tcp://host:1?timeout=1&timeout=2", "given twice"),
        ("tcp://host:1?timeout=soon", "option timeout=soon"),
        ("tcp://host:1?timeout", "option timeout="),
        ("tcp://host:1?timeout=-1", "timeout must be at least 0"),
        ("tcp://host:1?timeout=nan", "timeout"),
        ("tcp://host:1?limit=0", "size"),
        ("tcp://host:1?encoding=klingon", "unknown encoding 'klingon'"),
        ("tcp://host:1?encoding=hex", "unknown encoding 'hex'"),
        ("tcp://host:1?terminator=dot", "option terminator=dot"),
        ("tcp://host:1?nodelay=perhaps", "option nodelay=perhaps"),
        ("tcp://host:1?keepalive=60", "keepalive"),
        ("tcp://host:1?keepalive=60,15,x", "option keepalive"),
        ("tcp://host:1?keepalive=60,15,1000", "keepalive"),
        ("tcp://host:1?user_timeout=0", "user_timeout"),
        ("tcp://host:1?user_timeout=inf", "user_timeout"),
        ("tcp://host:1?verify=no", "unknown option verify"),
        ("tls://host:1?verify=perhaps", "option verify=perhaps"),
        ("tls://host:1?ca=/nowhere/ca.pem", "option ca=/nowhere/ca.pem"),
        ("tls://host:1?ca=/dev/null", "option ca=/dev/null"),
        ("unix://run/device.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("unix:///" + "x" * 200, "107 bytes"),
        ("unix:///a%00b", "zeros"),
        ("unix:///a?nodelay=no", "unknown option nodelay"),
        ("udp://host", "port is missing"),
        ("udp://host:1?encoding=utf-8", "unknown option encoding"),
        ("serial://", "names a port"),
        ("serial:///dev/ttyS0?baudrate=fast", "option baudrate=fast"),
        ("serial:///dev/ttyS0?baudrate=0", "baudrate"),
        ("serial:///dev/ttyS0?bytesize=9", "bytesize must be one of 5, 6, 7, 8"),
        ("serial:///dev/ttyS0?parity=X", "parity must be one of N, E, O, M, S"),
        ("serial:///dev/ttyS0?stopbits=3", "stopbits"),
        ("serial:///dev/ttyS0?rtscts=2", "option rtscts=2"),
        ("serial:nonsense://x", "nonsense"),
    ],
)
def test_wrong_parts_are_named(url: str, names: str) -> None:
    """In a ``ValueError``, before anything is opened."""
    with pytest.raises(ValueError, match=names):
        connection(url)


@pytest.mark.parametrize(
    "url",
    [
        "tcp://me:secret@host:1",
        "http://me:secret@host:1",
        "tcp://me:secret@host:1#x",
        "tcp://me:secret@[::1:1",
        "tcp://me:secret @host:1",
        "tcp://me:sec/ret@host:1",
        "tcp://host:1?password=secret",
    ],
)
def test_errors_show_no_secrets(url: str) -> None:
    """Neither a password in front of the host nor a query."""
    with pytest.raises(ValueError) as caught:
        connection(url)
    assert "sec" not in str(caught.value)
    assert "ret@" not in str(caught.value)


@pytest.mark.parametrize("tls", [None, False])
def test_tls_cannot_be_switched_off_behind_its_scheme(tls: Any) -> None:
    """What a URL promises to protect is not sent in the clear."""
    with pytest.raises(ValueError, match="write tcp://"):
        connection("tls://host:1", tls=tls)


@pytest.mark.parametrize("url", [None, 5, b"tcp://host:1"], ids=repr)
def test_url_is_text(url: Any) -> None:
    """Anything else is a ``TypeError``."""
    with pytest.raises(TypeError, match="URL is text"):
        connection(url)


@pytest.mark.parametrize(
    "imports",
    [
        "import cnx",
        "from cnx.connections.connection import Connection; import cnx",
        "import cnx.connections.urls, cnx.connections.connection, cnx",
    ],
)
def test_function_is_found_whatever_was_imported(imports: str) -> None:
    """``cnx.connection`` is the function, whatever modules were imported before."""
    program = f"{imports}; print(cnx.connection('tcp://h:1'), cnx.connect.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert done.stdout == "<SocketConnection h:1 not connected> cnx.connections.urls\n", done.stderr


def test_unknown_arguments_are_refused() -> None:
    """As by the class itself."""
    with pytest.raises(TypeError, match="speed"):
        connection("tcp://host:1", speed=9)


def test_connect_opens() -> None:
    """Or says why not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}?timeout=10"
        with cnx.connect(url) as made:
            assert made.connected
            peer, _ = listener.accept()
            peer.close()
    with pytest.raises(ConnectError, match="refused"):
        cnx.connect(url)


class Beacon(StreamConnection):
    """A kind of connection that a user has made."""

    def __init__(self, device: str, *, channel: int = 0) -> None:
        super().__init__()
        self.device, self.channel = device, channel

    @property
    def address(self) -> str:
        """The device."""
        return self.device

    def open_transport(self, deadline: Deadline) -> Transport:
        """Find no such device."""
        raise ConnectError(f"there is no {self.device}")


def beacon(parts: SplitResult, query: dict[str, str], settings: dict[str, Any]) -> Beacon:
    """Make one of a URL."""
    if "channel" in query:
        settings["channel"] = int(query.pop("channel"))
    return Beacon(parts.netloc, **settings)


@pytest.fixture
def beacons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a scheme for one test."""
    monkeypatch.setattr("cnx.connections.urls._SCHEMES", dict(urls._SCHEMES))
    cnx.register_scheme("ble", beacon)


@pytest.mark.usefixtures("beacons")
def test_scheme_of_a_user() -> None:
    """It is found like the others, its options are known, and others are refused by name."""
    made = connection("ble://aa-bb?channel=7", Beacon)
    assert (made.address, made.channel) == ("aa-bb", 7)
    assert connection("ble://aa-bb", Beacon, channel=3).channel == 3  # type: ignore[call-arg]  # of its own
    with pytest.raises(ValueError, match=r"'ble://aa-bb': unknown option speed"):
        connection("ble://aa-bb?speed=1")
    with pytest.raises(ValueError, match=r"one of tcp, .*, ble|none of tcp, .*, ble"):
        connection("bluetooth://aa-bb")
    with pytest.raises(ValueError, match="invalid literal"):
        connection("ble://aa-bb?channel=x")


@pytest.mark.usefixtures("beacons")
@pytest.mark.parametrize("scheme", ["ble", "tcp", "B", "1a", "a b", ""])
def test_scheme_that_cannot_be_registered(scheme: str) -> None:
    """It is taken, or no scheme."""
    with pytest.raises(ValueError, match="scheme"):
        cnx.register_scheme(scheme, beacon)


def test_kind_that_the_scheme_does_not_give() -> None:
    """The error says which class to pass."""
    with pytest.raises(TypeError, match=r"gives a UdpConnection, not a StreamConnection; pass cnx.UdpConnection"):
        connection("udp://host:1")
