"""Rollouts: the oracle dreams the truth, and broken dreams are seen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_games import MemoryDataset, naive

from worldmodel.evaluation import closed_loop, heldout
from worldmodel.evaluation.closed_loop import CURVES, IMPOSSIBLE, ClosedLoop
from worldmodel.evaluation.metrics import METRIC_AT, METRICS
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT

LENGTHS = [90, 70, 40]


def run(dataset: MemoryDataset, models: dict[str, object], *, num_starts: int = 9, **settings: object) -> ClosedLoop:
    games = heldout.choose_games(dataset)  # type: ignore[arg-type]
    starts = heldout.starts(games, num_starts=num_starts, history=3, horizon=12, seed=0)
    return closed_loop.evaluate(models, dataset, games, starts, history=3, horizon=12, **settings)  # type: ignore[arg-type]


def test_the_oracle_makes_no_error_at_any_horizon(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    found = run(dataset, {"oracle": in_memory.oracle(dataset)})
    dream = found.models["oracle"]
    for m, name in enumerate(CURVES):
        value_T = dream.numerator[:, :, m].sum(0) / dream.denominator[:, :, m].sum(0)
        expected = 0.0 if METRICS[METRIC_AT[name]].better == "lower" else 1.0
        np.testing.assert_allclose(value_T, expected, atol=1e-3, err_msg=name)
    np.testing.assert_allclose(dream.position, found.truth[:, 1:], atol=1e-3)
    assert dream.distance.max() < 2e-3
    numerator, denominator = dream.coherence(10)
    assert numerator.sum() / denominator.sum() == pytest.approx(0.0, abs=1e-3)


def test_copy_last_against_numpy(in_memory: SimpleNamespace) -> None:
    """Nothing moves: the error at k frames is how far the truth has gone from the start frame in k frames."""
    dataset = in_memory.dataset(LENGTHS)
    found = run(dataset, {"copy": naive("copy_last")})
    gone = np.abs(found.truth[:, 1:] - found.truth[:, :1])  # (S, T, P, 2)
    dream = found.models["copy"]
    at = CURVES.index("pos_mae")
    curve = dream.numerator[:, :, at].sum(0) / dream.denominator[:, :, at].sum(0)
    np.testing.assert_allclose(curve, gone.mean((0, 2, 3)), rtol=1e-5)
    # Rollout coherence as the reference defines it: mean over k of the mean of the four errors.
    numerator, denominator = dream.coherence(5)
    assert numerator.sum() / denominator.sum() == pytest.approx(gone[:, :5].mean((2, 3)).mean(), rel=1e-5)


@pytest.mark.parametrize(("batch", "block_frames"), [(1, 1), (4, 100)])
def test_batches_and_blocks_change_nothing(in_memory: SimpleNamespace, batch: int, block_frames: int) -> None:
    dataset = in_memory.dataset(LENGTHS)
    whole = run(dataset, {"b": naive("ballistic")})
    cut = run(dataset, {"b": naive("ballistic")}, batch=batch, block_frames=block_frames)
    np.testing.assert_allclose(cut.models["b"].numerator, whole.models["b"].numerator, rtol=1e-6)
    np.testing.assert_array_equal(cut.models["b"].position, whole.models["b"].position)
    np.testing.assert_array_equal(cut.truth, whole.truth)


def test_rollouts_start_where_they_say(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    found = run(dataset, {"copy": naive("copy_last")})
    at = [LAYOUT.number("position_x"), LAYOUT.number("position_y")]
    for (place, row), truth in zip(found.starts.tolist(), found.truth, strict=True):
        numbers = dataset.load(np.array([place])).numbers
        np.testing.assert_array_equal(truth, numbers[row : row + 13][..., at])


def test_impossible_states_are_seen() -> None:
    dataset = MemoryDataset([30])
    start = dataset.states()[:1]  # (1, 2, ·)
    start.numbers[...] = 1.0
    frames = State(*(getattr(start, name)[:, None].repeat(1, 4, 1, 1) for name in ("numbers", "categories", "flags")))
    context = closed_loop.DeviceBlock.from_block(dataset.load(np.array([0]))).context

    def kinds(dream: State) -> list[str]:
        wrong = closed_loop._impossible(dream, start, context)
        return [kind for kind, found in zip(IMPOSSIBLE, wrong[0].tolist(), strict=True) if found]

    def changed(role: str, value: float) -> State:
        numbers = frames.numbers.clone()
        numbers[0, 2, 1, LAYOUT.number(role)] = value
        return State(numbers, frames.categories, frames.flags)

    assert kinds(frames) == []
    assert kinds(changed("percent", torch.nan)) == ["not_finite"]
    assert kinds(changed("percent", -1.0)) == ["out_of_bounds"]
    assert kinds(changed("position_x", 400.0)) == ["runaway"]
    assert kinds(changed("stocks", 2.0)) == ["stocks_rose"]


def test_no_starts_no_rollouts(in_memory: SimpleNamespace) -> None:
    found = run(in_memory.dataset([5, 5]), {"copy": naive("copy_last")})
    assert found.models["copy"].position.shape[0] == 0
