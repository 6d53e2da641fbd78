"""The M2 controller as a whole: commands with results, events and telemetry, over a link that stays up."""

import cnx
from cnx.clients.m2 import CommandFailed, M2Controller, PowerSystemState, PowerType
from cnx.clients.m2.simulator import M2Simulator

with M2Simulator() as simulator:
    ports = simulator.listen_ports(command_port=0, telemetry_port=0)

    controller = M2Controller("127.0.0.1", *ports)
    with cnx.ConnectionManager(controller):
        controller.command("power", powerType=PowerType.COMMUNICATION, status=True)

        is_on = {"powerType": PowerType.MOTOR, "state": PowerSystemState.POWERED_ON}
        with controller.expect_event("powerSystemState", lambda event: is_on.items() <= event.items()) as on:
            controller.command("power", powerType=PowerType.MOTOR, status=True)
            print(on.wait(timeout=5.0))

        controller.command("switchForceBalanceSystem", status=True)
        controller.command("positionMirror", x=1.0, y=0.0, z=0.0, xRot=0.0, yRot=0.0, zRot=0.0)
        position = controller.wait_for_telemetry("position", lambda position: position["x"] == 1.0)
        print("x:", position["x"])

        try:
            controller.command("enableOpenLoopMaxLimit", status=True)
        except CommandFailed as error:
            print(error)

        try:
            controller.command("positionMirror", x=9000.0, y=0.0, z=0.0, xRot=0.0, yRot=0.0, zRot=0.0)
        except ValueError as error:
            print(error)
