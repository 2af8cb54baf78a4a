"""What a controller can say: any numbers an agent comes up with, made into pads that the game could have heard.

Owns: the grids, the dead zones, the circle and the button rules of `melee.pad`, on tensors. Must not: choose pads.

A model has only ever seen what real controllers produce, and says anything at all about the rest. So sticks and
triggers are put on their grids here, before a model sees them. Pads of real replays pass through unchanged, bit for
bit: all 4,441,706 of 250 games, see tests/env/test_controller.py.

Letters: A pad numbers, NB buttons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.melee.pad import (
    BUTTONS,
    STICK_DEAD_STEPS,
    STICK_STEPS,
    TRIGGER_DEAD_STEPS,
    TRIGGER_STEPS,
    Z_TRIGGER,
)
from worldmodel.nn.frames import Pads
from worldmodel.schema import LAYOUT, Buttons

MASKS: tuple[int, ...] = LAYOUT.pad_buttons.codec.masks if isinstance(LAYOUT.pad_buttons.codec, Buttons) else ()
"""Bit of each button, in the order of the axis NB."""

NUM_PAD_NUMBERS = len(LAYOUT.pad_numbers)
NUM_BUTTONS = len(MASKS)

BUTTON_NAMES: tuple[str, ...] = tuple({bit: name for name, bit in BUTTONS.items()}[mask] for mask in MASKS)
"""Name of each button, in the order of the axis NB."""


def pad_number(role: str) -> int:
    """Position of a role's row among the pad numbers, the axis A."""
    return LAYOUT.pad_numbers.index(LAYOUT.the(role))


def button(name: str) -> int:
    """Position of a button among the axis NB, by its name in `melee.pad.BUTTONS`."""
    return BUTTON_NAMES.index(name)


STICKS = ((pad_number("stick_x"), pad_number("stick_y")), (pad_number("cstick_x"), pad_number("cstick_y")))
TRIGGER = pad_number("trigger")
_A, _Z, _L, _R = (button(name) for name in ("a", "z", "l", "r"))


def settle(pads: Pads) -> Pads:
    """The pads (...,A), (...,NB) bool that the game would hear. Fit for any device; nothing is changed in place.

    Sticks: the nearest of n/80, 0 up to 22/80; what lies outside the circle of radius 1 is drawn to it first and cut
    towards the middle. The trigger: the nearest of n/140, 0 up to 42/140. L or R pressed home is a trigger of 1; Z is
    heard as A and as a trigger of 0.35. A value that is no number is an untouched stick. Settling twice is settling
    once.
    """
    numbers = list(torch.nan_to_num(pads.numbers, nan=0.0, posinf=1.0, neginf=-1.0).unbind(-1))
    buttons = list(pads.buttons.unbind(-1))
    sticks = _heard_sticks(torch.stack([numbers[axis] for stick in STICKS for axis in stick], -1)).unbind(-1)
    for axis, value in zip((axis for stick in STICKS for axis in stick), sticks, strict=True):
        numbers[axis] = value
    trigger = _heard_trigger(numbers[TRIGGER]).masked_fill(buttons[_L] | buttons[_R], 1.0)
    numbers[TRIGGER] = trigger.masked_fill(buttons[_Z], Z_TRIGGER)
    buttons[_A] = buttons[_A] | buttons[_Z]
    return Pads(torch.stack(numbers, -1), torch.stack(buttons, -1))


def _heard_sticks(axes: Tensor) -> Tensor:
    """Both sticks (...,4): x, y, x, y."""
    steps = (torch.unflatten(axes, -1, (2, 2)).clamp(-1, 1) * STICK_STEPS).round()
    length = steps.square().sum(-1, keepdim=True).sqrt()
    # Inside the circle this multiplies whole numbers by one.
    steps = (steps * (STICK_STEPS / length.clamp(min=STICK_STEPS))).trunc().flatten(-2)
    return steps.masked_fill(steps.abs() <= STICK_DEAD_STEPS, 0.0) / STICK_STEPS


def _heard_trigger(value: Tensor) -> Tensor:
    steps = (value.clamp(0, 1) * TRIGGER_STEPS).round()
    heard: Tensor = steps.masked_fill(steps <= TRIGGER_DEAD_STEPS, 0.0) / TRIGGER_STEPS
    return heard
