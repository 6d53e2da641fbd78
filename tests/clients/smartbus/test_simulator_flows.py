"""Flows of the bus server, seen by bare clients."""

from __future__ import annotations

import threading

from cnx.clients.smartbus.protocol.codes import Code, SystemCmd
from cnx.clients.smartbus.protocol.flows import FlowAck, FlowReturn, InvokeFlow
from cnx.clients.smartbus.protocol.packets import Packet
from cnx.clients.smartbus.simulator import BusServer, Flow
from cnx.testing import NewThreads
from tests.helpers.smartbus_office import IPSC, ONE, SYSTEM, TWO, joined
from tests.helpers.smartbus_peer import PATIENCE


def call(flow: str, parameters: str = "[]", mode: int = 0, unit: int = 0) -> Packet:
    """Return a flow call."""
    return InvokeFlow("proj", flow, 7, parameters, mode).packet(ONE, IPSC._replace(unit=unit))


def test_flow_that_returns(server: BusServer) -> None:
    """A flow is acknowledged, then what its function returned comes back, from the process addressed."""
    server.flow("proj", "add")(lambda a, b: a + b)
    server.flow("proj", "pair")(lambda: ("x", 1))
    server.flow("proj", "nothing")(lambda: None)
    with joined(server, ONE) as one:
        for flow, parameters, text in [("add", "[1, 2]", "[3]"), ("pair", "", '["x", 1]'), ("nothing", "[]", "[]")]:
            one.send(call(flow, parameters))
            ack = one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_ACK)
            assert (ack.source, FlowAck.parse(ack.data)) == (IPSC, FlowAck("proj", 7))
            answer = one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_RET)
            assert (answer.source, FlowReturn.parse(answer.data)) == (IPSC, FlowReturn("proj", 7, text))


def test_flows_that_do_not_return(server: BusServer) -> None:
    """Unknown, refused, crashed and silent flows, and calls without return, each in their own way."""
    server.flow("proj", "crash")(lambda: 1 / 0)
    server.flow("proj", "wanted")(lambda: "done")
    server.flows["proj", "refused"] = Flow(ack=Code.OTHER, message="消息")
    server.flows["proj", "silent"] = Flow(ack=None)
    server.flows["proj", "endless"] = Flow()
    with joined(server, ONE) as one:
        for flow, ack in [("unknown", Code.NO_DESTINATION), ("refused", Code.OTHER), ("crash", 1), ("endless", 1)]:
            one.send(call(flow))
            assert FlowAck.parse(one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_ACK).data).ack == ack
        one.send(call("silent"))
        one.send(call("wanted", mode=1))
        one.send(call("wanted", "no json"))
        one.send(call("wanted", unit=9))
        acks = sorted(FlowAck.parse(one.receive().data).ack for _ in range(3))
        assert acks == sorted([1, Code.ARGUMENT, Code.NO_NODE])
        one.send(call("wanted"))
        assert one.receive().cmd == SystemCmd.INVOKE_FLOW_ACK
        assert one.receive().cmd == SystemCmd.INVOKE_FLOW_RET


def test_slow_flow_holds_up_nobody(server: BusServer) -> None:
    """Flows run beside each other and beside everything else."""
    release = threading.Event()
    server.flow("proj", "slow")(lambda: release.wait(PATIENCE))
    server.flow("proj", "fast")(lambda: "fast")
    with joined(server, ONE) as one:
        one.send(call("slow"))
        one.send(call("fast"))
        assert FlowReturn.parse(one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_RET).data).text == '["fast"]'
        release.set()
        assert FlowReturn.parse(one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_RET).data).text == "[true]"


def test_server_stops_with_clients_and_flows(server: BusServer, new_threads: NewThreads) -> None:
    """A stop ends clients and waits for flows; started again, the server takes clients."""
    started = threading.Event()
    server.flow("proj", "wait")(lambda: started.set() or server.wait(PATIENCE))
    with joined(server, ONE) as one, joined(server, TWO) as two:
        one.send(call("wait"))
        assert started.wait(PATIENCE)
        server.stop()
        assert one.closed()
        assert two.closed()
    assert not [thread for thread in new_threads() if "outbox" in thread.name or "cnx flow" in thread.name]
    server.start()
    joined(server, ONE).close()
