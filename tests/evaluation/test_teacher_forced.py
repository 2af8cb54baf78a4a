"""One step ahead: the perfect predictor is perfect, and how work is cut changes nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from memory_games import naive

from worldmodel.dynamics.objective import GROUPS
from worldmodel.evaluation import heldout, teacher_forced
from worldmodel.evaluation.metrics import FRAME_METRICS, METRIC_AT
from worldmodel.schema import LAYOUT

WEIGHTS = dict.fromkeys(GROUPS, 1.0)
LENGTHS = [40, 23, 31, 9]


def test_the_perfect_predictor_makes_no_error(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    games = heldout.choose_games(dataset)
    found = teacher_forced.evaluate(
        {"oracle": in_memory.oracle(dataset)}, dataset, games, length=8, burn_in=3, weights=WEIGHTS
    )
    values = found.models["oracle"].overall()
    for metric in FRAME_METRICS:
        expected = 0.0 if metric.better == "lower" else 1.0
        assert values[metric.name] == pytest.approx(expected, abs=2e-5), metric.name
    assert found.num_frames == sum(n - 1 - 3 for n in LENGTHS)
    assert found.num_possible == sum(n - 1 for n in LENGTHS)


def test_copy_last_never_sees_a_change(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    games = heldout.choose_games(dataset)
    found = teacher_forced.evaluate({"copy": naive("copy_last")}, dataset, games, length=6, burn_in=0, weights=WEIGHTS)
    values = found.models["copy"].overall()
    for metric in FRAME_METRICS:
        if metric.name.endswith("change_acc"):
            assert values[metric.name] == 0.0, metric.name
    # Against NumPy, straight from the columns: every frame but each game's first.
    at = LAYOUT.number("percent")
    errors = [
        np.abs(np.diff(dataset.load(np.array([g])).numbers[..., at], axis=0)).ravel() for g in range(len(LENGTHS))
    ]
    assert values[f"{LAYOUT.the('percent').name}_mae"] == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)


@pytest.mark.parametrize(("batch_tokens", "block_frames"), [(8, 1), (40, 60), (10**6, 10**6)])
def test_batches_and_blocks_change_nothing(in_memory: SimpleNamespace, batch_tokens: int, block_frames: int) -> None:
    dataset = in_memory.dataset(LENGTHS, absent=(1, "hitlag"))
    games = heldout.choose_games(dataset)
    settings = {"length": 8, "burn_in": 5, "weights": WEIGHTS}
    model = {"b": naive("ballistic")}
    whole = teacher_forced.evaluate(model, dataset, games, **settings).models["b"]
    cut = teacher_forced.evaluate(
        model, dataset, games, **settings, batch_tokens=batch_tokens, block_frames=block_frames
    ).models["b"]
    np.testing.assert_allclose(cut.numerator, whole.numerator, rtol=1e-6)
    np.testing.assert_array_equal(cut.denominator, whole.denominator)


def test_windows_of_one_loss_and_whole_sequences_agree_for_a_model_without_memory(in_memory: SimpleNamespace) -> None:
    """Window mode (burn_in = length - 1) and sequence mode are one path: only the cut differs."""
    dataset = in_memory.dataset([60, 33])
    games = heldout.choose_games(dataset)
    model = {"b": naive("ballistic")}
    window = teacher_forced.evaluate(model, dataset, games, length=5, burn_in=4, weights=WEIGHTS).models["b"]
    sequence = teacher_forced.evaluate(model, dataset, games, length=17, burn_in=4, weights=WEIGHTS).models["b"]
    np.testing.assert_allclose(window.numerator, sequence.numerator, rtol=1e-6)
    np.testing.assert_array_equal(window.denominator, sequence.denominator)


def test_losses_are_those_of_the_objective(in_memory: SimpleNamespace) -> None:
    """On one game with all fields, scored whole, the sums give what training would report."""
    import torch

    from worldmodel.dynamics.objective import loss
    from worldmodel.nn.frames import DeviceBlock, aligned

    dataset = in_memory.dataset([21])
    games = heldout.choose_games(dataset)
    weights = {group: 0.5 + index for index, group in enumerate(GROUPS)}
    model = naive("ballistic")
    found = teacher_forced.evaluate({"b": model}, dataset, games, length=20, burn_in=0, weights=weights)
    values = found.models["b"].overall()
    states, pads, context = DeviceBlock.from_block(dataset.load(np.array([0]))).gather(torch.tensor([[0, 0]]), 21)
    previous, now, target = aligned(states, pads)
    total, values_G, _ = loss(model(previous, now, context), previous, target, context, model.rules, weights)
    assert values["loss/total"] == pytest.approx(total.item(), rel=1e-5)
    for group, value in zip(GROUPS, values_G, strict=True):
        assert values[f"loss/{group}"] == pytest.approx(value.item(), rel=1e-5)


def test_a_missing_field_has_no_denominator(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS, absent=(2, "hitlag"))
    games = heldout.choose_games(dataset)
    found = teacher_forced.evaluate(
        {"oracle": in_memory.oracle(dataset)}, dataset, games, length=8, burn_in=0, weights=WEIGHTS
    )
    at = METRIC_AT[f"{LAYOUT.the('hitlag').name}_mae"]
    counted = found.models["oracle"].denominator[:, 0, at]
    assert counted.tolist() == [39.0, 22.0, 0.0, 8.0]


def test_a_sample_is_a_subset_and_progress_adds_up(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    games = heldout.choose_games(dataset)
    done: list[int] = []
    model = {"a": naive("copy_last"), "b": naive("ballistic")}
    found = teacher_forced.evaluate(
        model, dataset, games, length=8, burn_in=7, weights=WEIGHTS, max_windows=10, seed=3, tick=done.append
    )
    assert found.num_frames == 10
    assert found.models["a"].denominator[..., METRIC_AT["exact"]].sum() == 20
    assert sum(done) == 20  # ten windows, two models
