"""The messages of one port of the M2 controller, told by kind."""

import threading

import cnx
from cnx.clients.m2 import M2Client, M2Signals, MsgType, faults_in
from cnx.clients.m2.simulator import M2Simulator

answered = threading.Event()


def on_reply(message):
    """Note what the controller answers."""
    print(message["id"], message["sequence_id"])
    if message["id"] != "ack":
        answered.set()


def on_fault(message):
    """Look at one of the events."""
    if message["id"] == "summaryFaultsStatus":
        print("faults:", [fault.code for fault in faults_in(message["status"])])


with M2Simulator() as simulator:
    port, _ = simulator.listen_ports(command_port=0, telemetry_port=0)

    client = M2Client("127.0.0.1", port)
    cnx.subscribe(client, M2Signals.REPLY, on_reply)
    cnx.subscribe(client, M2Signals.EVENT, on_fault)
    with client:
        client.write_message(MsgType.COMMAND, "clearErrors")
        answered.wait(5.0)
        print("last number:", client.last_sequence_id)
