"""Values in the data of ThermoTek chillers: states, sensors, thresholds, alarms and warnings.

Source: "TTK Serial Communication Protocol Release II", revision X2.003: legend and alarm pages. Process
flow is the flow of the coolant. Bits that the document calls reserved have no name here, but their values
are kept.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = [
    "Alarms",
    "ControlSensor",
    "ControlState",
    "Drive",
    "Mode",
    "Pid",
    "Pwm",
    "SensorAlarms",
    "SystemAlarms",
    "Threshold",
    "Warnings",
    "Watchdog",
]


class ControlState(enum.IntEnum):
    """Control state of the unit (first digit of the reply to number 01)."""

    AUTO_START = 0
    STANDBY = 1
    RUN = 2
    SAFETY = 3
    TEST = 4


class ControlSensor(enum.IntEnum):
    """The sensor that controls the loop (numbers 02 and 16). A T257P has only the supply sensor."""

    SUPPLY = 0
    RETURN = 1
    EXTERNAL_RTD = 2
    EXTERNAL_THERMISTOR = 3


class Mode(enum.Enum):
    """Direction of the thermoelectric drive."""

    COOL = "C"
    HEAT = "H"


class Threshold(enum.IntEnum):
    """The ten thresholds; each value is the number of the command that sets the threshold.

    Temperatures are in degrees Celsius, flows in l/min and at least 0.1. Supply thresholds apply to the
    control temperature.
    """

    HIGH_SUPPLY_WARNING = 21
    LOW_SUPPLY_WARNING = 22
    HIGH_AMBIENT_WARNING = 23
    LOW_AMBIENT_WARNING = 24
    LOW_FLOW_WARNING = 25
    HIGH_SUPPLY_ALARM = 26
    LOW_SUPPLY_ALARM = 27
    HIGH_AMBIENT_ALARM = 28
    LOW_AMBIENT_ALARM = 29
    LOW_FLOW_ALARM = 30

    @property
    def reader(self) -> int:
        """The number of the command that reads the threshold."""
        return self.value + 13


class Alarms(enum.IntFlag):
    """Alarms level 1 (number 18). ``SUPPLY_SENSOR`` and ``LOW_COOLANT_LEVEL`` stay set until they are read."""

    AMBIENT_SENSOR = 0x1
    HIGH_CONTROL_TEMPERATURE = 0x2
    PT7_HIGH_TEMPERATURE = 0x4
    LOW_CONTROL_TEMPERATURE = 0x8
    SUPPLY_SENSOR = 0x10
    EXTERNAL_RTD_SENSOR = 0x20
    RETURN_SENSOR = 0x40
    EXTERNAL_THERMISTOR_SENSOR = 0x80
    LOW_COOLANT_LEVEL = 0x100
    LOW_PROCESS_FLOW = 0x200
    LOW_PLANT_FLOW = 0x400
    CURRENT_SENSOR_1 = 0x800
    PT7_LOW_TEMPERATURE = 0x1000
    HIGH_AMBIENT_TEMPERATURE = 0x2000
    LOW_AMBIENT_TEMPERATURE = 0x4000
    EXTERNAL_CONNECTOR_MISSING = 0x8000
    DEFAULT_HIGH_TEMPERATURE = 0x10000
    DEFAULT_LOW_TEMPERATURE = 0x20000
    NO_PROCESS_FLOW = 0x40000
    FAN_FAILURE = 0x80000
    CURRENT_SENSOR_2 = 0x100000
    REFERENCE_2V5 = 0x200000
    REFERENCE_5V = 0x400000
    SYSTEM_ERROR = 0x800000


class SystemAlarms(enum.IntFlag):
    """Alarms level 2, first half (number 19 with ``1``): faults of the electronics."""

    ADC = 0x10
    I2C = 0x20
    EEPROM = 0x40
    WATCHDOG = 0x80
    ADC_RESET = 0x1000
    ADC_CALIBRATION = 0x2000
    ADC_CONVERSION = 0x4000
    IO_EXPANDER_ACKNOWLEDGE = 0x10000
    PSA_IO_EXPANDER_ACKNOWLEDGE = 0x20000
    RTC_ACKNOWLEDGE = 0x40000
    I2C_SCL_LOW = 0x100000
    I2C_SDA_LOW = 0x200000
    EEPROM_1_ACKNOWLEDGE = 0x400000
    EEPROM_2_ACKNOWLEDGE = 0x800000
    EEPROM_1_READ = 0x10000000
    EEPROM_1_WRITE = 0x20000000
    EEPROM_2_READ = 0x40000000
    EEPROM_2_WRITE = 0x80000000


class SensorAlarms(enum.IntFlag):
    """Alarms level 2, second half (number 19 with ``2``): sensors, references and fans.

    ``RETURN_SHORT`` is 0x8: the document prints "Open" there a second time.
    """

    EXTERNAL_RTD_OPEN = 0x1
    EXTERNAL_RTD_SHORT = 0x2
    RETURN_OPEN = 0x4
    RETURN_SHORT = 0x8
    SUPPLY = 0x10
    SUPPLY_LOCKED = 0x20
    SUPPLY_OPEN = 0x40
    SUPPLY_SHORT = 0x80
    REFERENCE_2V5_HIGH = 0x100
    REFERENCE_2V5_LOW = 0x200
    REFERENCE_5V_HIGH = 0x400
    REFERENCE_5V_LOW = 0x800
    EXTERNAL_THERMISTOR_OPEN = 0x1000
    EXTERNAL_THERMISTOR_SHORT = 0x2000
    AMBIENT_OPEN = 0x4000
    AMBIENT_SHORT = 0x8000
    CURRENT_SENSOR_1_OPEN = 0x100000
    CURRENT_SENSOR_1_SHORT = 0x200000
    CURRENT_SENSOR_2_OPEN = 0x400000
    CURRENT_SENSOR_2_SHORT = 0x800000
    REAR_LEFT_FAN_NOISE = 0x1000000
    REAR_RIGHT_FAN_NOISE = 0x2000000
    FRONT_LEFT_FAN_NOISE = 0x4000000
    FRONT_RIGHT_FAN_NOISE = 0x8000000
    REAR_LEFT_FAN_OPEN = 0x10000000
    REAR_RIGHT_FAN_OPEN = 0x20000000
    FRONT_LEFT_FAN_OPEN = 0x40000000
    FRONT_RIGHT_FAN_OPEN = 0x80000000


class Warnings(enum.IntFlag):
    """Warnings level 1 (number 20)."""

    LOW_PROCESS_FLOW = 0x1
    COOLANT_LEVEL = 0x2
    FELL_BACK_TO_SUPPLY_SENSOR = 0x4
    HIGH_CONTROL_TEMPERATURE = 0x10
    LOW_CONTROL_TEMPERATURE = 0x20
    HIGH_AMBIENT_TEMPERATURE = 0x40
    LOW_AMBIENT_TEMPERATURE = 0x80


class Watchdog(NamedTuple):
    """The answer to number 01: control state, and whether the pump runs and any alarm or warning is set."""

    state: ControlState
    pump: bool
    alarm: bool
    warning: bool


class Drive(NamedTuple):
    """The answer to number 13: drive level of the thermoelectric coolers in per cent, and the direction."""

    level: int
    mode: Mode


class Pwm(NamedTuple):
    """The answer to number 46: duty in counts from 1 to 255, and the direction set by the relay."""

    duty: int
    mode: Mode


class Pid(NamedTuple):
    """The answer to number 48: a temperature in degrees Celsius and a mode from 0 to 9.

    The document says neither which temperature it is nor what the modes mean.
    """

    temperature: float
    mode: int
