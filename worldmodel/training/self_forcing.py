"""Self-forcing: some sequences are shown frames that the model itself made, and it learns to come back to the truth.

Owns: which sequences, from which frame on, how many frames. Must not: step a model (that is `dynamics.rollout`), or
learn: the frames only take the place of true ones in what is shown, and the one ordinary training step does the rest.

A rollout of N frames is made without gradient, from the frames that were presented, under the true pads. Its frames
are what the model is shown instead, and what the targets are relative to. So every own frame has a target that leads
from it to the *true* next frame. The gradient is that of truncated self-forcing, in which it ends at each own frame,
but it comes from one parallel pass; only the N frames themselves are made one by one.

The reference system did this sequentially, and its targets were differences of true frames: it learned to go on from
a drifted frame as if it were the true one, and never to come back (docs/decisions/0008).

Letters: B slots at hand, T frames shown, N own frames.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldmodel.dynamics.rollout import burn_in, rollout
from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.training.config import Experiment, SelfForcing
from worldmodel.training.device import uses_bf16

if TYPE_CHECKING:
    from worldmodel.training.disturbance import Presented, Slots

_STREAM = 2
"""Makes the choice of the start another than other choices of the same (seed, step)."""


def curriculum(settings: SelfForcing, num_steps: int, step: int) -> int:
    """Own frames at a step (index from 0): 0 before `begin`, 1 from there, `max_frames` from `reach` on."""
    begin, reach = settings.begin * num_steps, settings.reach * num_steps
    if step < begin:
        return 0
    if step >= reach:
        return settings.max_frames
    return 1 + int((settings.max_frames - 1) * (step - begin) / (reach - begin))


class OwnFrames:
    """The disturbance. Every `every`-th slot of the global batch; the same rows in all of them.

    Own frames are rows s+1 .. s+N of what is shown, after the burn-in where there is room, so that each has a loss. In
    window mode they are the last N context frames, and the last has it. Rows after them are true again.
    """

    def __init__(self, experiment: Experiment, num_steps: int, device: torch.device) -> None:
        assert experiment.self_forcing is not None
        self._settings, self._num_steps = experiment.self_forcing, num_steps
        self._seed, self._device = experiment.training.seed, device
        self._bf16 = uses_bf16(experiment.training, device)
        self._length, self._loss_from = experiment.data.length, experiment.data.loss_from
        if self._settings.max_frames > self._length - 1:
            raise WrongUse(
                f"self_forcing.max_frames {self._settings.max_frames} of {self._length} frames shown",
                f"at most {self._length - 1}: a rollout starts from at least one frame",
                "lower max_frames or show more frames",
            )

    def num_frames(self, step: int) -> int:
        """Own frames at a step."""
        return curriculum(self._settings, self._num_steps, step)

    def start(self, step: int) -> int:
        """Row s of the last true frame, drawn on the host from (seed, step)."""
        last = self._length - 1 - self.num_frames(step)
        first = max(0, min(self._loss_from - 1, last))
        return int(np.random.default_rng([self._seed, step, _STREAM]).integers(first, last + 1))

    def apply(
        self,
        presented: Presented,
        previous: State,
        pads: Pads,
        context: Context,
        *,
        step: int,
        model: WorldModel,
        slots: Slots,
    ) -> Presented:
        num_n = self.num_frames(step)
        # A stride over the slots at hand that meets those of the global batch: no index, so no copy to the device.
        chosen = slice(-slots.first % self._settings.every, None, self._settings.every)
        if not num_n or chosen.start >= slots.num_local:
            return presented
        s = self.start(step)
        was_training = model.training
        model.eval()
        try:
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
                own = roll_out(model, presented.shown[chosen], pads[chosen], context[chosen], s, num_n)
        finally:
            model.train(was_training)
        rows = slice(s + 1, s + 1 + num_n)
        shown = _placed(presented.shown, own, chosen, rows)
        same = presented.origin is presented.shown
        return replace(presented, shown=shown, origin=shown if same else _placed(presented.origin, own, chosen, rows))

    def describe(self) -> list[str]:
        settings = self._settings
        first = {
            bisect_left(range(self._num_steps), num, key=self.num_frames) for num in range(settings.max_frames + 1)
        }
        table = "  ".join(f"{step:,}: {self.num_frames(step)}" for step in sorted(first) if step < self._num_steps)
        return [
            f"self-forcing: one sequence in {settings.every} is shown frames of the model's own, corrective targets",
            f"  own frames by step  {table}",
        ]


@torch.no_grad()
def roll_out(model: WorldModel, shown: State, pads: Pads, context: Context, s: int, num_frames: int) -> State:
    """Frames s+1 .. s+num_frames as the model makes them (B,N,2,·), from the frames up to s that it was shown.

    shown (B,T,2,·); pads (B,T,2,·) those of the frames *after* the shown ones, see `nn.frames.aligned`.
    """
    # `burn_in` wants the pads of the frames themselves; it does not use those of the first.
    of_frames = pads.map(lambda tensor: torch.cat([tensor[:, :1], tensor[:, :s]], 1))
    model_state, state = burn_in(model, shown[:, : s + 1], of_frames, context)
    return rollout(model, model_state, state, pads[:, s : s + num_frames], context)


def _placed(state: State, own: State, slots: slice, rows: slice) -> State:
    """A copy of `state` (B,T,2,·) with own frames at some rows of some slots."""

    def put(into: Tensor, what: Tensor) -> Tensor:
        out = into.clone()
        out[slots, rows] = what.to(out.dtype)
        return out

    return State(put(state.numbers, own.numbers), put(state.categories, own.categories), put(state.flags, own.flags))
