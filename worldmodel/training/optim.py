"""AdamW, its learning rate, and the running mean of the weights: pure functions of the step and of the total.

Owns: which parameters decay, the schedule, the mean. Must not: step by epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import nn

from worldmodel.training.config import Training

NO_DECAY = ("A_log", "D", "dt_bias")
"""Names of parameters that are rates and gains of a state-space block, not weights of a map."""


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW in two groups: matrices decay; norms, biases, embeddings and state-space rates do not.

    Fused: one kernel per step, and it can skip a step by a flag that stays on the device (see `loop`).
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    decay: list[nn.Parameter] = []
    keep: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_map = parameter.ndim >= 2 and id(parameter) not in embeddings and name.split(".")[-1] not in NO_DECAY
        (decay if is_map else keep).append(parameter)
    groups = [
        {"params": decay, "weight_decay": settings.weight_decay},
        {"params": keep, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.999), fused=True)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear rise over `num_warmup` steps, then a cosine down to 0 at `num_steps`."""

    peak: float
    num_steps: int
    num_warmup: int

    @classmethod
    def of(cls, settings: Training, num_steps: int) -> Schedule:
        """The schedule of a run of `num_steps` steps in total."""
        return cls(settings.lr, num_steps, round(settings.warmup_fraction * num_steps))

    def lr(self, step: int) -> float:
        """Learning rate of a step, counted from 0. Never 0 within the run: the last step still learns a little."""
        if step < self.num_warmup:
            return self.peak * (step + 1) / self.num_warmup
        done = (step - self.num_warmup) / max(1, self.num_steps - self.num_warmup)
        return self.peak * 0.5 * (1 + cos(pi * min(1.0, done)))

    def table(self) -> list[tuple[int, float]]:
        """A few (step, lr) that show the shape."""
        last = max(0, self.num_steps - 1)
        steps = {0, self.num_warmup, last, *(round(last * share) for share in (0.25, 0.5, 0.75))}
        return [(step, self.lr(step)) for step in sorted(steps) if step <= last]


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the running mean towards the weights, after update number `step` (from 0). No synchronisation.

    The decay rises to its value, as min(decay, (1 + step) / (10 + step)): the first weights are soon forgotten.
    """
    now = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - now)
