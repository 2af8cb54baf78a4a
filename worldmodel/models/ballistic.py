"""Naive baseline: bodies keep their velocities and move by them, timers tick, nothing else changes.

This is what the schema's priors say on their own: every gate closed.
"""

from __future__ import annotations

from typing import Literal

import torch

from worldmodel.models.base import ModelConfig, NaiveModel
from worldmodel.nn.frames import State


class Config(ModelConfig):
    arch: Literal["ballistic"] = "ballistic"
    heads: Literal["residual"] = "residual"


class Model(NaiveModel):
    def desired(self, previous: State) -> State:
        numbers = self.rules.decode(previous, previous.categories, torch.zeros_like(previous.numbers), None)
        return State(numbers, previous.categories, previous.flags)
