"""One update as a function of a batch: present, predict, compare, move the weights. Nothing in it waits for the device.

Owns: the order of work within a step. Must not: know of files, epochs, validation, or why a number is weighed.

A batch may be split over processes and, within one, into parts. What the losses are divided by is summed over all of
them before the first backward pass, so the gradient is that of the whole batch however it is split.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from worldmodel.dynamics.objective import GROUPS, group_counts, loss
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.device import uses_bf16, uses_compile
from worldmodel.training.disturbance import Presented
from worldmodel.training.meter import Meter, Pace
from worldmodel.training.optim import update_ema
from worldmodel.training.plan import Plan
from worldmodel.training.self_forcing import OwnFrames

Chunk = tuple[State, Pads, State, Context]
"""Previous states, pads, target states (B,T,2,·), and the context (B,·): what `nn.frames.aligned` gives."""

Touched = Callable[[State, State], None]
"""Hears of a batch with noise on it: (states before the noise, states that the model was shown)."""


class Objective(nn.Module):
    """Model and loss as one module: what is compiled, and what gradients are shared through."""

    def __init__(self, model: WorldModel, experiment: Experiment, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._weights, self._device = experiment.weights, device
        self._bf16 = uses_bf16(experiment.training, device)

    def forward(
        self,
        presented: Presented,
        pads: Pads,
        target: State,
        context: Context,
        counts_G: Tensor,
        row_weights: Tensor | None,
        state: ModelState | None,
        loss_from: int,
    ) -> tuple[Tensor, Tensor, Tensor, ModelState | None]:
        """(total, loss of each group (G,), loss of each sequence (B,), state after the last row if one was given)."""
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
            if state is None:
                prediction = self.model(presented.shown, pads, context, loss_from=loss_from)
            else:
                prediction, state = self.model.scan(presented.shown, pads, context, state)
        found = loss(
            prediction, presented.origin, target, context, self.model.rules, self._weights,
            counts=counts_G, loss_from=loss_from, row_weights=row_weights,
        )  # fmt: skip
        return found.total, found.groups, found.per_sequence, state


class Step:
    """The update of a run's state. Call it with successive chunks; `carried` is what the one before returned."""

    def __init__(self, plan: Plan, state: TrainState) -> None:
        self.plan, self.state = plan, state
        self._parameters = list(state.model.parameters())
        objective: nn.Module = Objective(state.model, plan.experiment, plan.device)
        self._is_compiled = uses_compile(plan.experiment.training, plan.device)
        if self._is_compiled:
            # One graph, or an error: a graph that breaks silently is a run that is slow all night.
            objective.compile(dynamic=False, fullgraph=True)
        self._wrapped = None
        if plan.team.world > 1:
            self._wrapped = objective = DistributedDataParallel(
                objective, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self.objective = objective

    def __call__(
        self,
        chunk: Chunk,
        meter: Meter,
        pace: Pace,
        *,
        carried: ModelState | None = None,
        touched: Touched | None = None,
    ) -> ModelState | None:
        """One update. carried: None at the beginning of a window. Returns the state to carry, if any is."""
        plan, state = self.plan, self.state
        training, data = plan.experiment.training, plan.experiment.data
        previous, pads, target, context = chunk
        presented = Presented(previous, previous)
        for disturbance in plan.disturbances:
            before = presented.shown
            presented = disturbance.apply(
                presented, previous, pads, context, step=state.step, model=state.model, slots=plan.slots
            )
            if touched is not None and presented.shown is not before and not isinstance(disturbance, OwnFrames):
                touched(before, presented.shown)
        if self._is_compiled and plan.disturbances:
            # Tensors of one layout whatever was done to them: else each kind of batch is compiled anew.
            presented = presented.settled()
        loss_from = 0 if carried is not None else data.loss_from
        weights = None if plan.emphasis is None else plan.emphasis(previous, target, context)[:, loss_from:]
        num_rows = target.numbers.shape[1] - loss_from
        counts = group_counts(context, num_rows, state.model.rules, weights).sum(0)
        counts = plan.team.sum_(counts)
        pace.lap("disturb")

        if data.carry > 1 and carried is None:
            carried = state.model.init_state(previous.numbers.shape[0])
        values = counts.new_zeros(len(GROUPS) + 1)
        parts, after = [], []
        size = previous.numbers.shape[0] // training.accumulate
        for first in range(0, previous.numbers.shape[0], size):
            part = slice(first, first + size)
            is_last = first + size >= previous.numbers.shape[0]
            with nullcontext() if is_last or self._wrapped is None else self._wrapped.no_sync():
                total, groups, per_sequence, now = self.objective(
                    Presented(presented.shown[part], presented.origin[part]), pads[part], target[part], context[part],
                    counts, None if weights is None else weights[part],
                    None if carried is None else map_state(carried, lambda tensor: tensor[part]),  # noqa: B023
                    loss_from,
                )  # fmt: skip
                pace.lap("forward")
                # An infinite loss may have a finite gradient. As NaN it reaches every process through the gradient.
                factor = torch.where(total.detach().isfinite(), float(plan.team.world), torch.nan)
                whole = total * factor
                whole.backward()
                pace.lap("backward")
            values += torch.cat([total.detach()[None], groups])
            parts.append(per_sequence)
            after.append(now)

        norm = torch.nn.utils.clip_grad_norm_(self._parameters, training.grad_clip)
        bad = ~norm.isfinite()
        optimizer = state.optimizer
        for group in optimizer.param_groups:
            group["lr"] = plan.schedule.lr(state.step)
        # The fused kernel leaves everything as it was where this flag is 1: a bad step is never taken, without a wait.
        optimizer.grad_scale, optimizer.found_inf = None, bad.float()  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if state.ema is not None and training.ema is not None:
            update_ema(state.ema, state.model, training.ema, state.step)
        # Losses are sums over processes, the norm is the same in all: one of them tells it.
        told_norm = norm.detach() if plan.team.is_lead else torch.zeros_like(norm)
        meter.add(torch.cat([values, told_norm[None]]), bad, torch.cat(parts), plan.slots.first)
        state.step += 1
        pace.lap("optimiser")
        if data.carry == 1:
            return None
        return join_states([map_state(piece, Tensor.detach) for piece in after if piece is not None])


def map_state(state: ModelState, function: Callable[[Tensor], Tensor]) -> ModelState:
    """The same function on each tensor of a nested tuple."""
    return tuple(map_state(part, function) if isinstance(part, tuple) else function(part) for part in state)


def join_states(states: list[ModelState]) -> ModelState:
    """States of successive parts of a batch as one."""
    if len(states) == 1:
        return states[0]
    return tuple(
        join_states(list(parts)) if isinstance(parts[0], tuple) else torch.cat(list(parts))
        for parts in zip(*states, strict=True)
    )
