"""The mirror of the simulated cell: positions, forces, temperatures and angles that change. No clock, no I/O."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

from cnx.clients.m2.protocol.enums import ACTUATORS, AXIAL_ACTUATORS, TANGENT_LINKS

__all__ = ["Mirror"]

WEIGHT = 1588.65 * 9.8
"""Newton."""

MICROMETRES_A_STEP = 1.9967536601e-2

STEPS_A_SECOND = 2000.0
"""Steps per second of an actuator in open loop."""

MOVE_RATE = 6.25
"""Micrometres, or arc seconds, per second in closed loop."""

FORCE_A_STEP = 0.005
"""Newton by which one step of an actuator changes its force."""

FORCE_LAG = 0.5
"""Time constant, in seconds, with which a force approaches its set point."""

INCLINOMETER_OFFSET = 0.94
AXES = ("x", "y", "z", "xRot", "yRot", "zRot")
TANGENT_SHARES = (0.0, -0.25, -0.25, 0.0, 0.25, 0.25)
"""Of the weight that lies in the plane of the mirror, for the links A1 to A6."""

Message = dict[str, Any]


class Mirror:
    """The mirror, its actuators and its sensors.

    Args:
        noise: source of the noise; the same seed gives the same telemetry.
    """

    def __init__(self, noise: random.Random) -> None:
        self._noise = noise
        self.position = dict.fromkeys(AXES, 0.0)
        self.target = dict.fromkeys(AXES, 0.0)
        self.applied = [0.0] * ACTUATORS
        self.moved = [0.0] * ACTUATORS
        self.to_move: dict[int, float] = {}
        self.telescope_elevation = 90.0 - INCLINOMETER_OFFSET
        self.follows_telescope = False
        self.measured = [*self.gravity]
        self._inclinometer = 90.0
        self._ring = [24.49, 26.53] * 6

    @property
    def elevation(self) -> float:
        """The angle of the look-up table, in degrees."""
        return self.telescope_elevation if self.follows_telescope else self.processed_angle

    @property
    def processed_angle(self) -> float:
        """The elevation by the cell's own inclinometer, in degrees."""
        return 180.0 - (90.0 + INCLINOMETER_OFFSET)

    @property
    def gravity(self) -> list[float]:
        """Forces of the look-up table, in newton."""
        angle = math.radians(self.elevation)
        axial = WEIGHT * math.sin(angle) / AXIAL_ACTUATORS
        return [axial] * AXIAL_ACTUATORS + [WEIGHT * math.cos(angle) * share for share in TANGENT_SHARES]

    @property
    def in_position(self) -> bool:
        """Whether every axis has reached its target."""
        return self.position == self.target

    def make_home(self) -> None:
        """Make the current position the origin."""
        self.position = dict.fromkeys(AXES, 0.0)
        self.target = dict.fromkeys(AXES, 0.0)

    def turn(self, seconds: float, closed_loop: bool) -> None:
        """Let some time pass with the motors powered."""
        if closed_loop:
            for axis, target in self.target.items():
                self.position[axis] = _approach(self.position[axis], target, MOVE_RATE * seconds)
        share = min(1.0, seconds / FORCE_LAG)
        self.measured = [
            force + (demand - force) * share for force, demand in zip(self.measured, self._demand(), strict=True)
        ]

    def move_actuators(self, seconds: float) -> None:
        """Let actuators move for some time towards where they were sent."""
        for actuator, left in list(self.to_move.items()):
            step = left - _approach(left, 0.0, STEPS_A_SECOND * seconds)
            self.moved[actuator] += step
            self.to_move[actuator] -= step
        self.to_move = {actuator: left for actuator, left in self.to_move.items() if left}

    def drift(self) -> None:
        """Let angles and temperatures change a little."""
        self._inclinometer = 90.0 + self._noise.gauss(0.0, 0.05)
        self._ring = [min(28.0, max(0.0, degrees + self._noise.gauss(0.0, 0.05))) for degrees in self._ring]

    def beyond(self, axial: float, tangent: float) -> tuple[list[int], list[int]]:
        """Return the actuators whose force is at least these limits in newton, those that push and those that pull."""
        limits = [axial] * AXIAL_ACTUATORS + [tangent] * TANGENT_LINKS
        pushing = [number for number, force in enumerate(self.measured) if force >= limits[number]]
        pulling = [number for number, force in enumerate(self.measured) if force <= -limits[number]]
        return pushing, pulling

    def _demand(self) -> Iterator[float]:
        correction = self._correction()
        for number, gravity in enumerate(self.gravity):
            yield gravity + self.applied[number] + correction[number] + FORCE_A_STEP * self.moved[number]

    def _correction(self) -> list[float]:
        """Return the forces that the hardpoints add while the mirror moves."""
        axial = _approach(0.0, self.target["z"] - self.position["z"], 5.0)
        tangent = _approach(0.0, self.target["x"] - self.position["x"], 5.0)
        return [axial] * AXIAL_ACTUATORS + [tangent] * TANGENT_LINKS

    def _steps(self) -> list[int]:
        axial, tangent = self.position["z"] / MICROMETRES_A_STEP, self.position["x"] / MICROMETRES_A_STEP
        closed_loop = [axial] * AXIAL_ACTUATORS + [tangent] * TANGENT_LINKS
        return [round(moved + steps) for moved, steps in zip(self.moved, closed_loop, strict=True)]

    def telemetry(self) -> Iterator[Message]:
        """Yield the telemetry of the mirror, which is sent while the motors are powered."""
        yield from self._forces()
        yield {"id": "position", **self.position}
        yield {
            "id": "positionIMS",
            **{axis: value + self._noise.gauss(0.0, 0.05) for axis, value in self.position.items()},
        }
        mean = sum(self._ring) / len(self._ring)
        yield {"id": "temperature", "ring": [*self._ring], "intake": [mean - 0.5] * 2, "exhaust": [mean + 0.5] * 2}
        processed = 180.0 - (self._inclinometer + INCLINOMETER_OFFSET)
        angles = {"inclinometerRaw": self._inclinometer, "inclinometerProcessed": processed}
        yield {"id": "zenithAngle", "measured": 90.0 - processed, **angles}
        yield from self._actuators()
        yield {"id": "inclinometerAngleTma", "inclinometer": self.telescope_elevation}

    def _forces(self) -> Iterator[Message]:
        correction, gravity = self._correction(), self.gravity
        measured = [force + self._noise.gauss(0.0, 0.05) for force in self.measured]
        axial, tangent = slice(AXIAL_ACTUATORS), slice(AXIAL_ACTUATORS, None)
        sideways = sum(measured[tangent])
        yield {"id": "netForcesTotal", "fx": sideways, "fy": 0.0, "fz": sum(measured[axial])}
        yield {"id": "netMomentsTotal", "mx": 0.0, "my": 0.0, "mz": sideways}
        for topic, part, temperature in (("axialForce", axial, [0.0] * AXIAL_ACTUATORS), ("tangentForce", tangent, [])):
            yield {
                "id": topic,
                "lutGravity": gravity[part],
                "lutTemperature": temperature,
                "applied": self.applied[part],
                "measured": measured[part],
                "hardpointCorrection": correction[part],
            }
        balance = {"fx": sum(correction[tangent]), "fy": 0.0, "fz": sum(correction[axial])}
        yield {"id": "forceBalance", **balance, "mx": 0.0, "my": 0.0, "mz": 0.0}

    def _actuators(self) -> Iterator[Message]:
        steps = self._steps()
        places = [count * MICROMETRES_A_STEP for count in steps]
        yield {"id": "axialEncoderPositions", "position": places[:AXIAL_ACTUATORS]}
        yield {"id": "tangentEncoderPositions", "position": places[AXIAL_ACTUATORS:]}
        yield {"id": "axialActuatorSteps", "steps": steps[:AXIAL_ACTUATORS]}
        yield {"id": "tangentActuatorSteps", "steps": steps[AXIAL_ACTUATORS:]}
        errors = [force - gravity for force, gravity in zip(self.measured, self.gravity, strict=True)]
        yield {
            "id": "forceErrorTangent",
            "force": errors[AXIAL_ACTUATORS:],
            "weight": 0.0,
            "sum": sum(errors[AXIAL_ACTUATORS:]),
        }


def _approach(value: float, target: float, most: float) -> float:
    """Return ``value`` moved towards ``target`` by at most ``most``."""
    return target if abs(target - value) <= most else value + math.copysign(most, target - value)
