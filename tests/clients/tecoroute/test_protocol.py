"""The codec, the login and the requests, against what the published package computes and sends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.tecoroute.protocol import session as protocol
from cnx.clients.tecoroute.protocol.http import Response
from cnx.errors import ProtocolError

ENCODED = {
    "": "",
    "00": "00",
    "ff": "ff",
    "0000": "00ff",
    "00ff": "0000",
    "010203": "01fefa",
    "7f8081": "7ffe7c",
    "ffffff": "ffffff",
    "0001020304050607": "00fefbf7f2ece5dd",
    "68656c6c6f30": "68029528b887",
    "020102000011680b0b68007d6308190a110e1e2d057a1600": "0200fdfcfbe9807468fffe801c13f9eedccdae807affe8e7",
    "020102000001e500": "0200fdfcfbf91312",
}
SECRETS = [
    (0x00, "BroukPytlik", "00BD4ADA64F8A72DB84BE175"),
    (0x01, "BroukPytlik", "01BE4BDB65F9A82EB94CE276"),
    (0x5A, "BroukPytlik", "5A17A434BE52018712A53BCF"),
    (0xFF, "BroukPytlik", "FFBC49D963F7A62CB74AE074"),
    (0x00, "AB_1234", "00BE7B1BE9B6824D"),
    (0x5A, "AB_1234", "5A18D5754310DCA7"),
    (0x00, "Čerpadlo", "003BAE48D564029D30C0"),
]
PROOFS = [
    ("12345678", "ferda1", "9A3CAC7598FCE02727B28288E8266AF243DF9D8F"),
    ("12345678<xml>tail</xml>", "ferda1", "9A3CAC7598FCE02727B28288E8266AF243DF9D8F"),
    ("67022671", "ferda1", "6B59DD06BE6539C47FF7E3EFAEBED0ED446CEDE7"),
    ("", "ferda1", "D891364DE83B202293B919DD48A1C25661B9A179"),
    ("abc", "ferda1", "6BAF4E0B945C6A6FDA266ED752258EC246025B9F"),
    ("12345678", "přímo", "766DF12BB1F61CE6A72C2C3F2E0189FEF6B2C872"),
]
AGENT = "User-Agent: tecoroute/0.1.0 (+https://opensource.cze.tech/tecoroute)"


def lines(*texts: str) -> bytes:
    """Return lines as HTTP has them."""
    return "".join(f"{text}\r\n" for text in texts).encode()


def encode_slowly(data: bytes) -> bytes:
    """Return the running difference by its definition."""
    encoded = bytearray(data[:1])
    for byte in data[1:]:
        encoded.append((encoded[-1] + 255 - byte) % 256)
    return bytes(encoded)


@pytest.mark.parametrize(("clear", "encoded"), ENCODED.items())
def test_codec_vectors(clear: str, encoded: str) -> None:
    """The codec gives what the published package gives, and nothing for nothing."""
    assert protocol.encode(bytes.fromhex(clear)).hex() == encoded
    assert protocol.decode(bytes.fromhex(encoded)).hex() == clear


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=600))
def test_codec_follows_its_definition(data: bytes) -> None:
    """Any data are encoded by the definition of the running difference, and come back."""
    assert protocol.encode(data) == encode_slowly(data)
    assert protocol.decode(protocol.encode(data)) == data


def test_codec_of_the_largest_datagram() -> None:
    """The largest datagram is encoded and decoded without an overflow."""
    data = b"\x00" * protocol.DATAGRAM_LIMIT
    assert protocol.encode(data) == encode_slowly(data)
    assert protocol.decode(protocol.encode(data)) == data


@pytest.mark.parametrize(("first", "text", "expected"), SECRETS)
def test_secret_vectors(first: int, text: str, expected: str) -> None:
    """Names are hidden as by the published package."""
    assert protocol.secret(text, first) == expected.encode()


@pytest.mark.parametrize(("salt", "password", "expected"), PROOFS)
def test_password_proof_vectors(salt: str, password: str, expected: str) -> None:
    """The proof takes eight characters, not bytes, of whatever the salt's body has."""
    assert protocol.password_proof(salt, password) == expected.encode()


def test_index_request() -> None:
    """The first request is right to the byte."""
    assert protocol.index_request("Mosaic", b"48059222AC40EF75009329BD") == lines(
        "GET /INDEX.XML HTTP/1.1",
        "Host: NT_Host",
        AGENT,
        "x-aplic: Mosaic tecoroute",
        "s-tcm: 1",
        "n-user: 48059222AC40EF75009329BD",
        "",
    )


