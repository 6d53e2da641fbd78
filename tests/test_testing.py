"""Tests of the fakes and fixtures that cnx gives to its users."""

from __future__ import annotations

import pytest

from cnx.testing import PtyPeer, connection_pair, scripted_peer, serial_pair

pytest_plugins = ["pytester"]


def test_connection_pair_is_connected_both_ways() -> None:
    """Bytes go both ways, and the connection is over after the block."""
    with connection_pair() as (connection, peer):
        connection.write(b"to the peer")
        assert peer.recv(100) == b"to the peer"
        peer.sendall(b"from the peer")
        assert connection.readexactly(13, timeout=10) == b"from the peer"
    assert not connection.connected


def test_serial_pair_is_connected_both_ways() -> None:
    """Bytes go both ways through a pty."""
    with serial_pair() as (connection, peer):
        connection.write(b"\x00\r\n\xff")
        assert peer.recv(100) == b"\x00\r\n\xff"
        peer.sendall(b"\x11\x13\r")
        assert connection.readexactly(3, timeout=10) == b"\x11\x13\r"


def test_scripted_peer_answers() -> None:
    """Each expected piece gets its answer."""
    script = [(b"a\r\n", b"1\r\n"), (b"bb\r\n", b"2\r\n")]
    with connection_pair() as (connection, peer), scripted_peer(peer, script):
        assert connection.request(b"a\r\n", timeout=10) == b"1\r\n"
        assert connection.request(b"bb\r\n", timeout=10) == b"2\r\n"


def test_scripted_peer_tells_what_was_wrong() -> None:
    """A wrong request fails the test at the end of the block."""
    with pytest.raises(AssertionError, match="expected b'right', got b'wr"), connection_pair() as (connection, peer):
        with scripted_peer(peer, [(b"right", b"")]):
            connection.write(b"wrong")


def test_scripted_peer_wants_its_script_played() -> None:
    """A connection that ends early fails the test."""
    with pytest.raises(AssertionError, match="step 1"), connection_pair() as (connection, peer):
        with scripted_peer(peer, [(b"never sent", b"")]):
            connection.disconnect()


def test_pty_peer_ends_with_the_port() -> None:
    """Closing twice is harmless."""
    peer = PtyPeer()
    peer.close()
    peer.close()


@pytest.mark.parametrize(
    ("leak", "name"),
    [
        ("threading.Thread(target=threading.Event().wait, name='stray', daemon=True).start()", "stray"),
        ("globals()['kept'] = socket.socket()", "socket"),
    ],
)
def test_no_leaks_fails_a_test_that_leaks(pytester: pytest.Pytester, leak: str, name: str) -> None:
    """A thread or a descriptor that is left behind is named."""
    pytester.makeconftest("import cnx.testing\n\ncnx.testing.PATIENCE = 0.1\n")
    pytester.makepyfile(f"import socket, threading\n\ndef test_leak(no_leaks):\n    {leak}\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*the test left behind: *{name}*"])
