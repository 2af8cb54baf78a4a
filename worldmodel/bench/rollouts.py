"""Worlds stepped one by one or many at once, and the bytes that a frame must move.

Owns: a walk under random pads, and its floor. Must not: time anything.
"""

from __future__ import annotations

import torch
from torch import nn

from worldmodel.dynamics.moment import Moment, flat_carried
from worldmodel.dynamics.policies import random
from worldmodel.dynamics.rollout import nothing_seen
from worldmodel.dynamics.world import World
from worldmodel.melee.stages import LEGAL_STAGES
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Pads


def begin(world: World, model: WorldModel, streams: int) -> tuple[Moment, Pads]:
    """Fresh matches on all legal stages, and what both players press in every frame."""
    moment = world.fresh([LEGAL_STAGES[b % len(LEGAL_STAGES)] for b in range(streams)], [(2, 20)] * streams)
    generator = torch.Generator(device=model.like.device).manual_seed(0)
    return moment, random(moment.state, moment.frames, generator)


class Walk:
    """Step after step through worlds."""

    def __init__(self, world: World, moment: Moment, pads: Pads) -> None:
        self.world, self.moment, self.pads = world, moment, pads

    def __call__(self) -> None:
        self.moment = self.world.step(self.moment, self.pads)


def floor_bytes(model: WorldModel, streams: int) -> float:
    """What a frame of all streams must move: every matrix once, every stream's state in and out.

    Copies read and write, and so is their bandwidth counted: both directions.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in tables)
    state = sum(t.numel() * t.element_size() for t in flat_carried(nothing_seen(model, 1)))
    return weights + 2.0 * streams * state
