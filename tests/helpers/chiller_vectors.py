"""Command and reply frames with the value that they carry, without the closing CR."""

from __future__ import annotations

from typing import Any

from cnx.clients.chiller.protocol.errors import ErrorCode
from cnx.clients.chiller.protocol.values import (
    Alarms,
    ControlSensor,
    ControlState,
    Drive,
    Mode,
    Pid,
    Pwm,
    SensorAlarms,
    SystemAlarms,
    Warnings,
    Watchdog,
)

PRINTED: list[tuple[str, str, Any]] = [
    (".0101WatchDog01", "#01010WatchDog0100E7", Watchdog(ControlState.AUTO_START, True, False, False)),
    (".0104rSupplyT46", "#01040rSupplyT+029566", 29.5),
    (".0117sCtrlT__+0200FE", "#01170sCtrlT__+020023", 20.0),
    (
        ".0118rAlrmLv1E9",
        "#01180rAlrmLv101A00040",
        Alarms.SUPPLY_SENSOR | Alarms.LOW_PROCESS_FLOW | Alarms.CURRENT_SENSOR_1,
    ),
    (
        ".0119rAlrmLv221D",
        "#01190rAlrmLv2209000100CC",
        SensorAlarms.SUPPLY | SensorAlarms.SUPPLY_SHORT | SensorAlarms.CURRENT_SENSOR_1_OPEN,
    ),
]
"""The ten frames of "TTK Serial Communication Protocol Release II"."""

COMPUTED: list[tuple[str, str, Any]] = [
    (".0102rCtrlSen1E", "#01020rCtrlSen073", ControlSensor.SUPPLY),
    (".0108rAmbTemp0F", "#01080rAmbTemp-003428", -3.4),
    (".0110rTECB1Cr66", "#01100rTECB1Cr+215280", 2.152),
    (".0111rTECB2Cr68", "#01110rTECB2Cr-223485", -2.234),
    (".0112sExtSens05F", "#01120sExtSens084", False),
    (".0112sExtSens160", "#01120sExtSens185", True),
    (".0113rTECDrLvB9", "#01130rTECDrLv063,CE6", Drive(63, Mode.COOL)),
    (".0115sStatus_07B", "#01150sStatus_0A0", False),
    (".0115sStatus_17C", "#01150sStatus_1A1", True),
    (".0116sCtrlSen054", "#01160sCtrlSen079", ControlSensor.SUPPLY),
    (".0116sCtrlSen155", "#01160sCtrlSen17A", ControlSensor.RETURN),
    (".0116sCtrlSen256", "#01160sCtrlSen27B", ControlSensor.EXTERNAL_RTD),
    (".0116sCtrlSen357", "#01160sCtrlSen37C", ControlSensor.EXTERNAL_THERMISTOR),
    (".0117sCtrlT__-005003", "#01170sCtrlT__-005028", -5.0),
    (".0118rAlrmLv1E9", "#01180rAlrmLv10000002E", Alarms(0)),
    (
        ".0119rAlrmLv211C",
        "#01190rAlrmLv2102010008CC",
        SystemAlarms.I2C | SystemAlarms.ADC_RESET | SystemAlarms.EEPROM_2_WRITE,
    ),
    (".0120rWarnLv1EE", "#01200rWarnLv10000D3", Warnings(0)),
    (".0121sHiSpTWn+0400E1", "#01210sHiSpTWn+040006", 40.0),
    (".0123sHiAmTWn+0400CE", "#01230sHiAmTWn+0400F3", 40.0),
    (".0124sLoAmTWn+0050DA", "#01240sLoAmTWn+0050FF", 5.0),
    (".0125sLoPFlWn+0005DB", "#01250sLoPFlWn+000500", 0.5),
    (".0130sLoPFlAl+0003BD", "#01300sLoPFlAl+0003E2", 0.3),
    (".0134rHiSpTWnF5", "#01340rHiSpTWn+040009", 40.0),
    (".0135rLoSpTWn00", "#01350rLoSpTWn+005015", 5.0),
    (".0146rPulWdMo13", "#01460rPulWdMo190,C41", Pwm(190, Mode.COOL)),
    (".0148rPIDStatE6", "#01480rPIDStat+0152,35D", Pid(15.2, 3)),
    (".0149rUpTime_21", "#01490rUpTime_00123470", 1234),
    (".0150rFanSpd1D3", "#01500rFanSpd10131BD", 131),
    (".0159sDUsrEEPU1D", "#01590sDUsrEEPU42", None),
    (".3204rSupplyT4A", "#32040rSupplyT+02956A", 29.5),
    (".0120rWarnLv1ee", "#01200rWarnLv10800DB", Warnings.LOW_AMBIENT_TEMPERATURE),
]
"""Frames with computed checksums; the last pair was recorded from a real T257P."""

ERRORS: list[tuple[str, str, ErrorCode]] = [
    (".0105rExtRTD_E0", "#01055rExtRTD_0A", ErrorCode.NOT_FITTED),
    (".0116sCtrlSen155", "#23", ErrorCode.REJECTED),
    (".0117sCtrlT__+099917", "#01173sCtrlT__+09993F", ErrorCode.BOUNDS),
    (".0114reserved54", "#01142reserved7B", ErrorCode.NUMBER),
    (".0104rSupplyT00", "#01041rSupplyT6C", ErrorCode.CHECKSUM),
    (".0104rSupplyT97F", "#01044rSupplyT6F", ErrorCode.LENGTH),
]
"""Commands that a unit refuses, and how."""

CHECKSUMS: dict[int, str] = {
    1: "01",
    2: "1E",
    3: "26",
    4: "46",
    5: "E0",
    6: "33",
    7: "3C",
    8: "0F",
    9: "2F",
    10: "66",
    11: "68",
    13: "B9",
    18: "E9",
    20: "EE",
    34: "F5",
    35: "00",
    36: "E2",
    37: "ED",
    38: "EE",
    39: "E2",
    40: "E4",
    41: "C6",
    42: "D1",
    43: "D2",
    46: "13",
    48: "E6",
    49: "21",
    50: "D3",
    51: "D5",
    52: "D7",
    53: "D9",
}
"""Checksums of the commands without data, for id 01; the document prints 21 and 23 for 10 and 11 by mistake."""

BASES: dict[int, str] = {
    12: "2F",
    15: "4B",
    16: "24",
    17: "11",
    21: "F2",
    22: "FD",
    23: "DF",
    24: "EA",
    25: "EB",
    26: "DF",
    27: "EA",
    28: "CC",
    29: "D7",
    30: "CF",
}
"""Sums of the commands that take data, before the data, for id 01."""
