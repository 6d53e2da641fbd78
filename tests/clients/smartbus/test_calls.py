"""Flows and notices of the client: answers, refusals, time-outs, late answers, losses."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnx.clients.smartbus import BusSignals, Code, FlowCall, FlowFailed
from cnx.clients.smartbus.client.calls import OUTSTANDING_LIMIT, positive
from cnx.clients.smartbus.protocol.codes import CmdType, SystemCmd
from cnx.clients.smartbus.protocol.flows import FlowAck, FlowReturn, InvokeFlow, Notify
from cnx.clients.smartbus.protocol.packets import Address
from cnx.clients.smartbus.simulator import BusServer, Flow
from cnx.errors import Cancelled, ConnectionLost, InvalidJson, LimitExceeded, TimedOut
from cnx.signals.subscriptions import subscribe
from cnx.testing import NewThreads
from tests.helpers.smartbus_peer import PATIENCE, SERVER, US, Peer
from tests.helpers.smartbus_scene import Recorder, on_bus, played

SYSTEM = CmdType.SYSTEM


def requested(peer: Peer) -> InvokeFlow:
    """Return the next call that reaches a played server."""
    return InvokeFlow.parse(peer.expect(SYSTEM, SystemCmd.INVOKE_FLOW).data)


def test_flow_that_returns(server: BusServer) -> None:
    """A call is acknowledged and returns values; both are told, in this order."""
    server.flow("proj", "echo")(lambda *values: values)
    with on_bus(server, 20) as client:
        recorder = Recorder(client)
        values = ["x", 1, None, {"k": [1.5, "好"]}]
        call = client.invoke_flow(0, 3, "proj", "echo", values)
        assert call.acknowledged(PATIENCE)
        assert call.result(PATIENCE) == values
        assert call.done
        told = recorder.until(BusSignals.FLOW_ACKNOWLEDGED)
        assert (told["call"], told["ack"], told["message"]) == (call, 1, "")
        told = recorder.next(BusSignals.FLOW_RESPONDED)
        assert (told["call"], told["values"]) == (call, values)


def test_request_on_the_wire(pool: ThreadPoolExecutor) -> None:
    """Calls are numbered from 1 and addressed to the process, and the timeout stays at home."""
    with played(pool) as (client, peer):
        first = client.invoke_flow(2, 7, "proj", "flow", (1,), timeout=77)
        second = client.invoke_flow(2, 7, "proj", "flow", need_return=False)
        packet = peer.expect(SYSTEM, SystemCmd.INVOKE_FLOW)
        assert packet.destination == Address(2, 7, 2)
        assert InvokeFlow.parse(packet.data) == InvokeFlow("proj", "flow", first.invoke_id, "[1]", 0)
        assert requested(peer) == InvokeFlow("proj", "flow", second.invoke_id, "[]", 1)
        assert (first.invoke_id, second.invoke_id) == (1, 2)


def test_flow_that_is_refused(server: BusServer) -> None:
    """A failed acknowledgement ends the call with its code and message."""
    server.flows["proj", "refused"] = Flow(ack=-99, message="消息")
    with on_bus(server, 20) as client:
        recorder = Recorder(client)
        call = client.invoke_flow(0, 0, "proj", "refused")
        for wait in (call.acknowledged, call.result):
            with pytest.raises(FlowFailed, match=r"did not start: other error \(-99\): 消息") as caught:
                wait(PATIENCE)
            assert caught.value.code == -99
        assert recorder.until(BusSignals.FLOW_ACKNOWLEDGED)["ack"] == -99
        assert recorder.next(BusSignals.FLOW_FAILED)["error"] is caught.value.__cause__


def test_flow_without_return(server: BusServer) -> None:
    """A call without return is done when it is acknowledged."""
    ran = threading.Event()
    server.flow("proj", "run")(ran.set)
    with on_bus(server, 20) as client:
        call = client.invoke_flow(0, 0, "proj", "run", need_return=False)
        assert call.acknowledged(PATIENCE)
        assert call.done
        assert ran.wait(PATIENCE)
        with pytest.raises(ValueError, match="need_return=False"):
            call.result()


def test_return_before_the_acknowledgement(pool: ThreadPoolExecutor) -> None:
    """The two answers come in any order; a flow that returned has started."""
    with played(pool) as (client, peer):
        call = client.invoke_flow(0, 0, "proj", "fast")
        number = requested(peer).invoke_id
        peer.send(FlowReturn("", number, "[1]").packet(SERVER, US))
        assert call.result(PATIENCE) == [1]
        assert call.acknowledged(0)
        peer.send(FlowAck("", number).packet(SERVER, US))
        peer.send(FlowReturn("", number, "[2]").packet(SERVER, US))
        assert client.invoke_flow(0, 0, "proj", "next").invoke_id == number + 1
        assert call.result() == [1]


def test_timeouts(pool: ThreadPoolExecutor) -> None:
    """A silent server: the acknowledgement and the result are overdue, each by itself, whether or not one waits."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        call = client.invoke_flow(0, 0, "proj", "silent", timeout=0.05)
        with pytest.raises(TimedOut, match=r"proj/silent \(call 1\) took longer than 0.05 s"):
            call.result()
        with pytest.raises(TimedOut):
            call.acknowledged()
        assert recorder.until(BusSignals.FLOW_TIMED_OUT)["call"] is call
        started = client.invoke_flow(0, 0, "proj", "endless", timeout=0.3)
        requested(peer)
        peer.send(FlowAck("", requested(peer).invoke_id).packet(SERVER, US))
        assert started.acknowledged()
        with pytest.raises(TimedOut):
            started.result()


