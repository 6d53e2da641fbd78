"""Registration, heartbeats and global connects: captured examples, round trips, bad values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.smartbus.protocol.codes import Code, Presence, meaning
from cnx.clients.smartbus.protocol.layout import Layout, Text
from cnx.clients.smartbus.protocol.messages import (
    GlobalConnect,
    GlobalConnectExisting,
    Heartbeat,
    HeartbeatAck,
    Register,
    RegisterAck,
)
from cnx.clients.smartbus.protocol.packets import HEADER, Address, Packet
from cnx.errors import ProtocolError

US = Address(19, 5, 9)
NOBODY = Address(0, 0, 0)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


def texts(size: int, encoding: str = "utf-8") -> st.SearchStrategy[str]:
    """Return texts that fit a field of ``size`` bytes with its NUL."""
    characters = st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])
    return st.text(characters, max_size=size - 1).filter(lambda text: len(text.encode(encoding)) < size)


def rows(text: str) -> list[tuple[int, bytes]]:
    """Return the offsets and bytes of a hex dump that leaves out rows of zeros."""
    lines = (line.split() for line in text.strip().splitlines())
    return [(int(offset, 16), bytes.fromhex("".join(values))) for offset, *values in lines]


REGISTER_ROWS = """
000000  15 5b 01 00 09 13 05 00 00 00 00 00 a5 17 00 00
000010  91 17 00 00 00 31 2e 30 2e 31 2e 30 34 36 35 00
000020  00 00 00 00 00 00 00 00 00 75 73 65 72 00 00 00
000060  00 00 00 00 00 00 00 00 00 73 65 63 72 65 74 00
0000e0  00 00 00 00 00 00 00 00 00 17 78 00 00 00 00 00
0000f0  00 6e 61 74 69 76 65 20 64 72 69 76 65 72 00 00
0001f0  00 01 01 13 00 00 00 ff ff ff ff 01 00 00 00 00
000280  00 00 00 00 01 01 01 05 00 00 00 09 00 00 00 6e
000290  61 74 69 76 65 20 64 72 69 76 65 72 00 00 00 00
"""


def test_captured_registration() -> None:
    """Our registration is the captured one, byte for byte, and zero elsewhere."""
    register = Register(user="user", password="secret", info="native driver", process=0x7817)
    data = bytes(register.packet(US, NOBODY))
    expected = bytearray(6053)
    for offset, values in rows(REGISTER_ROWS):
        expected[offset : offset + len(values)] = values
    assert data == bytes(expected)
    assert Register.parse(data[HEADER.size :]) == register


def test_registration_without_node_and_of_another_platform() -> None:
    """The node is optional: a 32-bit client has a shorter one."""
    register = Register(link=1, user="u", process=3)
    payload = register.packet(US, NOBODY).data
    for size in (477, 5989 - 20, len(payload)):
        assert Register.parse(payload[:size]) == register
    with pytest.raises(ProtocolError, match="477 bytes"):
        Register.parse(payload[:476])


def test_registration_tells_the_last_access_point() -> None:
    """Registering again tells the server where the client was; -1 where it was nowhere."""
    assert Register(access_point=7).packet(US, NOBODY).data[477 + 6 : 477 + 10] == b"\7\0\0\0"
    assert Register().packet(US, NOBODY).data[477 + 6 : 477 + 10] == b"\xff\xff\xff\xff"


def test_password_is_not_shown() -> None:
    """Neither the representation nor an error shows a password."""
    assert "secret" not in repr(Register(password="secret"))
    with pytest.raises(ValueError, match="password has 200 bytes") as caught:
        Register(password="secret78" * 25).payload()
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="does not fit its field") as caught:
        Register(password="secret", link=256).payload()
    assert "secret" not in str(caught.value)


@given(st.integers(0, 255), texts(64), texts(128), texts(256), INT64)
@settings(deadline=None)
def test_registration_round_trip(link: int, user: str, password: str, info: str, process: int) -> None:
    """What a client says of itself is what the server reads."""
    register = Register(link, user, password, info, process)
    packet = register.packet(US, NOBODY)
    assert len(packet.data) == 6033
    assert Register.parse(packet.data) == register


@pytest.mark.parametrize(("name", "limit"), [("user", 63), ("password", 127), ("info", 255), ("version", 19)])
def test_text_that_is_too_long_is_refused(name: str, limit: int) -> None:
    """Nothing is cut silently: one byte less fits, one more is an error that says so."""
    Register(**{name: "x" * limit}).payload()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} has {limit + 1} bytes"):
        Register(**{name: "x" * (limit + 1)}).payload()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} has"):
        Register(**{name: "好" * (limit // 2)}).payload()  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a\0b", "\0"])
def test_text_with_nul_is_refused(value: str) -> None:
    """A NUL would end the text on the way."""
    with pytest.raises(ValueError, match="NUL"):
        Register(user=value).payload()


def test_text_of_the_wrong_type_is_refused() -> None:
    """Bytes are not text."""
    with pytest.raises(TypeError, match="user must be text"):
        Register(user=b"bytes").payload()  # type: ignore[arg-type]


@pytest.mark.parametrize("result", [0, -5, -10, 7])
def test_registration_ack(result: int) -> None:
    """The answer is read from four bytes as from 5560."""
    packet = RegisterAck(result).packet(Address(0, 0, 1), US)
    assert len(bytes(packet)) == 5580
    assert bytes(packet)[:20].hex(" ") == "15 5b 02 00 01 00 00 09 13 05 00 00 cc 15 00 00 b8 15 00 00"
    assert RegisterAck.parse(packet.data) == RegisterAck.parse(packet.data[:4]) == RegisterAck(result)
    with pytest.raises(ProtocolError):
        RegisterAck.parse(packet.data[:3])


def test_captured_heartbeats() -> None:
    """A heartbeat and its answer are the captured ones."""
    beat = Heartbeat(0, sent=0x6B0086AE).packet(US, Address(0xFF, 0, 1))
    assert beat.data.hex() == "0000000000000000ae86006b000000000000000000000000"
    sent = bytes(Packet(5, 0, US, Address(0, 0xFF, 1), beat.data))
    assert sent[:20].hex(" ") == "15 5b 05 00 09 13 05 01 00 ff 00 00 2c 00 00 00 18 00 00 00"
    ack = HeartbeatAck(0, 0, 0x6B0086BD, 0x6B0086BD).packet(Address(0, 0, 1), US)
    assert (
        bytes(ack).hex() == "155b060001000009130500002c000000180000000000000000000000bd86006b00000000bd86006b00000000"
    )


@given(INT32, INT32, INT64, INT64)
@settings(deadline=None)
def test_heartbeat_round_trip(count: int, resent: int, sent: int, returned: int) -> None:
    """Heartbeats are read as written; the count alone is enough."""
    for kind in (Heartbeat, HeartbeatAck):
        beat = kind(count, resent, sent, returned)
        assert kind.parse(beat.payload()) == beat
        assert kind.parse(beat.payload()[:4]) == kind(count)
    with pytest.raises(ProtocolError):
        Heartbeat.parse(b"\0\0\0")


def test_captured_global_connect() -> None:
    """The notice is a packet inside a packet; the inner one has no padding."""
    notice = GlobalConnect(Address(30, 1, 10), 0, Presence.NEW, "peer")
    data = bytes(notice.packet(Address(0, 0, 1), US))
    outer = "15 5b 09 01 01 00 00 09 13 05 00 00 2e 01 00 00 19 01 00 00"
    inner = "15 5b 09 01 01 00 00 09 13 05 00 00 19 01 00 00 05 01 00 00 1e 01 0a 00 01 70 65 65 72 00"
    assert data[:50].hex(" ") == f"{outer} {inner}"
    assert len(data) == 302
    assert GlobalConnect.parse(data[20:301]) == notice


def test_captured_answer_to_a_newcomer() -> None:
    """The answer that clients give carries the command 10 inside and outside; its info may be cp936."""
    answer = bytes.fromhex(
        "155b0a01091305 0a1e01 0218 19010000 05010000 1305 0900 02 d0c5cfa2 00 2873746163 6b29".replace(" ", "")
    ).ljust(281, b"\x7f")
    assert GlobalConnectExisting.parse(answer) == GlobalConnectExisting(US, 0, Presence.EXISTING, "信息")
    packet = GlobalConnectExisting(US, 0, Presence.EXISTING, "x").packet(US, Address(30, 1, 10))
    assert packet.cmd == packet.data[2] == 10


@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(0, 255), st.integers(-128, 127), texts(256))
@settings(deadline=None)
def test_global_connect_round_trip(address: tuple[int, int, int], access_point: int, status: int, info: str) -> None:
    """Notices are read as written."""
    notice = GlobalConnect(Address(*address), access_point, status, info)
    assert GlobalConnect.parse(notice.packet(US, NOBODY).data) == notice


@pytest.mark.parametrize("size", [0, 20, 280, 282])
def test_global_connect_of_another_length(size: int) -> None:
    """The length of a notice is fixed."""
    with pytest.raises(ProtocolError, match="281"):
        GlobalConnect.parse(bytes(size))


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_random_payloads_raise_nothing_else(payload: bytes) -> None:
    """Whatever comes is a message or a ProtocolError."""
    for kind in (Register, RegisterAck, Heartbeat, GlobalConnect):
        try:
            kind.parse(payload)
        except ProtocolError:
            continue


def test_layout_names_what_is_missing() -> None:
    """A number that does not fit its field is a ValueError with the numbers, not with the texts."""
    layout = Layout(number="b", text=Text(4))
    with pytest.raises(ValueError, match=r"\{'number': 128\}"):
        layout.pack(number=128, text="abc")


def test_meanings_of_codes() -> None:
    """Each code has its English; unknown ones say so."""
    assert meaning(Code.WRONG_PASSWORD) == "wrong password"
    assert meaning(-10) == "already connected"
    assert meaning(7) == "unknown code 7"
