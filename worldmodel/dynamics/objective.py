"""What training minimises: a loss per group of the schema, counted only where the replay has the field.

Owns: the loss of each kind of head, and its sums. Must not: run a model, weigh by anything but the given weights.

A target number is relative to the `previous` frame that is passed in. Pass the frames that the model was shown, and
it learns to come back from a disturbance; pass the clean ones, and it learns the card's recipe, which does not.

Letters: B sequences, T rows, N numbers, NG gated ones, CP predicted categories, NF flags, G loss groups.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def loss(
    prediction: Prediction,
    previous: State,
    target: State,
    context: Context,
    rules: Rules,
    weights: Mapping[str, float],
    *,
    loss_from: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """(weighted sum, loss of each group): scalars on the device. A group is the mean over its present elements.

    previous, target: (B,T,2,·). loss_from: rows before it do not count. The prediction has either all T rows, or only
    those from `loss_from` on. weights: for every group of `GROUPS`. A group that no replay of the batch has is 0.
    """
    if set(weights) != set(GROUPS):
        raise ValueError(f"weights for {sorted(weights)}, expected {sorted(GROUPS)}")
    sums, counts = group_sums(prediction, previous, target, context, rules, loss_from=loss_from)
    values = sums.sum(0) / counts.sum(0).clamp(min=1)
    groups = dict(zip(GROUPS, values.unbind(), strict=True))
    total = torch.stack([groups[name] * weight for name, weight in weights.items()]).sum()
    return total, groups


def group_sums(
    prediction: Prediction,
    previous: State,
    target: State,
    context: Context,
    rules: Rules,
    *,
    loss_from: int = 0,
) -> tuple[Tensor, Tensor]:
    """Numerator and denominator of each group, per sequence: (B,G) both. Arguments as of `loss`."""
    num_rows = target.numbers.shape[1] - loss_from
    previous, target = previous[:, loss_from:], target[:, loss_from:]
    if prediction.numbers.shape[1] != num_rows:
        prediction = prediction[:, loss_from:]
    prediction = _full_precision(prediction, target.numbers.dtype)
    elements = 2 * num_rows

    numbers = number_losses(prediction, previous, target, rules).sum((1, 2))
    flags = F.binary_cross_entropy_with_logits(
        prediction.flags, target.flags.to(prediction.flags.dtype), reduction="none"
    ).sum((1, 2))
    codes = category_losses(prediction, target).sum((1, 2))

    losses = torch.cat([numbers, flags, codes], -1)
    has_code = context.present_categories.index_select(-1, rules.predicted_index)
    present = torch.cat([context.present_numbers, context.present_flags, has_code], -1)
    losses = torch.where(present, losses, torch.zeros_like(losses))
    group_EG = rules.group_EG.to(losses.dtype)
    return (losses[..., None] * group_EG).sum(1), (present[..., None] * group_EG).sum(1) * elements


def number_losses(prediction: Prediction, previous: State, target: State, rules: Rules) -> Tensor:
    """Loss of each number (B,T,2,N), presence not yet considered.

    Ours: cross-entropy of the gate, plus the Huber loss of the step where the target differs from the prior by more
    than the field's gate. The card's: squared error of the scaled target.
    """
    wanted, difference = rules.encode(previous, target)
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
