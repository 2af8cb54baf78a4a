"""Rollouts: the oracle dreams the truth, and broken dreams are seen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from memory_games import MemoryDataset, naive

from worldmodel.evaluation import closed_loop, heldout, starts
from worldmodel.evaluation.closed_loop import CURVE_METRICS, CURVES, TRUTH, ClosedLoop
from worldmodel.schema import LAYOUT
from worldmodel.schema.events import EVENTS

LENGTHS = [90, 70, 40]


def run(dataset: MemoryDataset, models: dict[str, object], *, num_starts: int = 9, **settings: object) -> ClosedLoop:
    games = heldout.choose_games(dataset)  # type: ignore[arg-type]
    chosen = starts.uniform(games, num_starts=num_starts, earliest=3, horizon=12, seed=0)
    return closed_loop.evaluate(models, dataset, games, chosen, history=3, counted=3, **settings)  # type: ignore[arg-type]


def test_the_oracle_makes_no_error_at_any_horizon(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    found = run(dataset, {"oracle": in_memory.oracle(dataset)})
    dream = found.models["oracle"]
    for m, metric in enumerate(CURVE_METRICS):
        value_T = dream.numerator[:, :, m].sum(0) / dream.denominator[:, :, m].sum(0)
        expected = 0.0 if metric.better == "lower" else 1.0
        np.testing.assert_allclose(value_T, expected, atol=1e-3, err_msg=metric.name)
    np.testing.assert_allclose(dream.position, found.truth[:, 1:], atol=1e-3)
    # Whatever the truth does, the oracle does: events, contradictions, and it is never lost.
    true = found.models[TRUTH]
    np.testing.assert_array_equal(dream.contradictions, true.contradictions)
    np.testing.assert_array_equal(dream.events, true.events)
    assert true.contradictions.sum() > 0 < true.events.sum(), "random games contradict themselves"
    np.testing.assert_array_equal(dream.consistent, true.consistent)
    assert (dream.near == found.horizon).all()
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
    for name in ("events", "contradictions", "impossible", "possible", "near", "consistent"):
        np.testing.assert_array_equal(getattr(cut.models["b"], name), getattr(whole.models["b"], name), err_msg=name)


def test_rollouts_start_where_they_say(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset(LENGTHS)
    found = run(dataset, {"copy": naive("copy_last")})
    at = [LAYOUT.number("position_x"), LAYOUT.number("position_y")]
    for (place, row), truth in zip(found.starts.at.tolist(), found.truth, strict=True):
        numbers = dataset.load(np.array([place])).numbers
        np.testing.assert_array_equal(truth, numbers[row : row + 13][..., at])


def test_no_starts_no_rollouts(in_memory: SimpleNamespace) -> None:
    found = run(in_memory.dataset([5, 5]), {"copy": naive("copy_last")})
    assert found.models["copy"].position.shape[0] == 0


def test_conditioned_rollouts_of_the_oracle_have_their_events(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset([90, 70, 60])
    games = heldout.choose_games(dataset)
    chosen = starts.before_events(dataset, games, num_starts=4, earliest=3, horizon=16, seed=0)
    models = {"oracle": in_memory.oracle(dataset), "copy": naive("copy_last")}
    found = closed_loop.evaluate(models, dataset, games, chosen, history=3, counted=3)
    assert found.models["oracle"].produced.all()
    assert not found.models["copy"].produced.any()
    # Sums are kept per event and game: each conditioned rollout counts in exactly one.
    per_group = found.models["copy"].denominator[:, 0, CURVES.index("exact")].reshape(len(EVENTS), len(games))
    kinds = np.bincount(chosen.event[:, 0], minlength=len(EVENTS))
    np.testing.assert_array_equal(per_group.sum(1), 2 * kinds)
