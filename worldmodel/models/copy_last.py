"""Naive baseline: the next frame is the frame before. Nothing moves, no timer ticks, no state changes."""

from __future__ import annotations

from typing import Literal

from worldmodel.models.base import ModelConfig, NaiveModel
from worldmodel.nn.frames import State


class Config(ModelConfig):
    arch: Literal["copy_last"] = "copy_last"
    heads: Literal["residual"] = "residual"


class Model(NaiveModel):
    def desired(self, previous: State) -> State:
        return previous
