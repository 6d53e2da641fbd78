"""The latest message of each topic, and waiting for the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple

from cnx.clients.m2.protocol.fields import Topic
from cnx.deadline import checked_timeout
from cnx.errors import ConnectionLost, TimedOut, fresh
from cnx.threads.condition import Condition
from cnx.threads.locks import Lock

__all__ = ["Expectation", "Sample", "Topics"]

MOST_TOPICS = 1000
"""Topics that are kept, at most; a controller has about twenty on each port."""

Predicate = Callable[[dict[str, Any]], object]


class Sample(NamedTuple):
    """A message and when it arrived.

    Attributes:
        message: the whole message, with its ``id``.
        received: when it arrived, in the time of ``time.monotonic()``.
    """

    message: dict[str, Any]
    received: float

    @property
    def age(self) -> float:
        """Seconds since it arrived."""
        return monotonic() - self.received


class Expectation:
    """A message that is waited for; also a context manager that stops waiting at its end. Thread-safe."""

    def __init__(self, topics: Topics, topic: str, condition: Predicate | None) -> None:
        self.topic = topic
        self._topics = topics
        self._condition = condition
        self._outcome: dict[str, Any] | Exception | None = None

    def wait(self, timeout: float | None = 10.0) -> dict[str, Any]:
        """Return the first message since the expectation began that meets the condition.

        Args:
            timeout: seconds; ``None`` for no limit.

        Raises:
            TimedOut: none arrived in time; you can wait again.
            ConnectionLost: the connection ended.
            RuntimeError: a handler called it on the thread that would bring the message.
            Exception: the condition raised it.
        """
        seconds = checked_timeout(timeout)
        if self._outcome is None:
            self._topics.check_may_wait(f"wait for {self.topic}")
            self._topics.changed.wait_for(lambda: self._outcome, seconds)
        if isinstance(self._outcome, Exception):
            raise fresh(self._outcome)
        if self._outcome is None:
            which = "" if self._condition is None else " that meets the condition"
            raise TimedOut(f"no {self.topic}{which} arrived within {timeout:g} s")
        return self._outcome

    def cancel(self) -> None:
        """Stop waiting."""
        self._topics.forget(self)

    def judge(self, message: dict[str, Any]) -> dict[str, Any] | Exception | None:
        """Return ``message`` if it meets the condition, or what the condition raised; else ``None``."""
        try:
            met = self._condition is None or self._condition(message)
        except Exception as error:
            return error
        return message if met else None

    def resolve(self, outcome: dict[str, Any] | Exception) -> None:
        """End the waiting; called once, by the thread that has taken the expectation out of the table."""
        self._outcome = outcome
        self._topics.changed.notify()

    def __enter__(self) -> Expectation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


class Topics:
    """The messages of one port by topic. Thread-safe; one thread stores.

    Args:
        known: the topics that the controller is known to send.
        check_may_wait: raises RuntimeError on a thread that must not wait for messages; gets what it wants to do.

    Attributes:
        changed: notified when an expectation has ended.
    """

    def __init__(self, known: Mapping[str, Topic], check_may_wait: Callable[[str], None]) -> None:
        self.changed = Condition()
        self.check_may_wait = check_may_wait
        self._known = known
        self._lock = Lock()
        self._latest: dict[str, Sample] = {}
        self._expected: dict[str, list[Expectation]] = {}

    def store(self, message: dict[str, Any]) -> None:
        """Keep a message as the latest of its topic, and end the expectations that it meets."""
        topic = message["id"]
        self._latest[topic] = Sample(message, monotonic())
        if len(self._latest) > MOST_TOPICS:
            del self._latest[next(iter(self._latest))]
        for expectation in self._expected.get(topic, ()):
            outcome = expectation.judge(message)
            if outcome is not None and self.forget(expectation):
                expectation.resolve(outcome)

    def latest(self, topic: str) -> Sample | None:
        """Return the latest message of a topic; raises ValueError if there is no such topic."""
        sample = self._latest.get(topic)
        if sample is None:
            self._check(topic)
        return sample

    def expect(self, topic: str, condition: Predicate | None = None) -> Expectation:
        """Start waiting for a message; raises ValueError if there is no such topic."""
        self._check(topic)
        expectation = Expectation(self, topic, condition)
        with self._lock:
            self._expected[topic] = [*self._expected.get(topic, ()), expectation]
        return expectation

    def forget(self, expectation: Expectation) -> bool:
        """Take an expectation out of the table; return whether it was there."""
        with self._lock:
            waiting = self._expected.get(expectation.topic, [])
            left = [other for other in waiting if other is not expectation]
            self._expected[expectation.topic] = left
            if not left:
                del self._expected[expectation.topic]
            return len(left) < len(waiting)

    def lose_all(self, reason: BaseException) -> None:
        """End all expectations because the connection has ended."""
        with self._lock:
            expected, self._expected = self._expected, {}
        for topic, waiting in expected.items():
            for expectation in waiting:
                error = ConnectionLost(f"no {topic} arrived before the connection ended: {reason}")
                error.__cause__ = reason
                expectation.resolve(error)

    def _check(self, topic: str) -> None:
        if topic not in self._known and topic not in self._latest:
            raise ValueError(
                f"no topic {topic!r} is known, and none has arrived; known: {', '.join(sorted(self._known))}"
            )