def test_overdue_acknowledgement_does_not_end_a_call(pool: ThreadPoolExecutor) -> None:
    """When only the acknowledgement is overdue, it is told with -25 and the result still counts."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        call = client.invoke_flow(0, 0, "proj", "slow", timeout=30)
        call.ack_due = 0.0
        client.invoke_flow(0, 0, "proj", "other", timeout=0.05)  # makes the deadlines looked at again
        assert recorder.until(BusSignals.FLOW_ACKNOWLEDGED)["ack"] == Code.TIMEOUT
        with pytest.raises(TimedOut, match="did not report"):
            call.acknowledged()
        peer.send(FlowReturn("", requested(peer).invoke_id, '["late"]').packet(SERVER, US))
        assert call.result(PATIENCE) == ["late"]


def test_waiting_for_less_than_the_timeout(pool: ThreadPoolExecutor) -> None:
    """A shorter wait ends with an error that leaves the call alone."""
    with played(pool) as (client, peer):
        call = client.invoke_flow(0, 0, "proj", "slow")
        for wait in (call.acknowledged, call.result):
            with pytest.raises(TimedOut, match=r"within 0\.01 s"):
                wait(0.01)
        peer.send(FlowReturn("", requested(peer).invoke_id, "[]").packet(SERVER, US))
        assert call.result(PATIENCE) == []


def test_return_that_is_no_array(pool: ThreadPoolExecutor) -> None:
    """Values that are no JSON array fail their call and nothing else."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        call = client.invoke_flow(0, 0, "proj", "bad")
        peer.send(FlowReturn("", requested(peer).invoke_id, "no json").packet(SERVER, US))
        with pytest.raises(InvalidJson) as caught:
            call.result(PATIENCE)
        assert caught.value.text == "no json"
        assert recorder.until(BusSignals.FLOW_FAILED)["error"] is caught.value.__cause__
        assert client.connected


