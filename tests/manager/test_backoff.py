"""The waits between attempts."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx import AccessDenied, Backoff, Cancelled, ConnectError, TornDown
from cnx.manager.worker import RetryPolicy


def upper(low: float, high: float) -> float:
    """Stand in for chance with its upper end."""
    return high


def lower(low: float, high: float) -> float:
    """Stand in for chance with its lower end."""
    return low


def test_waits_grow_to_the_cap() -> None:
    """The upper ends double from the first one, and stay at the cap."""
    assert list(islice(Backoff(first=1, cap=10).delays(upper), 6)) == [1, 2, 4, 8, 10, 10]


def test_jitter_is_the_share_that_is_random() -> None:
    """With full jitter a wait may be nothing, without any it is always the same."""
    assert next(Backoff(first=8, jitter=1.0).delays(lower)) == 0
    assert next(Backoff(first=8, jitter=0.25).delays(lower)) == 6
    assert next(Backoff(first=8, jitter=0.0).delays()) == 8


@settings(deadline=None, max_examples=50)
@given(st.floats(0.001, 10), st.floats(1, 5), st.floats(10, 100), st.floats(0, 1))
def test_waits_stay_within_bounds(first: float, factor: float, cap: float, jitter: float) -> None:
    """Whatever the policy, no wait is negative or above the cap, and the ceilings never fall."""
    backoff = Backoff(first=first, factor=factor, cap=cap, jitter=jitter)
    assert all(0 <= delay <= cap for delay in islice(backoff.delays(), 50))
    assert all(one <= other for one, other in pairwise(islice(backoff.delays(upper), 50)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0},
        {"first": -1},
        {"first": float("nan")},
        {"factor": 0.5},
        {"cap": 0.1},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"attempts": 0},
        {"total": -1},
        {"reset_after": -1},
        {"cap": float("inf")},
        {"cap": 1e12},
    ],
)
def test_impossible_policy_is_refused(wrong: dict[str, float]) -> None:
    """The error names the argument."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"first": "1"}, {"cap": None}, {"attempts": 1.5}, {"attempts": True}], ids=str)
def test_what_is_no_number_is_refused(wrong: dict[str, object]) -> None:
    """The error names the argument."""
    with pytest.raises(TypeError, match=next(iter(wrong))):
        Backoff(**wrong)  # type: ignore[arg-type]


def test_local_preset_is_quick() -> None:
    """It tries at least once a second."""
    assert max(islice(Backoff.local().delays(upper), 50)) <= 1.0


def test_policy_gives_up_by_attempts_time_or_fatal_errors() -> None:
    """Each limit of the policy counts for itself; a fatal error ends it unless it is to persist."""
    error, denied = ConnectError("no"), AccessDenied("wrong password")
    assert not RetryPolicy(Backoff(), False).gives_up(error, 10**6, 1e9)
    assert RetryPolicy(Backoff(attempts=3), False).gives_up(error, 3, 0)
    assert not RetryPolicy(Backoff(attempts=3), False).gives_up(error, 2, 0)
    assert RetryPolicy(Backoff(total=5), False).gives_up(error, 1, 5)
    assert RetryPolicy(Backoff(), False).gives_up(denied, 1, 0)
    assert not RetryPolicy(Backoff(), True).gives_up(denied, 1, 0)


@pytest.mark.parametrize("error", [Cancelled("asked"), TornDown("over")])
def test_what_was_asked_for_is_never_tried_again(error: Exception) -> None:
    """Not even a manager that persists goes against a command."""
    assert RetryPolicy(Backoff(), True).gives_up(error, 1, 0)


def test_peer_may_ask_for_a_longer_wait() -> None:
    """``retry_after`` of an error counts where it is longer; after a fatal error it is the wait, or the cap is."""
    policy = RetryPolicy(Backoff(first=1, cap=8, jitter=0), True)
    policy.reset()
    busy, denied = ConnectError("busy"), AccessDenied("no")
    busy.retry_after = 5.0
    assert policy.next_delay(busy) == 5.0
    assert policy.next_delay() == 2.0
    assert policy.next_delay(denied) == 8.0
    denied.retry_after = 0.5
    assert policy.next_delay(denied) == 0.5
    denied.retry_after = -1.0  # of a client that went wrong; it is no time to wait
    assert policy.next_delay(denied) == 8.0
    policy.reset()
    assert policy.next_delay() == 1.0
