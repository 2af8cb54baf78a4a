"""One update: the same however the batch is split, honest about what is not finite, with a memory if asked to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.dataset.blocks import Block
from worldmodel.dataset.store import Dataset
from worldmodel.runs.folder import RunFolder
from worldmodel.training import batches as batches_module
from worldmodel.training import plan as plan_module
from worldmodel.training.book import NAMES
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.loop import chunks, make_state, train
from worldmodel.training.meter import Meter, NonFinite, Pace
from worldmodel.training.plan import make_plan
from worldmodel.training.step import Step

CPU = torch.device("cpu")


def updated(dataset: Dataset, experiment: Experiment, *, num: int = 1) -> tuple[TrainState, list[dict[str, float]]]:
    """The state after `num` batches, and a row of metrics for each step."""
    plan = make_plan(experiment, dataset, CPU)
    state = make_state(experiment, CPU)
    step, pace = Step(plan, state), Pace(CPU)
    meter = Meter(NAMES, row_steps=1, step=0, device=CPU)
    batches = plan.batches.epoch(0)
    for _ in range(num):
        carried = None
        for chunk, _ in chunks(next(batches), plan, step=state.step):
            carried = step(chunk, meter, pace, carried=carried)
    return state, [row for _, row in meter.fetch()]


@pytest.mark.parametrize("heads", ["residual", "card"])
def test_accumulation_changes_memory_and_nothing_else(dataset: Dataset, heads: str) -> None:
    """Denominators are those of the whole batch, also where its parts have unequal shares of what is counted."""
    more: dict[str, Any] = {"emphasis": {"action_change": 5.0, "events": {"hit": 0.2}}, "model": {"heads": heads}}
    whole, rows = updated(dataset, make_experiment(**more), num=2)
    parts, rows_of_parts = updated(dataset, make_experiment(**more, training={"accumulate": 8}), num=2)
    for name, value in rows[0].items():
        assert rows_of_parts[0][name] == pytest.approx(value, rel=1e-5), name
    for (name, one), two in zip(whole.model.named_parameters(), parts.model.parameters(), strict=True):
        # Adam divides by a gradient's own size: where that is rounding, the update is too.
        assert (one - two).abs().mean() < 2e-4, name


def test_the_mean_of_weights(dataset: Dataset) -> None:
    experiment = make_experiment(training={"ema": 0.5})
    fresh = {name: value.clone() for name, value in make_state(experiment, CPU).model.named_parameters()}
    state, _ = updated(dataset, experiment)
    assert state.ema is not None
    for name, mean in state.ema.named_parameters():
        now = dict(state.model.named_parameters())[name]
        torch.testing.assert_close(mean, 0.1 * fresh[name] + 0.9 * now, msg=name)  # the first decay is 1 / 10
        assert not mean.requires_grad


def test_carried_state_is_memory(dataset: Dataset) -> None:
    """Three steps that carry see what one step over the whole sees; without updates their losses have its mean."""
    still = {"lr": 1e-30, "weight_decay": 0.0, "batch_size": 8}
    carried, rows = updated(dataset, make_experiment(training=still, data={"length": 16, "burn_in": 0, "carry": 3}))
    whole, (row,) = updated(dataset, make_experiment(training=still, data={"length": 48, "burn_in": 0}))
    assert (carried.step, whole.step) == (3, 1)
    assert np.mean([row["loss/total"] for row in rows]) == pytest.approx(row["loss/total"], rel=1e-4)
    forgetful, _ = updated(dataset, make_experiment(training=still, data={"length": 16, "burn_in": 0}))
    assert forgetful.step == 1


def test_a_run_that_carries_stops_and_goes_on_between_windows(dataset: Dataset, tmp_path: Path) -> None:
    experiment = make_experiment(
        data={"carry": 3}, training={"epochs": 1, "checkpoint_every_min": 1e-9, "keep_last": 1000}
    )
    result = train(experiment, dataset, RunFolder.create(tmp_path, experiment="x", name="carry"))
    steps = [found.step for found in result.run.all_checkpoints()]
    assert len(steps) > 3
    assert all(step % 3 == 0 for step in steps)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch, dataset: Dataset) -> tuple[int, int]:
    """One value of one frame of one training game is infinite, wherever it is read."""
    game = int(dataset.rows(split="train")[3])
    true_load = batches_module.load_block

    def load(dataset: Dataset, games: Any) -> Block:
        block = true_load(dataset, games)
        for place in np.flatnonzero(block.games == game):
            block.numbers[block.offsets[place] + 100, 1, 2] = np.inf
        return block

    for module in (batches_module, plan_module):
        monkeypatch.setattr(module, "load_block", load)
    return game, 100


def test_the_game_and_frame_that_were_not_finite_are_named(
    dataset: Dataset, poison: tuple[int, int], tmp_path: Path
) -> None:
    game, frame = poison
    game_id = dataset.games["game_id"][game].as_py()
    with pytest.raises(NonFinite) as told:
        train(make_experiment(), dataset, RunFolder.create(tmp_path, experiment="x", name="bad"))
    text = str(told.value)
    assert f"game {game_id} (number {game})" in text
    assert text.count("p1.") == 1
    assert f"is not finite at t = {frame};" in text
    checkpoint, _ = RunFolder(tmp_path / "bad").newest_checkpoint()
    content = torch.load(checkpoint.state, weights_only=True)
    assert all(value.isfinite().all() for value in content["model"].values())


def test_whoever_asks_for_steps_gets_turned_windows(dataset: Dataset) -> None:
    """`plan` measures what the run will do."""
    plain, turned = (make_plan(make_experiment(symmetry={"swap": share}), dataset, CPU) for share in (0.0, 1.0))
    batch = next(plain.batches.epoch(0))
    (before, _), (after, _) = (next(chunks(batch, plan, step=0)) for plan in (plain, turned))
    assert torch.equal(before[2].numbers.flip(-2), after[2].numbers)


def test_presented_and_targets_are_no_business_of_the_caller(dataset: Dataset) -> None:
    """A step leaves the batch as it was: batches may be resident."""
    experiment = make_experiment(
        scheduled_sampling={"anneal_epochs": 1}, self_forcing={"every": 2, "begin": 0.0, "reach": 0.0}
    )
    plan = make_plan(experiment, dataset, CPU)
    state = make_state(experiment, CPU)
    state.step = plan.steps_per_epoch
    chunk, _ = next(chunks(next(plan.batches.epoch(1)), plan, step=state.step))
    before = [
        tensor.clone()
        for part in chunk
        for tensor in dataclasses.astuple(part)  # type: ignore[call-overload]
    ]
    Step(plan, state)(chunk, Meter(NAMES, row_steps=1, step=state.step, device=CPU), Pace(CPU))
    after = [tensor for part in chunk for tensor in dataclasses.astuple(part)]  # type: ignore[call-overload]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
