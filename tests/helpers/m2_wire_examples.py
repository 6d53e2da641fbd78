"""Bytes as they were seen between the original client and the original mock server."""

from __future__ import annotations

CLEAR_ERRORS = b'{"id": "cmd_clearErrors", "sequence_id": 1}\r\n'
CLEAR_ERRORS_REPLY = (
    b'{"id": "ack", "sequence_id": 1}\r\n'
    b'{"id": "summaryFaultsStatus", "status": 0}\r\n{"id": "digitalInput", "value": 2667642879}\r\n'
    b'{"id": "digitalOutput", "value": 28}\r\n{"id": "interlock", "state": true}\r\n'
    b'{"id": "success", "sequence_id": 1}\r\n'
)
MOVE = b'{"x": 1, "y": 2, "z": 3, "id": "cmd_move", "sequence_id": 4}\r\n'
MOVE_REPLY = b'{"id": "noack", "sequence_id": 4}\r\n'
COMMUNICATION_ON = b'{"powerType": 2, "status": true, "id": "cmd_power", "sequence_id": 2}\r\n'
COMMUNICATION_ON_REPLY = (
    b'{"id": "ack", "sequence_id": 2}\r\n'
    b'{"id": "powerSystemState", "powerType": 2, "status": true, "state": 3}\r\n'
    b'{"id": "powerSystemState", "powerType": 2, "status": true, "state": 5}\r\n'
    b'{"id": "digitalInput", "value": 2147516415}\r\n{"id": "digitalOutput", "value": 30}\r\n'
    b'{"id": "interlock", "state": true}\r\n{"id": "openLoopMaxLimit", "status": false}\r\n'
    b'{"id": "success", "sequence_id": 2}\r\n'
)
MOTOR_ON = b'{"powerType": 1, "status": true, "id": "cmd_power", "sequence_id": 3}\r\n'
MOTOR_ON_REPLY = (
    b'{"id": "ack", "sequence_id": 3}\r\n'
    b'{"id": "powerSystemState", "powerType": 1, "status": true, "state": 3}\r\n'
    b'{"id": "powerSystemState", "powerType": 1, "status": true, "state": 5}\r\n'
    b'{"id": "digitalInput", "value": 63}\r\n{"id": "digitalOutput", "value": 31}\r\n'
    b'{"id": "interlock", "state": false}\r\n{"id": "openLoopMaxLimit", "status": false}\r\n'
    b'{"id": "success", "sequence_id": 3}\r\n'
)
MOTOR_WARNING = b'{"id": "summaryFaultsStatus", "status": 17179869184}\r\n'
CLOSED_LOOP = b'{"status": true, "id": "cmd_switchForceBalanceSystem", "sequence_id": 4}\r\n'
CLOSED_LOOP_REPLY = (
    b'{"id": "ack", "sequence_id": 4}\r\n{"id": "forceBalanceSystemStatus", "status": true}\r\n'
    b'{"id": "openLoopMaxLimit", "status": false}\r\n{"id": "closedLoopControlMode", "mode": 4}\r\n'
    b'{"id": "digitalOutput", "value": 63}\r\n{"id": "success", "sequence_id": 4}\r\n'
)
CLOSED_LOOP_REFUSED = b'{"status": true, "id": "cmd_switchForceBalanceSystem", "sequence_id": 13}\r\n'
CLOSED_LOOP_REFUSED_REPLY = (
    b'{"id": "ack", "sequence_id": 13}\r\n{"id": "forceBalanceSystemStatus", "status": false}\r\n'
    b'{"id": "openLoopMaxLimit", "status": false}\r\n{"id": "closedLoopControlMode", "mode": 3}\r\n'
    b'{"id": "digitalOutput", "value": 28}\r\n{"id": "fail", "sequence_id": 13}\r\n'
)
POSITION = (
    b'{"x": 10.0, "y": 1.0, "z": 1.0, "xRot": 1.0, "yRot": 1.0, "zRot": 1.0, '
    b'"id": "cmd_positionMirror", "sequence_id": 8}\r\n'
)
POSITION_REPLY = (
    b'{"id": "ack", "sequence_id": 8}\r\n{"id": "m2AssemblyInPosition", "inPosition": false}\r\n'
    b'{"id": "m2AssemblyInPosition", "inPosition": true}\r\n{"id": "success", "sequence_id": 8}\r\n'
)
POSITION_UNPOWERED_REPLY = (
    b'{"id": "ack", "sequence_id": 8}\r\n{"id": "m2AssemblyInPosition", "inPosition": false}\r\n'
    b'{"id": "m2AssemblyInPosition", "inPosition": false}\r\n{"id": "fail", "sequence_id": 8}\r\n'
)
INNER_LOOP = b'{"addresses": [0, 83], "id": "cmd_getInnerLoopControlMode", "sequence_id": 7}\r\n'
INNER_LOOP_REPLY = (
    b'{"id": "ack", "sequence_id": 7}\r\n{"id": "innerLoopControlMode", "address": 0, "mode": 1}\r\n'
    b'{"id": "innerLoopControlMode", "address": 83, "mode": 1}\r\n{"id": "success", "sequence_id": 7}\r\n'
)
FAULTS_MASK = b'{"mask": 18410715311050326015, "id": "cmd_setEnabledFaultsMask", "sequence_id": 27}\r\n'
FAULTS_MASK_REPLY = (
    b'{"id": "ack", "sequence_id": 27}\r\n{"id": "enabledFaultsMask", "mask": 18410715311050326015}\r\n'
    b'{"id": "success", "sequence_id": 27}\r\n'
)
TCP_IP_CONNECTED = b'{"id": "tcpIpConnected", "isConnected": true}\r\n'
HARDPOINTS = (
    b'{"id": "hardpointList", "actuators": [6, 16, 26, 74, 76, 78]}\r\n{"id": "bypassedActuatorILCs", "ilcs": [6]}\r\n'
)
FIRST_FAULT = b'{"id": "summaryFaultsStatus", "status": 144115188075855872}\r\n'
ELEVATION = b'{"actualPosition": 45.5, "id": "tel_elevation", "compName": "MTMount"}\r\n'
IN_POSITION = b'{"status": true, "id": "evt_inPosition", "compName": "MTMount"}\r\n'
MOUNT_IN_POSITION = b'{"inPosition": true, "id": "evt_mountInPosition", "compName": "MTMount"}\r\n'
EMPTY_COMPONENT = b'{"id": "evt_inPosition", "compName": ""}\r\n'
POWER_STATUS = (
    b'{"id": "powerStatus", "motorVoltage": 0.0275, "motorCurrent": 0.0045, "commVoltage": -0.045, '
    b'"commCurrent": 0.033}\r\n'
)
MIRROR_POSITION = (
    b'{"id": "position", "x": 0.0, "y": 0.0, "z": -0.0, "xRot": 0, "yRot": 0, "zRot": 7.854775343815474e-12}\r\n'
)
TANGENT_FORCE = (
    b'{"id": "tangentForce", "lutGravity": [16.113, -131.72, -4.0968, -30.391, -9.0112, -28.964], '
    b'"lutTemperature": [], "applied": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], '
    b'"measured": [0.0, -63.85, -63.85, 0.0, 63.85, 63.85], '
    b'"hardpointCorrection": [0.0, -0.0, 0.0, -0.0, 0.0, -0.0]}\r\n'
)
NOT_JSON = b"not json\r\n"
EMPTY_LINE = b"\r\n"
WHITE_SPACE = b'  \t{ "sequence_id" : 1 ,\n "id":"cmd_resetForceOffsets" }  \r\n'
DUPLICATE_KEYS = b'{"id":"cmd_nope","id":"cmd_resetForceOffsets","sequence_id":1,"sequence_id":2}\r\n'
TEXT_SEQUENCE_ID = b'{"id": "cmd_resetForceOffsets", "sequence_id": "abc"}\r\n'
TEXT_SEQUENCE_ID_REPLY = (
    b'{"id": "ack", "sequence_id": "abc"}\r\n{"id": "m2AssemblyInPosition", "inPosition": false}\r\n'
    b'{"id": "success", "sequence_id": "abc"}\r\n'
)
NAN_SEQUENCE_ID = b'{"id":"cmd_resetForceOffsets","sequence_id":NaN}\r\n'
NAN_SEQUENCE_ID_ACK = b'{"id": "ack", "sequence_id": NaN}\r\n'
NOT_ASCII = b'{"id": "cmd_m\\u00e9", "sequence_id": 8}\r\n'
NAN = b'{"a": NaN, "id": "cmd_m", "sequence_id": 7}\r\n'
WRAP = b'{"id": "cmd_x", "sequence_id": 2147483647}\r\n{"id": "cmd_x", "sequence_id": 1}\r\n'
HEARTBEAT = b"heartbeat\r\n"
LIMIT_SWITCH = b'{"id": "limitSwitchStatus", "retract": [0], "extend": []}\r\n'
REBOOT = b'{"id": "cmd_rebootController", "sequence_id": 9}\r\n'
REBOOT_REPLY = b'{"id": "ack", "sequence_id": 9}\r\n{"id": "success", "sequence_id": 9}\r\n'

FROM_CONTROLLER = (
    CLEAR_ERRORS_REPLY + MOVE_REPLY + COMMUNICATION_ON_REPLY + MOTOR_ON_REPLY + MOTOR_WARNING + CLOSED_LOOP_REPLY
    + CLOSED_LOOP_REFUSED_REPLY + POSITION_REPLY + INNER_LOOP_REPLY + FAULTS_MASK_REPLY + TCP_IP_CONNECTED + HARDPOINTS
    + FIRST_FAULT + POWER_STATUS + MIRROR_POSITION + TANGENT_FORCE + LIMIT_SWITCH + REBOOT_REPLY
)  # fmt: skip
"""Everything that the controller says in these examples, as one stream."""
