"""Error codes of chillers, and the exceptions for them.

Source: "TTK Serial Communication Protocol Release II", revision X2.003: error codes. A T257P may also answer
``#23`` without number or code; this is reported in the developer guide of LSST's ts_atwhitelight.
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
    """The error digit of a reply; ``REJECTED`` stands for ``#23``, which has none."""

    NONE = 0
    CHECKSUM = 1
    NUMBER = 2
    BOUNDS = 3
    LENGTH = 4
    NOT_FITTED = 5
    REJECTED = -1


class ChecksumError(DeviceError):
    """Error 1: the checksum of the command was wrong when it reached the unit, usually because of line noise."""


class UnknownCommand(DeviceError):
    """Error 2: this unit has no command of this number."""


class OutOfRange(DeviceError):
    """Error 3: the value is outside the range that this unit accepts."""


class LengthError(DeviceError):
    """Error 4: the unit expects a different length."""


class FeatureNotFitted(DeviceError):
    """Error 5: the sensor or feature is not fitted or not in use."""


class Rejected(DeviceError):
    """``#23``: refused without a reason; usually the value is out of range or the feature is not fitted."""


ERRORS: dict[ErrorCode, tuple[type[DeviceError], str]] = {
    ErrorCode.CHECKSUM: (ChecksumError, "the checksum arrived wrong; send it again"),
    ErrorCode.NUMBER: (UnknownCommand, "this unit has no command of this number"),
    ErrorCode.BOUNDS: (OutOfRange, "the value is outside the range that this unit accepts"),
    ErrorCode.LENGTH: (LengthError, "this unit expects a different length"),
    ErrorCode.NOT_FITTED: (FeatureNotFitted, "the sensor or feature is not fitted or not in use"),
    ErrorCode.REJECTED: (Rejected, "refused without a reason; the value may be out of range or the feature not fitted"),
}
