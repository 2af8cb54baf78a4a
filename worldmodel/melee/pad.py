"""The controller: button bits, stick and trigger grids, dead zones.

Owns: what a GameCube pad can say, as the game hears it. Must not: read replays, know of tensors.

Checked on 84 players of 42 real games: every stick value lies on the n/80 grid within a circle of radius 1, every
trigger value on the n/140 grid; the smallest stick value that is not zero is 23/80, the smallest trigger value that the
game hears is 43/140, while the physical trigger goes down to 1/140. Z is heard as A and as a trigger of 0.35. L and R,
pressed home, are heard as a trigger of 1. A stick bit of the upper half is always set past 0.7 and may linger below.
"""

from __future__ import annotations

BUTTONS: dict[str, int] = {
    "d_left": 0x0001,
    "d_right": 0x0002,
    "d_down": 0x0004,
    "d_up": 0x0008,
    "z": 0x0010,
    "r": 0x0020,
    "l": 0x0040,
    "a": 0x0100,
    "b": 0x0200,
    "x": 0x0400,
    "y": 0x0800,
    "start": 0x1000,
}
"""Bit of each physical button (the lower half of the processed word too)."""

DIRECTIONS: dict[str, int] = {
    "stick_up": 0x0001_0000,
    "stick_down": 0x0002_0000,
    "stick_left": 0x0004_0000,
    "stick_right": 0x0008_0000,
    "cstick_up": 0x0010_0000,
    "cstick_down": 0x0020_0000,
    "cstick_left": 0x0040_0000,
    "cstick_right": 0x0080_0000,
    "trigger": 0x8000_0000,
}
"""Bits of the upper half of the processed word: sticks pushed far, and a trigger past its dead zone."""

JUMP_BUTTONS = BUTTONS["x"] | BUTTONS["y"]
SHIELD_BUTTONS = BUTTONS["l"] | BUTTONS["r"]

STICK_STEPS = 80
"""Processed sticks are n / 80 with -80 <= n <= 80, inside the unit circle."""

TRIGGER_STEPS = 140
"""Triggers are n / 140 with 0 <= n <= 140."""

STICK_DEAD_STEPS = 22
"""Up to this many steps an axis is heard as 0."""

TRIGGER_DEAD_STEPS = 42
"""Up to this many steps a trigger is heard as 0."""

DIRECTION_THRESHOLD = 0.7
"""Past this, the direction bit of a stick is set."""

Z_TRIGGER = 0.35
"""The trigger that the game hears when Z is down."""

NEUTRAL_STICK = (0.0, 0.0)
NEUTRAL_TRIGGER = 0.0
NEUTRAL_BUTTONS = 0
"""A pad that nobody touches."""


def button_names(buttons: int) -> tuple[str, ...]:
    """Names of the bits that are set, physical buttons first; bits that mean nothing are left out."""
    return tuple(name for name, bit in (BUTTONS | DIRECTIONS).items() if buttons & bit)


def stick_grid(value: float) -> float:
    """An axis as the game would hear it: on the n/80 grid, clipped, 0 inside the dead zone."""
    steps = round(max(-1.0, min(1.0, value)) * STICK_STEPS)
    return 0.0 if abs(steps) <= STICK_DEAD_STEPS else steps / STICK_STEPS


def trigger_grid(value: float) -> float:
    """A trigger as the game would hear it: on the n/140 grid, clipped, 0 inside the dead zone."""
    steps = round(max(0.0, min(1.0, value)) * TRIGGER_STEPS)
    return 0.0 if steps <= TRIGGER_DEAD_STEPS else steps / TRIGGER_STEPS
