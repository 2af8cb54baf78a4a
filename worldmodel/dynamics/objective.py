"""What training minimises: a loss per group of the schema, counted only where the replay has the field.

Owns: the loss of each kind of head, and its sums. Must not: run a model, weigh by anything but the given weights.

A target number is relative to the `origin` that is passed in, a frame before each target. Pass the frames that the
model was shown, and it learns to come back from a disturbance; pass the true ones, and it learns the card's recipe,
which does not.

Letters: B sequences, T rows, P the two players, N numbers, NG gated ones, CP predicted categories, NF flags, G loss
groups, E elements: all that has a loss, `nn.codec.ELEMENTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.nn.codec import PREDICTED, VOCABS, Prediction, Rules
from worldmodel.nn.frames import Context, State
from worldmodel.schema import LAYOUT

GROUPS: tuple[str, ...] = LAYOUT.loss_groups
"""Names of the loss groups, in the order of the axis G."""


HUBER_BETA = 0.1
"""Errors below this many steps count squared, above it linearly. Small: exact values are worth more than outliers."""


class Loss(NamedTuple):
    """What a batch costs. Only `total` carries a gradient.

    total: the weighted sum of the groups, a scalar. groups: (G,), each a mean. per_sequence: (B,) what each sequence
    adds to the total; they sum to it, and a sequence that is not finite names itself.
    """

    total: Tensor
    groups: Tensor
    per_sequence: Tensor


def loss(
    prediction: Prediction,
    origin: State,
    target: State,
    context: Context,
    rules: Rules,
    weights: Mapping[str, float],
    *,
    counts: Tensor | None = None,
    loss_from: int = 0,
    row_weights: Tensor | None = None,
) -> Loss:
    """The loss of a batch. A group is the mean over its present elements; one that no replay of the batch has is 0.

    origin, target: (B,T,2,·). loss_from: rows before it do not count. The prediction has either all T rows, or only
    those from `loss_from` on. weights: for every group of `GROUPS`. row_weights: (B, rows that count, 2).
    counts: (G,) what to divide by, if this batch is a part of a greater one: the sum of the parts' `group_counts`.
    The losses of the parts then add up to that of the whole, and so do their gradients. None: this batch's own.
    """
    if set(weights) != set(GROUPS):
        raise ValueError(f"weights for {sorted(weights)}, expected {sorted(GROUPS)}")
    sums_BG = group_sums(prediction, origin, target, context, rules, loss_from=loss_from, row_weights=row_weights)
    if counts is None:
        counts = group_counts(context, target.numbers.shape[1] - loss_from, rules, row_weights).sum(0)
    # What nobody has adds 0 to nothing.
    counts = torch.where(counts > 0, counts, torch.ones_like(counts)).to(sums_BG.dtype)
    groups = sums_BG.sum(0) / counts
    total = _weighted(groups, weights)
    return Loss(total, groups.detach(), _weighted(sums_BG.detach() / counts, weights))


def group_counts(context: Context, num_rows: int, rules: Rules, row_weights: Tensor | None = None) -> Tensor:
    """Denominator of each group, per sequence (B,G): known before a prediction is.

    num_rows: rows that count. Each present element counts once per row and player, or as often as its row weighs.
    """
    per_row = (_present(context, rules)[..., None] * rules.group_EG.to(rules.scale.dtype)).sum(1)
    if row_weights is None:
        return per_row * (2 * num_rows)
    return per_row * row_weights.sum((1, 2)).to(per_row.dtype)[:, None]


def group_sums(
    prediction: Prediction,
    origin: State,
    target: State,
    context: Context,
    rules: Rules,
    *,
    loss_from: int = 0,
    row_weights: Tensor | None = None,
) -> Tensor:
    """Numerator of each group, per sequence (B,G). Arguments as of `loss`."""
    num_rows = target.numbers.shape[1] - loss_from
    origin, target = origin[:, loss_from:], target[:, loss_from:]
    if prediction.numbers.shape[1] != num_rows:
        prediction = prediction[:, loss_from:]
    prediction = _full_precision(prediction, target.numbers.dtype)

    def over_rows(losses_BTPE: Tensor) -> Tensor:
        if row_weights is not None:
            losses_BTPE = losses_BTPE * row_weights.to(losses_BTPE.dtype)[..., None]
        return losses_BTPE.sum((1, 2))

    numbers = over_rows(number_losses(prediction, origin, target, rules))
    flags = over_rows(
        F.binary_cross_entropy_with_logits(prediction.flags, target.flags.to(prediction.flags.dtype), reduction="none")
    )
    codes = over_rows(category_losses(prediction, target))

    losses_BE = torch.cat([numbers, flags, codes], -1)
    losses_BE = torch.where(_present(context, rules), losses_BE, torch.zeros_like(losses_BE))
    return (losses_BE[..., None] * rules.group_EG.to(losses_BE.dtype)).sum(1)


def _present(context: Context, rules: Rules) -> Tensor:
    """Which of the codec's `ELEMENTS` each sequence's replay has (B,E) bool."""
    has_code = context.present_categories.index_select(-1, rules.predicted_index)
    return torch.cat([context.present_numbers, context.present_flags, has_code], -1)


def _weighted(groups: Tensor, weights: Mapping[str, float]) -> Tensor:
    """Weighted sum over the last axis (...,G). The weights stay numbers of the host: no copy, no wait."""
    parts = [value * weights[name] for name, value in zip(GROUPS, groups.unbind(-1), strict=True)]
    return torch.stack(parts, -1).sum(-1)


def number_losses(prediction: Prediction, origin: State, target: State, rules: Rules) -> Tensor:
    """Loss of each number (B,T,2,N), presence not yet considered.

    Ours: cross-entropy of the gate, plus the Huber loss of the step where the target differs from the prior by more
    than the field's gate. The card's: squared error of the scaled target.
    """
    wanted, difference = rules.encode(origin, target)
    changed = difference.abs() > rules.gate
    counts = changed | ~rules.is_gated
    if prediction.gates is not None:
        # A step is learned wherever it is used, also where the gate opens and should not: it then becomes the median of
        # what really follows an open gate, nothing included. Else a false alarm costs the whole size of a hit.
        counts = counts | rules.spread_gates(prediction.gates.detach() > 0)
    out = prediction.numbers
    huber = F.smooth_l1_loss(out, wanted, reduction="none", beta=HUBER_BETA)
    step = huber if rules.kind == "residual" else torch.where(rules.squared, (out - wanted).square(), huber)
    step = torch.where(counts, step, torch.zeros_like(step))
    if prediction.gates is None:
        return step
    label = rules.pick_gated(changed).to(out.dtype)
    gate = F.binary_cross_entropy_with_logits(prediction.gates, label, reduction="none")
    return step + rules.spread_losses(gate)


def category_losses(prediction: Prediction, target: State) -> Tensor:
    """Cross-entropy of each predicted category (B,T,2,CP). The entry *other* is a class like any."""
    losses = []
    for index, vocab, logits in zip(PREDICTED, VOCABS, prediction.split_categories(), strict=True):
        codes = target.categories[..., index]
        flat = F.cross_entropy(logits.reshape(-1, vocab), codes.reshape(-1), reduction="none")
        losses.append(flat.view(codes.shape))
    return torch.stack(losses, -1)


def _full_precision(prediction: Prediction, dtype: torch.dtype) -> Prediction:
    """Losses are taken in the targets' precision, whatever the model ran in."""
    gates = None if prediction.gates is None else prediction.gates.to(dtype)
    return Prediction(prediction.numbers.to(dtype), gates, prediction.categories.to(dtype), prediction.flags.to(dtype))
