"""What a chiller answers when it will not do a command.

Source: "TTK Serial Communication Protocol Release II", revision X2.003: error codes. That a unit may
answer ``#23`` alone, without number or code, was told by ThermoTek to users of the T257P.
"""

from __future__ import annotations

import enum

from cnx.errors import DeviceError

__all__ = [
    "ERRORS",
    "ChecksumError",
    "ErrorCode",
    "FeatureNotFitted",
    "LengthError",
    "OutOfRange",
    "Rejected",
    "UnknownCommand",
]


class ErrorCode(enum.IntEnum):
    """The error digit of a reply; ``REJECTED`` stands for the reply that has none."""

    NONE = 0
    CHECKSUM = 1
    NUMBER = 2
    BOUNDS = 3
    LENGTH = 4
    NOT_FITTED = 5
    REJECTED = -1


class ChecksumError(DeviceError):
    """Error 1: the checksum of the command was wrong when it reached the unit; line noise, as a rule."""


class UnknownCommand(DeviceError):
    """Error 2: this unit does not know the command number."""


class OutOfRange(DeviceError):
    """Error 3: the value is outside of what this unit accepts."""


class LengthError(DeviceError):
    """Error 4: the unit expects a command of another length."""


class FeatureNotFitted(DeviceError):
    """Error 5: the sensor or feature is not fitted or not in use."""


class Rejected(DeviceError):
    """``#23``: refused without a reason; as a rule the value is out of range or the feature is not fitted."""


ERRORS: dict[ErrorCode, tuple[type[DeviceError], str]] = {
    ErrorCode.CHECKSUM: (ChecksumError, "the checksum arrived wrong; send it again"),
    ErrorCode.NUMBER: (UnknownCommand, "this unit does not know the number"),
    ErrorCode.BOUNDS: (OutOfRange, "the value is outside of what this unit accepts"),
    ErrorCode.LENGTH: (LengthError, "this unit expects another length"),
    ErrorCode.NOT_FITTED: (FeatureNotFitted, "the sensor or feature is not fitted or not in use"),
    ErrorCode.REJECTED: (Rejected, "refused without a reason; the value may be out of range or the feature not fitted"),
}