def test_user_request() -> None:
    """The second request is right to the byte."""
    proof = protocol.password_proof("12345678", "ferda1")
    assert protocol.user_request(proof) == lines(
        "PUT /IAM.TXT HTTP/1.1",
        "Host: NT_Host",
        "Content-Length: 42",
        AGENT,
        "",
        "9A3CAC7598FCE02727B28288E8266AF243DF9D8F",
    )


def test_plc_request() -> None:
    """The third request is right to the byte."""
    assert protocol.plc_request(b"9D5B18B886531FEA") == lines(
        "PUT /PLC.TXT HTTP/1.1", "Host: NT_Host", "Content-Length: 18", AGENT, "", "9D5B18B886531FEA"
    )


def test_data_request() -> None:
    """A request with data is right to the byte."""
    head = lines("GET /DATA.BIN HTTP/1.1", "Host: NT_Host", "Content-Length: 6", AGENT, "u-tcm: U-TCM", "")
    assert protocol.data_request(b"hello0") == head + bytes.fromhex("68029528b887")


def test_keepalive_request() -> None:
    """A request without data says so by its length."""
    head = lines("GET /DATA.BIN HTTP/1.1", "Host: NT_Host", "Content-Length: 0", AGENT, "u-tcm: U-TCM", "")
    assert protocol.data_request(b"") == head


@pytest.mark.parametrize(
    ("status", "body", "strict", "lenient"),
    [
        (200, b"OK\r\n", None, None),
        (200, b"", None, None),
        (200, b"ERROR 42", None, None),
        (200, b"BAD_USER \r\n", "BAD_USER", "BAD_USER"),
        (403, b"x_y", "x_y", "x_y"),
        (404, b"404 Not Found", "404 Not Found", None),
        (401, b"", "HTTP status 401", None),
    ],
)
def test_user_refusal(status: int, body: bytes, strict: str | None, lenient: str | None) -> None:
    """An underscore refuses the user; strictly, so does every status but 200."""
    assert protocol.user_refusal(Response(status, body)) == strict
    assert protocol.user_refusal(Response(status, body), strict=False) == lenient


@pytest.mark.parametrize(
    ("status", "body", "strict", "lenient"),
    [
        (200, b"00AB\r\n", None, None),
        (500, b"00AB\r\n", "00AB", None),
        (200, b"00AB", "00AB", "00AB"),
        (200, b"00ab\r\n", "00ab", "00ab"),
        (200, b"00AB\r\nx", "00AB\r\nx", "00AB\r\nx"),
        (200, b"NO_PLC \r\n", "NO_PLC", "NO_PLC"),
        (404, b"", "HTTP status 404", "HTTP status 404"),
    ],
)
def test_plc_refusal(status: int, body: bytes, strict: str | None, lenient: str | None) -> None:
    """Only the very body that was sent accepts the PLC; strictly, only with status 200."""
    assert protocol.plc_refusal(Response(status, body), b"00AB") == strict
    assert protocol.plc_refusal(Response(status, body), b"00AB", strict=False) == lenient


def test_login_text_that_is_not_utf8() -> None:
    """Bytes that are no text break the protocol, wherever text is expected."""
    with pytest.raises(ProtocolError, match="not UTF-8"):
        protocol.text_of(Response(200, b"\xff\xfe"))
    with pytest.raises(ProtocolError, match="not UTF-8"):
        protocol.user_refusal(Response(200, b"\xff\xfe"))


@pytest.mark.parametrize("application", ["", "a\r\nx: y", "Žába", " Mosaic", "Mosaic\t", "a" * 256])
def test_bad_application_names(application: str) -> None:
    """What could not stand in a header line is refused before anything is sent."""
    with pytest.raises(ValueError, match="application"):
        protocol.checked_application(application)


@pytest.mark.parametrize("name", ["", "x" * 256, "ž" * 128, "\ud800"])
def test_bad_names(name: str) -> None:
    """Empty, too long and unencodable names are refused."""
    with pytest.raises(ValueError, match=r"name|surrogates"):
        protocol.secret(name, 0)


def test_names_and_datagrams_of_a_wrong_type() -> None:
    """Text where bytes belong, and the other way round, is refused."""
    with pytest.raises(TypeError, match="str"):
        protocol.checked_name(b"x", "a user")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes"):
        protocol.checked_datagram("x")  # type: ignore[arg-type]


def test_datagram_over_the_limit() -> None:
    """A datagram that no UDP packet could carry is refused; the largest is not."""
    assert len(protocol.checked_datagram(bytearray(protocol.DATAGRAM_LIMIT))) == protocol.DATAGRAM_LIMIT
    with pytest.raises(ValueError, match="at most 65507"):
        protocol.checked_datagram(bytes(protocol.DATAGRAM_LIMIT + 1))