def test_answers_of_unknown_calls_are_borne(pool: ThreadPoolExecutor) -> None:
    """Answers that nobody waits for do no harm and are not taken for data."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        peer.send(FlowAck("", 999).packet(SERVER, US))
        peer.send(FlowReturn("", 999).packet(SERVER, US))
        client.disconnect()
        recorder.next(client.Signals.DISCONNECTED)


def test_handler_that_exits_keeps_the_end_from_nobody(pool: ThreadPoolExecutor) -> None:
    """``sys.exit()`` in a handler of a call that failed: the other calls fail as well, and the end is emitted."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        calls = [client.invoke_flow(0, 0, "proj", name) for name in ("one", "two")]
        for _ in calls:
            requested(peer)
        with subscribe(client, BusSignals.FLOW_FAILED, lambda call: sys.exit()):
            peer.close()
            for call in calls:
                with pytest.raises(ConnectionLost, match="in progress"):
                    call.result(PATIENCE)
            recorder.until(client.Signals.RAISE_ALARM)
            recorder.next(client.Signals.DISCONNECTED)


def test_loss_fails_what_is_under_way(pool: ThreadPoolExecutor) -> None:
    """Calls in progress fail at once with the link, before its end is told."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        call = client.invoke_flow(0, 0, "proj", "lost")
        waiting = pool.submit(call.result)
        requested(peer)
        peer.close()
        with pytest.raises(ConnectionLost, match="in progress"):
            waiting.result(PATIENCE)
        assert recorder.next(BusSignals.FLOW_FAILED)["call"] is call
        recorder.next(client.Signals.RAISE_ALARM)
    with played(pool) as (client, peer):
        call = client.invoke_flow(0, 0, "proj", "given up")
        client.disconnect()
        with pytest.raises(Cancelled):
            call.result(0)


def test_many_calls_at_once(server: BusServer) -> None:
    """Calls from many threads get each its own values."""
    server.flow("proj", "double")(lambda value: value * 2)
    with on_bus(server, 20) as client, ThreadPoolExecutor(8) as pool:
        work = [pool.submit(lambda n: client.invoke_flow(0, 0, "proj", "double", [n]).result(), n) for n in range(100)]
        assert [each.result(PATIENCE) for each in work] == [[n * 2] for n in range(100)]


def test_too_many_calls(pool: ThreadPoolExecutor) -> None:
    """3000 calls may be in progress; one more is refused and not sent."""
    with played(pool) as (client, peer):
        drained = pool.submit(lambda: [requested(peer) for _ in range(OUTSTANDING_LIMIT)])
        for _ in range(OUTSTANDING_LIMIT):
            client.invoke_flow(0, 0, "p", "f")
        with pytest.raises(LimitExceeded, match="3000 flow calls"):
            client.invoke_flow(0, 0, "p", "f")
        assert len(drained.result(PATIENCE)) == OUTSTANDING_LIMIT


def test_numbers_of_calls_stay_positive() -> None:
    """Invoke ids are positive 32-bit numbers for ever."""
    assert [positive(number) for number in (1, 2, 0x7FFFFFFF, 0x80000000, 2**32)] == [1, 2, 0x7FFFFFFF, 1, 2]


def test_calls_thread_ends(pool: ThreadPoolExecutor, new_threads: NewThreads) -> None:
    """The thread that watches deadlines ends with the client."""
    with played(pool) as (client, _):
        client.invoke_flow(0, 0, "p", "f")
        assert new_threads("cnx calls")
        client.disconnect()
        assert not new_threads("cnx calls")


def test_notice(pool: ThreadPoolExecutor) -> None:
    """Notices are numbered, carry cp936 and milliseconds, and are not answered."""
    with played(pool) as (client, peer):
        assert client.notify(1, 2, "proj", "title", "消息", expires=7) == 1
        assert client.notify(1, 2, "", "title", "x") == 2
        packet = peer.expect(SYSTEM, SystemCmd.NOTIFY)
        assert packet.destination == Address(1, 2, 2)
        assert Notify.parse(packet.data) == Notify("proj", "title", "消息", 1, 7000)


def test_calls_show_their_state() -> None:
    """The representation of a call says what it is."""
    call = FlowCall(7, "proj", "flow", 1.0, True)
    assert repr(call) == "<FlowCall 7 proj/flow in progress>"
    call.finish([1])
    assert repr(call) == "<FlowCall 7 proj/flow done>"
