"""Whole training steps on frames that lie on the device: no replay, no dataset, any size.

Owns: legal random games on a device, and a step on windows drawn anew each time. Must not: time anything.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.dataset.blocks import Block
from worldmodel.nn.codec import VOCABS
from worldmodel.nn.frames import DeviceBlock
from worldmodel.training.book import NAMES
from worldmodel.training.config import Experiment
from worldmodel.training.loop import chunks, make_state
from worldmodel.training.meter import Meter, Pace
from worldmodel.training.optim import Schedule
from worldmodel.training.plan import Plan
from worldmodel.training.step import Step

GAME_FRAMES = 9_398
"""Of the mission's mean game."""
_COUNTED_BATCH = 8


def resident(num_frames: int, device: torch.device) -> DeviceBlock:
    """Games of the mission's length with legal random values, tiled on the device to at least `num_frames` frames."""
    rng = np.random.default_rng(0)
    num_games = max(1, min(64, num_frames // GAME_FRAMES))
    small = Block.zeros(np.arange(num_games), np.full(num_games, GAME_FRAMES))
    small.numbers[:] = rng.normal(size=small.numbers.shape)
    small.pad_numbers[:] = rng.uniform(-1, 1, size=small.pad_numbers.shape)
    for index, size in enumerate(VOCABS):
        small.categories[..., index] = rng.integers(0, size, small.categories.shape[:-1])
    small.flags[:] = rng.integers(0, 256, small.flags.shape)
    for present in (small.present_numbers, small.present_categories, small.present_flags):
        present[:] = True
    block = DeviceBlock.from_block(small, device)
    times = -(-num_frames // len(block.words))
    offsets = torch.arange(times * num_games + 1, device=device) * GAME_FRAMES
    return DeviceBlock(
        words=block.words.repeat(times, 1),
        offsets=offsets,
        context=block.context.map(lambda tensor: tensor.repeat(times, *(1,) * (tensor.ndim - 1))),
        lookup=block.lookup,
    )


class Training:
    """The steps of an experiment. Its data section says what a window is; every step cuts other ones."""

    def __init__(self, experiment: Experiment, block: DeviceBlock, device: torch.device) -> None:
        self.experiment, self.block, self.device = experiment, block, device
        size = experiment.training.batch_size
        batches: Any = SimpleNamespace(size=size, local_size=size, first_slot=0, num_per_epoch=10**6)
        self.plan = Plan(
            experiment=experiment,
            batches=batches,
            validation=None,
            schedule=Schedule.of(experiment.training, 10**6),
            symmetries=None,
            disturbances=[],
            emphasis=None,
            device=device,
        )
        self.state = make_state(experiment, device)
        self.step = Step(self.plan, self.state)
        self.meter = Meter(NAMES, row_steps=10**9, step=0, device=device)
        self.pace = Pace(device)
        self.state.model.train()

    @property
    def num_targets(self) -> float:
        """Frames with a loss, of a step."""
        return self.plan.targets_per_step

    def run(self, steps: int = 1) -> None:
        """Cut windows, and train on them."""
        rows, size = self.experiment.data.rows, self.plan.batches.size
        num_games = len(self.block.offsets) - 1
        for _ in range(steps):
            game = torch.randint(num_games, (size,), device=self.device)
            first = torch.randint(GAME_FRAMES - rows, (size,), device=self.device)
            batch = self.block.gather(torch.stack([game, first], 1), rows)
            self.pace.lap("data")
            for chunk, _ in chunks(batch, self.plan, step=self.state.step):
                self.step(chunk, self.meter, self.pace)

    def flops_per_target(self) -> float:
        """Counted on an eager step of the same model and window, of a small batch."""
        training = self.experiment.training.model_copy(update={"batch_size": _COUNTED_BATCH, "compile": False})
        with FlopCounterMode(display=False) as counter:
            small = Training(self.experiment.model_copy(update={"training": training}), self.block, self.device)
            small.run()
        return float(counter.get_total_flops()) / small.num_targets
