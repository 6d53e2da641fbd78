"""How long the service takes: the rule for slow answers, the limit for none at all, and keepalives."""

from __future__ import annotations

import pytest

import cnx
from cnx.clients.tecoroute import Connector, ConnectorLatencyError, TecorouteSimulator
from cnx.clients.tecoroute.client.policy import Latency
from tests.helpers.tecoroute_service import PATIENCE, connected, epsnet, manual_service, wait_for_data


def judged(latency: Latency, *seconds: float) -> list[bool]:
    """Return whether the service is too slow after each of these answers, with a request before each."""
    verdicts = []
    for index, taken in enumerate(seconds):
        latency.sent(100.0 * index, answered=True)
        latency.received(100.0 * index + taken)
        verdicts.append(latency.exceeded)
    return verdicts


@pytest.mark.parametrize(
    ("count", "seconds", "verdicts"),
    [
        (2, [0.75, 0.75], [False, True]),
        (2, [0.75, 0.5, 0.75], [False, False, False]),
        (2, [0.5, 1, 0.75], [False, False, True]),
        (1, [0.5, 0.75], [False, True]),
        (3, [1, 1, 0.5, 1, 1, 1], [False, False, False, False, False, True]),
    ],
)
def test_slow_answers_in_a_row(count: int, seconds: list[float], verdicts: list[bool]) -> None:
    """So many slow answers in a row are too many; a fast one between them starts the count anew."""
    assert judged(Latency(0.75, count), *seconds) == verdicts


def test_burst_counts_once() -> None:
    """Of requests that are sent at once only the first answer is measured, from the last request on."""
    latency = Latency(0.1, 2)
    for now in (0.0, 0.01, 0.02):
        latency.sent(now, answered=True)
    assert [latency.received(0.15), latency.received(0.16), latency.received(0.17)] == [pytest.approx(0.13), None, None]
    assert not latency.exceeded


def test_keepalive_forgets_the_value() -> None:
    """From a keepalive on until its answer, no value is known; its answer counts like any other."""
    latency = Latency(0.1, 1)
    judged(latency, 0.05)
    latency.forget()
    assert latency.value is None
    latency.sent(1.0, answered=False)
    assert latency.received(1.2) == pytest.approx(0.2)
    assert latency.exceeded


def test_answer_without_a_request_is_not_measured() -> None:
    """What comes unasked says nothing about latency."""
    assert Latency(0.1, 1).received(5.0) is None


def test_silence() -> None:
    """Silence lasts from the first request without any answer on; keepalives count only where they are answered."""
    latency = Latency(0.8, 2)
    latency.sent(1.0, answered=False)
    assert latency.silence(50.0) == 0.0
    latency.sent(10.0, answered=True)
    latency.sent(12.0, answered=True)
    assert latency.silence(15.0) == 5.0
    latency.received(16.0)
    assert latency.silence(50.0) == 0.0


def test_slow_service_is_left() -> None:
    """After so many slow answers the link ends with a ConnectorLatencyError; the slow answers are delivered."""
    with connected(TecorouteSimulator(delay=0.03), latency_threshold=0.01) as connector:
        assert connector.request(epsnet(1), PATIENCE) == epsnet(1)
        connector.send(epsnet(2))
        assert connector.receive(PATIENCE) == epsnet(2)
        with pytest.raises(ConnectorLatencyError, match="2 answers in a row took"):
            connector.receive(PATIENCE)
        assert isinstance(connector.last_error, ConnectorLatencyError)


def test_latency_is_told() -> None:
    """The last latency can be asked for, to the millisecond, and is told by a signal."""
    told: list[float] = []
    with connected(TecorouteSimulator()) as connector:
        assert connector.http_time is None
        with cnx.subscribe(connector, Connector.PlcSignals.LATENCY_MEASURED, told.append):
            connector.request(epsnet(1), PATIENCE)
            connector.request(epsnet(2), PATIENCE)  # the first one's was told before this one's answer came
        assert told[0] >= 0
        assert connector.http_time is not None
        assert connector.http_time == round(connector.http_time, 3)
    assert connector.http_time is None


def test_silent_service_is_left() -> None:
    """A service that does not answer at all is left after a time, and so is one whose PLC is silent."""
    service = connected(manual_service(), silence_limit=0.05)
    with service as connector, pytest.raises(ConnectorLatencyError, match="no answer at all"):
        connector.request(epsnet(1), PATIENCE)


def test_no_limit_for_silence() -> None:
    """Without the limit a silent service is borne."""
    simulator = manual_service()
    with connected(simulator, silence_limit=None, keepalive_interval=0.01) as connector:
        connector.send(epsnet(1))
        assert len(wait_for_data(simulator, 5)) >= 5
        assert connector.connected


@pytest.mark.parametrize(("policy", "answered"), [("none", 0), ("empty", 3), ("byte", 3)])
def test_keepalives_are_never_delivered(policy: str, answered: int) -> None:
    """Whatever the service answers to keepalives, the PLC has said nothing."""
    simulator = TecorouteSimulator(keepalive=policy)
    with connected(simulator, keepalive_interval=0.02, silence_limit=1000) as connector:
        assert set(wait_for_data(simulator, 4)) == {b""}
        assert connector.request(epsnet(1), PATIENCE) == epsnet(1)
        assert connector.statistics.keepalives >= 4
        assert connector.statistics.keepalive_answers >= answered
        with pytest.raises(cnx.TimedOut):
            connector.receive(0)


def test_keepalives_beside_messages_without_an_id() -> None:
    """The answer to a keepalive is told apart by its place when nothing has a message id."""
    simulator = TecorouteSimulator(keepalive="byte", delay=0.02)
    with connected(simulator) as connector:
        connector.send(b"one")
        connector.send(b"")
        connector.send(b"two")
        assert [connector.receive(PATIENCE), connector.receive(PATIENCE)] == [b"one", b"two"]
        assert connector.statistics.keepalive_answers == 1


def test_unanswered_keepalives_do_not_count_as_silence() -> None:
    """Of a service that never answered a keepalive, no answer is expected."""
    simulator = TecorouteSimulator(keepalive="none")
    with connected(simulator, keepalive_interval=0.01, silence_limit=0.03) as connector:
        assert len(wait_for_data(simulator, 12)) >= 12
        assert connector.connected


def test_keepalives_that_are_answered_no_more() -> None:
    """A service that used to answer keepalives, and stops, is left."""
    faults: dict[str | int, str] = dict.fromkeys(range(3, 1000), "none")
    simulator = TecorouteSimulator(keepalive="empty", faults=faults)
    with connected(simulator, keepalive_interval=0.01, silence_limit=0.1) as connector:
        with pytest.raises(ConnectorLatencyError, match="no answer at all"):
            connector.receive(PATIENCE)
        assert connector.statistics.keepalive_answers == 2


def test_keepalive_comes_after_ten_seconds_without_a_request() -> None:
    """A keepalive is due when so much time has passed since the last request, and not before."""
    with connected(TecorouteSimulator()) as connector:
        assert connector._rules.keepalive_interval == 10.0
        session = connector._last_session()
        connector.request(epsnet(1), PATIENCE)
        connector._look_after()
        assert connector.statistics.keepalives == 0
        for number in (1, 2):
            session.last_sent -= 10.0
            connector._look_after()
            connector._look_after()
            assert connector.statistics.keepalives == number
