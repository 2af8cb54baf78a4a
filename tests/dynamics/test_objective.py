"""The loss: what it counts, what it does not, and that the truth minimises it."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from frames_at_random import random_frames

from worldmodel.dynamics.objective import GROUPS, Loss, group_counts, group_sums, loss
from worldmodel.nn.codec import PREDICTED, VOCABS, Prediction, Rules
from worldmodel.nn.frames import State, aligned
from worldmodel.schema import LAYOUT, NUMBERS

KINDS = ("residual", "card")
ONES = dict.fromkeys(GROUPS, 1.0)


def flat(rules: Rules, shape: tuple[int, int]) -> Prediction:
    """All outputs 0."""
    widths = (len(NUMBERS), len(rules.gated), sum(VOCABS), len(LAYOUT.flag_bits))
    numbers, gates, codes, flags = (torch.zeros(*shape, 2, width) for width in widths)
    return Prediction(numbers, gates, codes, flags)


def named(costs: Loss) -> dict[str, torch.Tensor]:
    return dict(zip(GROUPS, costs.groups, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_costs_next_to_nothing(kind: str) -> None:
    rules = Rules(kind).double()
    states, pads, context = random_frames(4, 12, dtype=torch.float64, missing=True)
    previous, _, target = aligned(states, pads)
    sure = rules.encode_state(previous, target)
    sure = replace(sure, categories=sure.categories * 20, flags=sure.flags * 20)
    changed = rules.encode(previous, target)[1].abs() > rules.gate
    sure = replace(sure, gates=torch.where(rules.pick_gated(changed), 40.0, -40.0).double())
    total, groups, _ = loss(sure, previous, target, context, rules, ONES)
    assert float(total) < 1e-3
    assert groups.shape == (len(GROUPS),)
    for field in ("numbers", "gates", "categories", "flags"):
        moved = replace(sure, **{field: -getattr(sure, field) - 1})
        assert float(loss(moved, previous, target, context, rules, ONES)[0]) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_flat_logits_cost_their_entropy(kind: str) -> None:
    rules = Rules(kind)
    states, pads, context = random_frames(2, 5)
    previous, _, target = aligned(states, pads)
    groups = named(loss(flat(rules, (2, 4)), previous, target, context, rules, ONES))
    for index, vocab in zip(PREDICTED, VOCABS, strict=True):
        assert float(groups[LAYOUT.categories[index].loss]) == pytest.approx(log(vocab), rel=1e-5)
    assert float(groups[LAYOUT.flag_bits[0].field.loss]) == pytest.approx(log(2), rel=1e-5)


def test_card_numbers_by_hand() -> None:
    """Group "velocity": the mean square of scaled differences. Group "dynamics": of scaled values."""
    rules = Rules("card")
    states, pads, context = random_frames(2, 5)
    previous, _, target = aligned(states, pads)
    groups = named(loss(flat(rules, (2, 4)), previous, target, context, rules, ONES))
    at = [i for i, row in enumerate(LAYOUT.numbers) if row.loss == "velocity"]
    assert len(at) == 5
    scaled = (target.numbers[..., at] - previous.numbers[..., at]) * 0.05
    assert float(groups["velocity"]) == pytest.approx(float(scaled.square().mean()), rel=1e-5)
    at = [i for i, row in enumerate(LAYOUT.numbers) if row.loss == "dynamics"]
    scaled = target.numbers[..., at] * torch.tensor([NUMBERS[i].scale for i in at])
    assert float(groups["dynamics"]) == pytest.approx(float(scaled.square().mean()), rel=1e-5)


def test_residual_position_target_is_relative_to_the_moved_body() -> None:
    """A body that moves exactly by its new velocities costs only the gates that say "maybe"."""
    rules = Rules("residual").double()
    states, _, context = random_frames(1, 1, dtype=torch.float64)
    place = LAYOUT.number
    previous = states
    numbers = rules.still(previous, previous.categories).clone()
    numbers[..., place("velocity_x")] += 2
    for axis, roles in (("position_x", ("velocity_x", "knockback_x")), ("position_y", ("velocity_y", "knockback_y"))):
        moved = sum(numbers[..., place(role)] for role in roles)
        numbers[..., place(axis)] = previous.numbers[..., place(axis)] + moved
    target = State(numbers, previous.categories, previous.flags)
    prediction = flat(rules, (1, 1))
    numbers_only = replace(prediction, gates=torch.full_like(prediction.gates, -40.0))
    groups = named(loss(numbers_only, previous, target, context, rules, ONES))
    assert float(groups["continuous"]) < 1e-12
    assert float(groups["velocity"]) > 1  # the gate of the velocity that did change


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_does_not_count(kind: str) -> None:
    rules = Rules(kind)
    states, pads, context = random_frames(3, 6, missing=True)
    previous, _, target = aligned(states, pads)
    g = torch.Generator().manual_seed(0)
    prediction = flat(rules, (3, 5))
    noisy = Prediction(
        *(
            part + torch.randn(part.shape, generator=g) * ~present[:, None, None]
            for part, present in (
                (prediction.numbers, context.present_numbers),
                (prediction.gates, context.present_numbers[:, list(rules.gated)]),
                (prediction.categories, _spread(context.present_categories)),
                (prediction.flags, context.present_flags),
            )
        )
    )
    assert not torch.equal(noisy.numbers, prediction.numbers)
    one, other = (group_sums(p, previous, target, context, rules) for p in (prediction, noisy))
    torch.testing.assert_close(one, other)
    counts = group_counts(context, 5, rules)
    # Old replays have no velocities: their count is 0, and alone they cost 0, not NaN.
    at = GROUPS.index("velocity")
    assert counts[:, at].tolist() == [5 * 2 * 5, 0, 0]
    groups = named(loss(prediction[1:2], previous[1:2], target[1:2], context[1:2], rules, ONES))
    assert float(groups["velocity"]) == 0


def _spread(present: torch.Tensor) -> torch.Tensor:
    columns = [present[:, i : i + 1].expand(-1, vocab) for i, vocab in zip(PREDICTED, VOCABS, strict=True)]
    return torch.cat(columns, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_before_loss_from_do_not_count(kind: str) -> None:
    rules = Rules(kind)
    states, pads, context = random_frames(2, 9)
    previous, _, target = aligned(states, pads)
    prediction = flat(rules, (2, 8))
    whole = loss(prediction[:, 3:], previous[:, 3:], target[:, 3:], context, rules, ONES).total
    for given in (prediction, prediction[:, 3:]):
        part = loss(given, previous, target, context, rules, ONES, loss_from=3).total
        torch.testing.assert_close(part, whole)


def test_groups_are_means_over_present_elements_and_weights_weigh() -> None:
    rules = Rules("residual")
    states, pads, context = random_frames(3, 6, missing=True)
    previous, _, target = aligned(states, pads)
    prediction = flat(rules, (3, 5))
    sums, counts = group_sums(prediction, previous, target, context, rules), group_counts(context, 5, rules)
    assert sums.shape == counts.shape == (3, len(GROUPS))
    weights = {name: 0.5 + index for index, name in enumerate(GROUPS)}
    total, groups, per_sequence = loss(prediction, previous, target, context, rules, weights)
    torch.testing.assert_close(groups, sums.sum(0) / counts.sum(0))
    by_name = dict(zip(GROUPS, groups.tolist(), strict=True))
    assert float(total) == pytest.approx(sum(weights[name] * by_name[name] for name in GROUPS), rel=1e-5)
    assert float(per_sequence.sum()) == pytest.approx(float(total), rel=1e-5)
    with pytest.raises(ValueError, match="expected"):
        loss(prediction, previous, target, context, rules, {"continuous": 1.0})


def some_prediction(rules: Rules, shape: tuple[int, int], seed: int = 0) -> Prediction:
    g = torch.Generator().manual_seed(seed)
    parts = flat(rules, shape)
    return Prediction(
        *(torch.randn(part.shape, generator=g) for part in (parts.numbers, parts.gates, parts.categories, parts.flags))
    )


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_add_up_to_the_whole_with_its_gradient(kind: str, weighed: bool) -> None:
    """Divided by the counts of all, the losses of parts and their gradients are those of the whole batch."""
    rules = Rules(kind).double()
    states, pads, context = random_frames(6, 8, dtype=torch.float64, missing=True)
    previous, _, target = aligned(states, pads)
    weights = {name: 0.5 + index for index, name in enumerate(GROUPS)}
    rows = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(1)) * 4 if weighed else None
    prediction = some_prediction(rules, (6, 7))
    numbers = prediction.numbers.double().requires_grad_()
    prediction = replace(prediction, numbers=numbers)
    counts = group_counts(context, 5, rules, rows).sum(0)
    whole = loss(prediction, previous, target, context, rules, weights, loss_from=2, row_weights=rows)
    (wanted,) = torch.autograd.grad(whole.total, numbers)
    found, total = torch.zeros_like(wanted), 0.0
    for cut in (slice(0, 1), slice(1, 4), slice(4, 6)):
        part = loss(
            prediction[cut], previous[cut], target[cut], context[cut], rules, weights,
            counts=counts, loss_from=2, row_weights=None if rows is None else rows[cut],
        )  # fmt: skip
        torch.testing.assert_close(part.per_sequence, whole.per_sequence[cut])
        found += torch.autograd.grad(part.total, numbers)[0]
        total += float(part.total.detach())
    assert total == pytest.approx(float(whole.total.detach()), rel=1e-12)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_row_weights_weigh_rows_of_each_player(kind: str) -> None:
    rules = Rules(kind).double()
    states, pads, context = random_frames(2, 5, dtype=torch.float64, missing=True)
    previous, _, target = aligned(states, pads)
    prediction = some_prediction(rules, (2, 4))
    args = (prediction, previous, target, context, rules, ONES)
    plain, ones = loss(*args), loss(*args, row_weights=torch.ones(2, 4, 2))
    for left, right in zip(plain, ones, strict=True):
        assert torch.equal(left, right)
    # A row of weight 3 counts as three rows; one of weight 0 as none.
    one_row = torch.zeros(2, 4, 2)
    one_row[1, 2, 0] = 3.0
    only = loss(*args, row_weights=one_row)
    alone = group_sums(*args[:5], row_weights=one_row)
    assert not alone[0].any()
    torch.testing.assert_close(group_counts(context, 4, rules, one_row)[1], group_counts(context, 4, rules)[1] * 3 / 8)
    torch.testing.assert_close(only.groups, loss(*args, row_weights=one_row / 3).groups)
    doubled = torch.ones(2, 4, 2)
    doubled[0, 1, 1] = 2.0
    single = torch.zeros(2, 4, 2)
    single[0, 1, 1] = 1.0
    torch.testing.assert_close(
        group_sums(*args[:5], row_weights=doubled), group_sums(*args[:5]) + group_sums(*args[:5], row_weights=single)
    )


def test_a_sequence_that_is_not_finite_names_itself() -> None:
    rules = Rules("residual")
    states, pads, context = random_frames(3, 4)
    previous, _, target = aligned(states, pads)
    prediction = some_prediction(rules, (3, 3))
    prediction.flags[1, 2, 0, 0] = float("nan")
    costs = loss(prediction, previous, target, context, rules, ONES)
    assert not costs.total.isfinite()
    assert costs.per_sequence.isfinite().tolist() == [True, False, True]


def test_the_loss_compiles_whole() -> None:
    """No graph break, whatever is given."""
    rules = Rules("residual")
    states, pads, context = random_frames(2, 4)
    previous, _, target = aligned(states, pads)
    prediction = some_prediction(rules, (2, 3))
    rows = torch.rand(2, 2, 2)
    counts = group_counts(context, 2, rules, rows).sum(0)

    def costs(prediction: Prediction) -> Loss:
        return loss(prediction, previous, target, context, rules, ONES, counts=counts, loss_from=1, row_weights=rows)

    compiled = torch.compile(costs, fullgraph=True, backend="eager")
    for left, right in zip(compiled(prediction), costs(prediction), strict=True):
        torch.testing.assert_close(left, right)


def test_a_disturbed_previous_frame_moves_the_target() -> None:
    """Relative to the frame that was presented, the target leads back to the truth."""
    rules = Rules("residual").double()
    states, pads, _ = random_frames(2, 4, dtype=torch.float64)
    previous, _, target = aligned(states, pads)
    shown = State(previous.numbers + 0.25, previous.categories, previous.flags)
    back = rules.encode_state(shown, target)
    outputs, _ = rules.encode(shown, target)
    torch.testing.assert_close(back.numbers, outputs)
    decoded = rules.decode(shown, target.categories, back.numbers, back.gates > 0)
    torch.testing.assert_close(decoded, target.numbers, rtol=0, atol=1e-12)
