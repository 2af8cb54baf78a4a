"""One step ahead on held-out games: each frame is predicted from the true ones before it.

Owns: sums of every metric over held-out frames, for several models at once. Must not: choose games, judge.

Shapes: B sequences, T tokens, G games, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset
from worldmodel.dynamics.objective import GROUPS, group_counts, group_sums
from worldmodel.dynamics.step import advance
from worldmodel.evaluation import heldout
from worldmodel.evaluation.heldout import Games, Tick
from worldmodel.evaluation.metrics import GameSums, Sums, frame_terms
from worldmodel.models.base import WorldModel
from worldmodel.nn.codec import Prediction, Rules
from worldmodel.nn.frames import Context, DeviceBlock, State, aligned

BATCH_TOKENS = 16_384
"""Tokens of a batch, whatever the length of windows."""


@dataclass(frozen=True, slots=True)
class TeacherForced:
    """Sums per game of each model; `num_frames`: scored frames, of the `num_possible` that the games have."""

    models: dict[str, GameSums]
    num_frames: int
    num_possible: int


def evaluate(
    models: Mapping[str, WorldModel],
    dataset: Dataset,
    games: Games,
    *,
    length: int,
    burn_in: int,
    weights: Mapping[str, float],
    max_windows: int | None = None,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    block_frames: int = heldout.BLOCK_FRAMES,
    device: torch.device | str = "cpu",
    tick: Tick | None = None,
    part: tuple[int, int] = (0, 1),
) -> TeacherForced:
    """Score windows of `length` tokens, after `burn_in` of them: each frame at most once.

    A run's own settings belong here: a model trained on windows of K frames is shown K frames (burn_in = K - 1).
    `weights` of loss groups. `max_windows`: None for all. `tick` hears of windows done, summed over models.
    part: (i, n): only every n-th game from the i-th on; sums of the other games stay 0, so that the n parts add up.
    """
    plan = heldout.sample(heldout.windows(games.num_frames, length=length, burn_in=burn_in), max_windows, seed=seed)
    sums = {name: Sums.zeros(len(games), device) for name in models}
    used = np.unique(plan[:, 0])[part[0] :: part[1]]
    batch = max(1, batch_tokens // length)
    token_T = torch.arange(length, device=device)

    for places in (used[cut] for cut in heldout.blocks(used, games.num_frames[used], block_frames)):
        block = DeviceBlock.from_block(load_block(dataset, games.num[places]), device)
        members = plan[np.isin(plan[:, 0], places)]
        for first in range(0, len(members), batch):
            windows_B3 = members[first : first + batch]
            cuts = np.stack([np.searchsorted(places, windows_B3[:, 0]), windows_B3[:, 1]], 1)
            states, pads, context = block.gather(torch.from_numpy(cuts).to(device), length + 1)
            previous, pads_now, target = aligned(states, pads)
            slots_B = torch.from_numpy(windows_B3[:, 0]).to(device)
            scored_BT = token_T[burn_in:] >= torch.from_numpy(windows_B3[:, 2]).to(device)[:, None]
            for name, model in models.items():
                model.eval()
                with torch.inference_mode():
                    prediction = model(previous, pads_now, context, loss_from=burn_in)
                    add(
                        sums[name], prediction, previous[:, burn_in:], target[:, burn_in:], context,
                        model.rules, weights, slots_B, scored_BT,
                    )  # fmt: skip
                if tick:
                    tick(len(windows_B3))
    num_frames = int((length - plan[:, 2]).sum())
    num_possible = int(np.maximum(games.num_frames - 1, 0).sum())
    return TeacherForced({name: total.numpy() for name, total in sums.items()}, num_frames, num_possible)


def add(
    sums: Sums,
    prediction: Prediction,
    previous: State,
    target: State,
    context: Context,
    rules: Rules,
    weights: Mapping[str, float],
    slots_B: Tensor,
    scored_BT: Tensor | None = None,
) -> None:
    """Add every metric of a batch to the slots of its sequences: decoded frames and losses. All on the device.

    previous, target: true frames (B, T, 2, ·), of the prediction's T rows. scored_BT: rows that count, None for all.
    """
    decoded = advance(previous, prediction, context, rules)
    sums.add_frames(frame_terms(decoded, previous, target, context), slots_B, scored_BT=scored_BT)
    sums.add_losses(_losses(prediction, previous, target, context, rules, weights, scored_BT), slots_B)


def _losses(
    prediction: Prediction,
    previous: State,
    target: State,
    context: Context,
    rules: Rules,
    weights: Mapping[str, float],
    scored_BT: Tensor | None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Sums and counts (B,) by loss group, and of the weighted total, to which a group that a replay lacks adds 0."""
    num_b, num_t = target.numbers.shape[:2]
    # Each frame as a sequence of its own: the objective's sums are per sequence, and here frames are left out.
    apart = (_apart_prediction(prediction), previous.map(_apart), target.map(_apart))
    contexts = context.map(lambda tensor: tensor.repeat_interleave(num_t, 0))
    sums_FG, counts_FG = group_sums(*apart, contexts, rules), group_counts(contexts, 1, rules)
    weight_G = sums_FG.new_tensor([weights[group] for group in GROUPS])
    total_F = (sums_FG / counts_FG.clamp(min=1) * weight_G).sum(-1, keepdim=True)
    both = torch.cat([total_F, sums_FG], -1), torch.cat([torch.ones_like(total_F), counts_FG], -1)
    scored = None if scored_BT is None else scored_BT[..., None]
    summed = []
    for value_FG in both:
        value_BTG = value_FG.view(num_b, num_t, -1)
        if scored is not None:
            value_BTG = torch.where(scored, value_BTG, 0.0)
        summed.append(value_BTG.sum(1, dtype=torch.float64))
    return {name: (summed[0][:, i], summed[1][:, i]) for i, name in enumerate(("total", *GROUPS))}


def _apart(tensor: Tensor) -> Tensor:
    return tensor.flatten(0, 1).unsqueeze(1)


def _apart_prediction(prediction: Prediction) -> Prediction:
    gates = None if prediction.gates is None else _apart(prediction.gates)
    return Prediction(_apart(prediction.numbers), gates, _apart(prediction.categories), _apart(prediction.flags))
