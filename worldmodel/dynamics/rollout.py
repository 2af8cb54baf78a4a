"""Closed loop: a model fed with its own frames and given pads, for a batch of sequences at once.

Owns: the loop and the hand-over from history to rollout. Must not: decode (that is `step.advance`), measure.
The cost of a frame does not grow with the history. Nothing is changed in place, so a rollout may be forked anywhere.

Letters: B sequences, R rows of history, T rows rolled out.
"""

from __future__ import annotations

import torch

from worldmodel.dynamics.step import advance
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.nn.frames import Context, Pads, State, aligned, stack_rows


@torch.no_grad()
def burn_in(model: WorldModel, states: State, pads: Pads, context: Context) -> tuple[ModelState, State]:
    """Consume a true history: states and pads (B,R,2,·), R >= 1, row 0 being only a "previous state".

    Returns the model's state after R - 1 tokens, and the last frame (B,2,·): what `rollout` starts from.
    """
    num_b, num_r = states.numbers.shape[:2]
    model_state = model.init_state(num_b)
    if num_r > 1:
        previous, now, _ = aligned(states, pads)
        _, model_state = model.scan(previous, now, context, model_state)
    return model_state, states[:, -1]


@torch.no_grad()
def rollout(
    model: WorldModel,
    model_state: ModelState,
    state: State,
    pads: Pads,
    context: Context,
    *,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
) -> State:
    """Roll out from `state` (B,2,·), the last known frame, under the pads (B,T,2,·) of the T frames after it.

    Returns those frames (B,T,2,·). Without a temperature it is deterministic.
    """
    rows = []
    for t in range(pads.numbers.shape[1]):
        state, model_state = advance_model(
            model, model_state, state, pads[:, t], context, temperature=temperature, generator=generator
        )
        rows.append(state)
    return stack_rows(rows)


@torch.no_grad()
def advance_model(
    model: WorldModel,
    model_state: ModelState,
    state: State,
    pads: Pads,
    context: Context,
    *,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
) -> tuple[State, ModelState]:
    """One frame of the loop: last frame and the pads of the next (B,2,·) -> (next frame, new model state)."""
    prediction, model_state = model.step(state, pads, context, model_state)
    following = advance(state, prediction, context, model.rules, temperature=temperature, generator=generator)
    return following, model_state
