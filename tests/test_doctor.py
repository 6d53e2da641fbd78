"""Endpoints that are broken in different ways, and what the doctor says."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone

import pytest
import trustme
from click.testing import CliRunner

from cnx.cli.commands import cnx
from cnx.connections.transport import TransportConnection
from cnx.connections.urls import connection
from cnx.doctor import Finding, examine
from cnx.faults import faults, reset
from cnx.simulation import Session, Simulator
from tests.helpers.echo import Echo

AUTHORITY = trustme.CA()


class Greeter(Simulator):
    """Greets, then echoes."""

    def serve(self, session: Session) -> None:
        """Serve."""
        session.write(b"HELLO\n")
        while data := session.read():
            session.write(data)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return what keeps endpoints until the end of the test."""
    with ExitStack() as stack:
        yield stack


def context(authority: trustme.CA, name: str, days: float) -> ssl.SSLContext:
    """Return a server's context with a certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = datetime.now(timezone.utc) + timedelta(days=days)
    authority.issue_cert(name, not_before=end - timedelta(days=400), not_after=end).configure_cert(made)
    return made


def trusting() -> ssl.SSLContext:
    """Return a client's context that trusts the authority."""
    made = ssl.create_default_context()
    AUTHORITY.configure_trust(made)
    return made


def diagnose(url: str, request: bytes = b"", timeout: float = 10.0, patience: float = 0.05) -> list[Finding]:
    """Return the findings; where TLS is wanted, the authority of these tests is trusted."""
    settings = {"tls": trusting()} if url.startswith("tls") else {}
    subject = connection(url, TransportConnection, **settings)
    return list(examine(subject, timeout=timeout, patience=patience, request=request))


def served(stack: ExitStack, authority: trustme.CA = AUTHORITY, name: str = "localhost", days: float = 300) -> str:
    """Return the URL of a greeter with TLS."""
    return (
        stack.enter_context(Greeter()).listen_tcp(tls=context(authority, name, days)).replace("127.0.0.1", "localhost")
    )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def full(stack: ExitStack) -> str:
    """Return the URL of a server whose queue is full, so that an attempt to connect hangs."""
    server = stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    for _ in range(2):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(server.getsockname())
    return f"tcp://127.0.0.1:{server.getsockname()[1]}"


BROKEN: dict[str, tuple[Callable[[ExitStack], str], str, str]] = {
    "unknown name": (lambda _: "tcp://no-such-host.invalid:1", "name", "is not known"),
    "refused": (lambda _: f"tcp://127.0.0.1:{free_port()}", "address", "refuses connections"),
    "hangs": (full, "address", "does not answer"),
    "plain": (
        lambda stack: stack.enter_context(Greeter()).listen_tcp().replace("tcp", "tls"),
        "TLS",
        "does not speak TLS",
    ),
    "mute TLS": (lambda stack: mute(stack), "TLS", "does not answer the TLS greeting"),
    "authority": (lambda stack: served(stack, trustme.CA()), "TLS", "is not trusted"),
    "wrong name": (lambda stack: served(stack, name="elsewhere.example"), "TLS", "is not for 'localhost'"),
    "expired": (lambda stack: served(stack, days=-1), "TLS", "has expired"),
    "closes": (lambda stack: stack.enter_context(Closer()).listen_tcp(), "first bytes", "closes the link at once"),
}


class Closer(Simulator):
    """Has no time for anybody."""

    def serve(self, session: Session) -> None:
        """Close."""


