"""A model of which the future is known."""

from __future__ import annotations

import torch

from worldmodel.melee.action_states import NAMES
from worldmodel.models.base import NaiveModel
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT
from worldmodel.schema.laws import DEAD

WAIT = NAMES.index("Wait")


class Fading(NaiveModel):
    """p1 takes 10 percent a frame; at 40 it drops out of the stage. Nothing else ever happens (see `faded`)."""

    def desired(self, previous: State) -> State:
        numbers, codes = previous.numbers.clone(), previous.categories.clone()
        percent, action = LAYOUT.number("percent"), LAYOUT.category("action_state")
        is_dead = codes[..., 1, action] <= DEAD[-1]
        falls = (numbers[..., 1, percent] >= 40) & ~is_dead
        numbers[..., 1, percent] += torch.where(falls | is_dead, 0.0, 10.0)
        numbers[..., 1, LAYOUT.number("position_y")] -= torch.where(falls, 1000.0, 0.0)
        codes[..., 1, action] = torch.where(is_dead, codes[..., 1, action], WAIT)
        return State(numbers, codes, previous.flags)


LIFE, DEATH = 5, 60
"""Frames of a life of p1's, and of a death."""


def faded(frame: int) -> tuple[float, bool]:
    """p1's percent in a frame of a match, and whether it has just died: lives of LIFE frames, deaths of DEATH."""
    within = frame % (LIFE + DEATH)
    return 10.0 * min(within, LIFE - 1), within == LIFE
