"""Tests of the fakes and fixtures that cnx gives to its users."""

from __future__ import annotations

import threading

import pytest

import cnx.testing
from cnx.testing import NewThreads, PtyPeer, connection_pair, eventually, scripted_peer, serial_pair, wait_until

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


def test_leak_is_named_once(pytester: pytest.Pytester) -> None:
    """A thread or a descriptor that one test has left behind does not fail the next one."""
    pytester.makeconftest("import cnx.testing\n\ncnx.testing.PATIENCE = 0.1\n")
    leaks = "threading.Thread(target=threading.Event().wait, daemon=True).start(); globals()['kept'] = socket.socket()"
    pytester.makepyfile(
        f"import socket, threading\n\ndef test_leak(no_leaks):\n    {leaks}\n\ndef test_next(no_leaks):\n    pass\n"
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2, errors=1)


def test_new_threads_are_those_started_since() -> None:
    """A thread that ran before does not count; one that was started since counts until it ends, if its name fits."""
    over = threading.Event()
    threads = [threading.Thread(target=over.wait, name=name) for name in ("cnx before", "cnx since", "another")]
    threads[0].start()
    try:
        new_threads = NewThreads()
        for thread in threads[1:]:
            thread.start()
        assert new_threads() == threads[1:2]
        assert new_threads("ano") == threads[2:]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert new_threads("") == []


@pytest.mark.parametrize(("looks", "held"), [(3, True), (4, False)])
def test_eventually_looks_when_its_time_is_over(looks: int, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late it is, a condition gets three looks."""
    monkeypatch.setattr(cnx.testing, "PATIENCE", 0.0)
    outcomes = iter([False] * (looks - 1) + [True])
    assert eventually(lambda: next(outcomes)) is held


def test_wait_until_says_what_did_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that never holds fails the test."""
    monkeypatch.setattr(cnx.testing, "PATIENCE", 0.0)
    with pytest.raises(AssertionError, match="the answer: not within 0 s"):
        wait_until(lambda: False, "the answer")
