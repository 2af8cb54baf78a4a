"""Who holds the pads where no replay does: simple policies, named by their functions.

Owns: these functions. Must not: learn, know a model. A function here that takes (state, frames, generator) and gives
pads is a policy: the command line lists it without another list to edit.

Letters: B worlds, A pad numbers, NB buttons. Every policy gives the pads of both players (B,2,·).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor

from worldmodel.dynamics.moment import Moment
from worldmodel.dynamics.world import World
from worldmodel.errors import WrongUse
from worldmodel.melee.pad import STICK_STEPS, TRIGGER_STEPS
from worldmodel.nn.frames import Pads, State, stack_rows
from worldmodel.schema import LAYOUT, Buttons, Number

Policy = Callable[[State, Tensor, torch.Generator], Pads]
"""(last frame (B,2,·), frames since the beginning (B,), a generator on its device) -> the pads of the next frame."""

_AXES = [row.codec.bounds for row in LAYOUT.pad_numbers if isinstance(row.codec, Number)]
_ROLES = [next(iter(row.roles)) for row in LAYOUT.pad_numbers]
_NUM_BUTTONS = len(cast(Buttons, LAYOUT.pad_buttons.codec).masks)

TOUCHED = 0.3
"""Share of axes that `random` moves."""
PRESSED = 0.1
"""Share of buttons that `random` presses."""


def neutral(state: State, frames: Tensor, generator: torch.Generator) -> Pads:
    """Nobody touches a pad."""
    like = state.numbers
    num_worlds = like.shape[0]
    return Pads(
        like.new_zeros(num_worlds, 2, len(_AXES)),
        torch.zeros(num_worlds, 2, _NUM_BUTTONS, dtype=torch.bool, device=like.device),
    )


def random(state: State, frames: Tensor, generator: torch.Generator) -> Pads:
    """Every frame anew: some axes anywhere on the grid of a real pad, some buttons."""
    low_A, high_A, steps_A = _grid(state.numbers)
    shape = (state.numbers.shape[0], 2, len(_AXES))
    chance = _chances(shape, state, generator)
    value = low_A + (high_A - low_A) * _chances(shape, state, generator)
    numbers = torch.where(chance < TOUCHED, (value * steps_A).round() / steps_A, torch.zeros_like(value))
    return Pads(numbers, _chances((*shape[:2], _NUM_BUTTONS), state, generator) < PRESSED)


def extreme(state: State, frames: Tensor, generator: torch.Generator) -> Pads:
    """Every frame anew: every axis at one of its ends, every button down or not. No hand can do that."""
    low_A, high_A, _ = _grid(state.numbers)
    shape = (state.numbers.shape[0], 2, len(_AXES))
    numbers = torch.where(_chances(shape, state, generator) < 0.5, low_A, high_A)
    return Pads(numbers, _chances((*shape[:2], _NUM_BUTTONS), state, generator) < 0.5)


def hold_forward(state: State, frames: Tensor, generator: torch.Generator) -> Pads:
    """Both players hold the stick the way they face."""
    pads = neutral(state, frames, generator)
    faces_right = state.flags[..., LAYOUT.flag("facing")].to(pads.numbers.dtype)
    return _with_axis(pads, "stick_x", faces_right * 2 - 1)


def approach(state: State, frames: Tensor, generator: torch.Generator) -> Pads:
    """Both players hold the stick towards each other."""
    pads = neutral(state, frames, generator)
    across = state.numbers[..., LAYOUT.number("position_x")]
    return _with_axis(pads, "stick_x", (across.flip(-1) - across).sign())


def policies() -> dict[str, Policy]:
    """Every policy of this file by its name, written with hyphens."""
    found = {name: value for name, value in globals().items() if getattr(value, "__module__", None) == __name__}
    return {
        name.replace("_", "-"): value
        for name, value in found.items()
        if not name.startswith("_") and getattr(value, "__annotations__", {}).get("return") == "Pads"
    }


def policy(name: str) -> Policy:
    """A policy by its name. Raises WrongUse."""
    known = policies()
    if name not in known:
        raise WrongUse(f"policy {name!r}", f"one of {', '.join(known)}", "name one of these")
    return known[name]


def play(
    world: World, moment: Moment, hold: Policy, num_frames: int, generator: torch.Generator
) -> tuple[State, Pads, Moment]:
    """Step worlds under a policy: the frames and the pads of each (B,T,2,·), and the moment after them."""
    states, pads = [], []
    for _ in range(num_frames):
        held = hold(moment.state, moment.frames, generator)
        moment = world.step(moment, held)
        states.append(moment.state)
        pads.append(held)
    numbers = torch.stack([held.numbers for held in pads], 1)
    return stack_rows(states), Pads(numbers, torch.stack([held.buttons for held in pads], 1)), moment


def _chances(shape: tuple[int, ...], state: State, generator: torch.Generator) -> Tensor:
    like = state.numbers
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)


def _grid(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lowest and highest value of each axis, and its steps to one."""
    return _grid_on(like.device, like.dtype)


@cache
def _grid_on(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    # Once for each device: a copy from the host makes a device wait.
    steps = [STICK_STEPS if low < 0 else TRIGGER_STEPS for low, _ in _AXES]
    rows = torch.tensor([*zip(*_AXES, strict=True), steps], device=device, dtype=dtype)
    return rows[0], rows[1], rows[2]


def _with_axis(pads: Pads, role: str, values: Tensor) -> Pads:
    """The pads with one axis (B,2) set."""
    numbers = pads.numbers.clone()
    numbers[..., _ROLES.index(role)] = values
    return Pads(numbers, pads.buttons)