def mute(stack: ExitStack) -> str:
    """Return the URL of a server that accepts and never speaks."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return f"tls://localhost:{server.getsockname()[1]}"


@pytest.mark.parametrize("case", BROKEN)
def test_verdicts(case: str, stack: ExitStack) -> None:
    """Each broken endpoint gets its own verdict, as the last finding and the only bad one, and an advice."""
    make, step, verdict = BROKEN[case]
    url = make(stack)
    findings = diagnose(url, timeout=0.3 if case in ("hangs", "mute TLS") else 10.0, patience=10.0)
    bad = [finding for finding in findings if finding.good is False]
    assert bad[-1:] == findings[-1:]
    assert (bad[-1].step, verdict in bad[-1].verdict, bool(bad[-1].advice)) == (step, True, True), findings
    assert all(finding.step in ("name", "address", "TLS", "certificate") for finding in findings[:-1])


def test_verdicts_differ() -> None:
    """No two of them are told in the same words."""
    assert len({verdict for _, _, verdict in BROKEN.values()}) == len(BROKEN)


def test_reset(stack: ExitStack) -> None:
    """A link that is reset is told from one that is closed."""
    server = stack.enter_context(Echo())
    url = server.listen_tcp()
    stack.enter_context(faults(server, reset()))
    verdict = diagnose(url, patience=10.0)[-1].verdict
    assert "the link broke" in verdict or "reset by peer" in verdict  # it may come before the attempt is over


def test_silent(stack: ExitStack) -> None:
    """Silence is neither good nor bad."""
    last = diagnose(stack.enter_context(Echo()).listen_tcp())[-1]
    assert (last.good, last.verdict) == (None, "it accepts, and says nothing")


def test_healthy(stack: ExitStack) -> None:
    """Where all is well, every step says so and how long it took."""
    findings = diagnose(served(stack), b"ping", patience=10.0)
    steps = [finding.step for finding in findings if finding.good]
    assert steps == ["name", "address", "TLS", "certificate", "first bytes", "round trip"]
    assert findings[-1].verdict == "it answers b'ping'"
    assert "299 more days" in findings[-3].verdict or "300 more days" in findings[-3].verdict


def test_expires_soon(stack: ExitStack) -> None:
    """A certificate that ends soon is told in time."""
    assert any(finding.verdict == "valid for 9 more days only" for finding in diagnose(served(stack, days=9.1)))


def test_no_answer(stack: ExitStack) -> None:
    """A device that does not answer a request is told of."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    last = diagnose(f"tcp://127.0.0.1:{server.getsockname()[1]}", b"ping", timeout=0.1)[-1]
    assert (last.step, last.good) == ("round trip", False)


@pytest.mark.parametrize("kind", ["unix://{}/device", "pty:", "udp://127.0.0.1:0"])
def test_other_kinds(kind: str, stack: ExitStack, tmp_path: object) -> None:
    """What is no TCP is opened, and asked."""
    url = stack.enter_context(Echo()).listen(kind.format(tmp_path))
    findings = diagnose(url, b"abc")
    assert [finding.step for finding in findings] == ["open", "first bytes", "round trip"]
    assert findings[-1].good
    assert findings[0].good is (None if url.startswith("udp") else True)


def test_closed_udp_port(stack: ExitStack) -> None:
    """An open socket proves nothing; a request to a port where nobody listens fails, with what the host says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    silent = diagnose(f"udp://127.0.0.1:{port}")
    assert [(finding.step, finding.good) for finding in silent] == [("open", None), ("first bytes", None)]
    asked = diagnose(f"udp://127.0.0.1:{port}", b"ping", timeout=0.1)
    assert (asked[-1].step, asked[-1].good, "nothing listens" in asked[-1].verdict) == ("round trip", False, True)


def test_what_is_not_there(tmp_path: object) -> None:
    """A socket or port that does not exist is told."""
    assert diagnose(f"unix://{tmp_path}/missing")[-1][0:3:2] == ("open", False)


class TestCommand:
    """``cnx doctor``"""

    def test_good(self, stack: ExitStack) -> None:
        """All is well: exit code 0."""
        url = stack.enter_context(Greeter()).listen_tcp()
        result = CliRunner().invoke(cnx, ["doctor", url, "--send", r"*IDN?\n"])
        assert result.exit_code == 0, result.output
        assert [line.split()[0] for line in result.output.splitlines()] == ["ok"] * 4
        assert r"it answers b'*IDN?\n'" in result.output

    def test_bad(self) -> None:
        """Something is wrong: it is told with an advice, and exit code 1."""
        result = CliRunner().invoke(cnx, ["doctor", f"tcp://127.0.0.1:{free_port()}"])
        assert result.exit_code == 1
        assert "refuses connections" in result.output
        assert "is the program running" in result.output

    @pytest.mark.parametrize("asked", [("{}?verify=no",), ("{}", "--insecure"), ("{}?timeout=5", "--insecure")])
    def test_without_verification(self, stack: ExitStack, asked: tuple[str, ...]) -> None:
        """That nobody looks at a certificate is said loudly, where it was asked for."""
        url = served(stack, name="elsewhere.example")
        result = CliRunner().invoke(cnx, ["doctor", *(each.format(url) for each in asked)])
        assert result.exit_code == 0, result.output
        assert f"WARNING: the certificate of {url.removeprefix('tls://')} is NOT verified" in result.output

    def test_wrong_usage(self) -> None:
        """What is no URL is told as such."""
        assert CliRunner().invoke(cnx, ["doctor", "http://127.0.0.1"]).exit_code == 2
        assert CliRunner().invoke(cnx, ["doctor", "tcp://127.0.0.1:1", "--send", "\\x"]).exit_code == 2
        assert CliRunner().invoke(cnx, ["doctor", "smartbus://u@127.0.0.1/?unit=20", "--insecure"]).exit_code == 2
