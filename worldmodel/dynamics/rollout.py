"""Closed loop: a model fed with its own frames and given pads, for a batch of sequences at once.

Owns: the loop and the hand-over from history to rollout. Must not: decode (that is `step.advance`), measure.
The cost of a frame does not grow with the history. Nothing is changed in place, so a rollout may be forked anywhere.

Letters: B sequences, R rows of history, T rows rolled out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from worldmodel.dynamics.step import advance
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.nn.codec import Prediction
from worldmodel.nn.frames import Context, Pads, State, aligned, stack_rows
from worldmodel.schema.laws import AWAY

COUNTED_ROWS = 1 + max(told.rows for told in AWAY.values())
"""A history of so many rows says of everybody how long he has been dead."""

Predict = Callable[[State, Pads, Context, ModelState], tuple[Prediction, ModelState]]


def nothing_seen(model: WorldModel, batch: int) -> ModelState:
    """What a loop carries before its first frame: the model's own state, and how long players have been dead."""
    return model.init_state(batch), model.rules.laws.mortality.nothing_seen(batch)


@torch.no_grad()
def burn_in(
    model: WorldModel, states: State, pads: Pads, context: Context, *, tokens: int | None = None
) -> tuple[ModelState, State]:
    """Consume a true history: states and pads (B,R,2,·), R >= 1, row 0 being only a "previous state".

    tokens: how many of its R - 1 the model is shown, the last ones; None: all. How long players have been dead is
    counted over all rows: it belongs to the state of the game, and not to what a model can remember.
    Returns what is carried, and the last frame (B,2,·): what `rollout` starts from. Raises ValueError for more
    tokens than there are.
    """
    num_b, num_r = states.numbers.shape[:2]
    if tokens is not None and not 0 <= tokens < num_r:
        raise ValueError(f"{tokens} tokens of a history of {num_r} rows")
    model_state, dead_rows = nothing_seen(model, num_b)
    if num_r > 1:
        previous, now, _ = aligned(states, pads)
        dead_rows = model.rules.laws.mortality.count_rows(previous)
        first = 0 if tokens is None else num_r - 1 - tokens
        if first < num_r - 1:
            _, model_state = model.scan(previous[:, first:], now[:, first:], context, model_state)
    return (model_state, dead_rows), states[:, -1]


@torch.no_grad()
def rollout(
    model: WorldModel,
    carried: ModelState,
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
        state, carried = advance_model(
            model, carried, state, pads[:, t], context, temperature=temperature, generator=generator
        )
        rows.append(state)
    return stack_rows(rows)


@torch.no_grad()
def advance_model(
    model: WorldModel,
    carried: ModelState,
    state: State,
    pads: Pads,
    context: Context,
    *,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
    predict: Predict | None = None,
) -> tuple[State, ModelState]:
    """One frame of the loop: last frame and the pads of the next (B,2,·) -> (next frame, what is carried on).

    predict: `model.step`, or a compiled form of it.
    """
    model_state, dead_rows = own_and_count(carried)
    dead_rows = model.rules.laws.mortality.count(dead_rows, state)
    prediction, model_state = (predict or model.step)(state, pads, context, model_state)
    following = advance(
        state, prediction, context, model.rules, temperature=temperature, generator=generator, dead_rows=dead_rows
    )
    return following, (model_state, dead_rows)


def own_and_count(carried: ModelState) -> tuple[ModelState, Tensor]:
    """The two parts of what a loop carries."""
    model_state, dead_rows = carried
    assert isinstance(model_state, tuple)
    assert isinstance(dead_rows, Tensor)
    return model_state, dead_rows
