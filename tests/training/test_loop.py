"""A run from beginning to end: it learns, repeats itself, goes on where it was, and says what happened."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.models.base import load_model
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.tracking import jsonl
from worldmodel.training import loop
from worldmodel.training import step as steps
from worldmodel.training.config import Experiment
from worldmodel.training.loop import TrainResult, train
from worldmodel.training.meter import NonFinite
from worldmodel.training.plan import make_plan, missing_fields
from worldmodel.training.step import Step

NOISE = {"rate": 0.5, "noise": 0.1, "anneal_epochs": 1, "corrupt_frames": 3}


def run_folder(tmp_path: Path, name: str) -> RunFolder:
    return RunFolder.create(tmp_path, experiment="test", name=name)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    content = torch.load(run.newest_checkpoint()[0].state, weights_only=True)
    flat = dict(content["model"])
    for index, moments in content["optimizer"]["state"].items():
        flat |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    return flat


def same_weights(a: RunFolder, b: RunFolder) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def curves(run: RunFolder) -> list[dict[str, Any]]:
    return jsonl.read(run.metrics).rows


def events(run: RunFolder) -> list[str]:
    return [row["event"] for row in jsonl.read(run.events).rows]


@pytest.fixture(scope="module")
def finished(dataset_path: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A run of two epochs with everything on, used by several tests."""
    run = RunFolder.create(tmp_path_factory.mktemp("finished"), experiment="test")
    said: list[str] = []
    result = train(make_experiment(scheduled_sampling=NOISE), Dataset(dataset_path), run, say=said.append)
    (run.path / "said.txt").write_text("\n".join(said))
    return result


def test_it_learns(finished: TrainResult) -> None:
    rows = [row for row in curves(finished.run) if row["kind"] == "train"]
    assert finished.reason == "finished"
    assert finished.step == finished.num_steps == rows[-1]["step"]
    assert rows[-1]["loss/total"] < 0.75 * rows[0]["loss/total"]
    total = "val_loss/total"
    assert finished.metrics[total] < min(naive[total] for naive in finished.baselines.values())  # type: ignore[operator,type-var]
    json.dumps(finished.as_json(), allow_nan=False)


def test_the_cards_metrics_have_the_cards_names(finished: TrainResult) -> None:
    vals = [row for row in curves(finished.run) if row["kind"] == "val"]
    assert len(vals) == 2
    for name in ("val_change_acc", "val_pos_mae", "val_loss/total", "val_loss/action", "val_percent_mae"):
        assert isinstance(vals[-1][name], float)
    assert finished.best["value"] == min(row["val_loss/total"] for row in vals)


def test_the_run_explains_itself(finished: TrainResult) -> None:
    said = (finished.run.path / "said.txt").read_text()
    for piece in ("parameters", "learning rate by step", "scheduled sampling on the last 3", "naive copy_last",
                  "held-out games", "epochs in total", "this batch was disturbed in"):  # fmt: skip
        assert piece in said
    # When a checkpoint is told of depends on when its thread is done.
    assert sorted(events(finished.run)) == sorted(["started", *["checkpoint"] * 3, "disturbed", "ended"])
    assert (events(finished.run)[0], events(finished.run)[-1]) == ("started", "ended")
    pace = jsonl.read(finished.run.pace).rows[-1]
    for name in ("examples_per_s", "share_data", "share_forward", "share_backward", "share_optimiser", "eta_s",
                 "memory_gb"):  # fmt: skip
        assert name in pace
    assert pace["eta_s"] == 0


def test_its_weights_can_be_used(finished: TrainResult) -> None:
    checkpoint, problems = finished.run.newest_checkpoint()
    assert problems == []
    assert checkpoint.step == finished.num_steps
    assert load_model(checkpoint.weights).num_parameters() == finished.num_parameters


def test_a_run_repeats_itself(finished: TrainResult, dataset: Dataset, tmp_path: Path) -> None:
    again = train(make_experiment(scheduled_sampling=NOISE), dataset, run_folder(tmp_path, "again"))
    same_weights(finished.run, again.run)
    assert curves(finished.run) == curves(again.run)


def test_another_seed_is_another_run(finished: TrainResult, dataset: Dataset, tmp_path: Path) -> None:
    other = make_experiment(scheduled_sampling=NOISE, training={"seed": 1})
    result = train(other, dataset, run_folder(tmp_path, "other"))
    assert curves(finished.run)[-1] != curves(result.run)[-1]


@pytest.mark.parametrize("stop_after", [1, 7, 20])
def test_stopped_and_resumed_is_as_if_never_stopped(
    finished: TrainResult, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    experiment = make_experiment(scheduled_sampling=NOISE)
    run = run_folder(tmp_path, "stopped")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Step", signalling(stop_after, signal.SIGTERM))
        stopped = train(experiment, dataset, run)
    assert (stopped.reason, stopped.step) == ("SIGTERM", stop_after)
    assert events(run)[-1] == "ended"
    assert json.loads(run.latest.read_text())["step"] == stop_after
    with run.metrics.open("a") as file:  # what a killed process may leave: a later row, and half of one
        file.write('{"kind":"train","step":999}\n{"kind":"tr')
    resumed = train(experiment, dataset, run, resume_from=newest(run))
    assert resumed.reason == "finished"
    same_weights(finished.run, run)
    assert curves(run) == curves(finished.run)
    assert resumed.best == finished.best
    assert resumed.baselines == finished.baselines
    assert "resumed" in events(run)


def test_a_finished_run_that_is_resumed_does_nothing(finished: TrainResult, dataset: Dataset) -> None:
    before = weights(finished.run)
    rows = curves(finished.run)
    result = train(make_experiment(scheduled_sampling=NOISE), dataset, finished.run, resume_from=newest(finished.run))
    assert result.metrics == finished.metrics
    assert curves(finished.run) == rows
    assert all(torch.equal(before[name], value) for name, value in weights(finished.run).items())


def test_a_bad_step_is_never_taken_or_saved(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder(tmp_path, "bad")
    true_loss = steps.loss
    calls = []

    def poisoned(*arguments: Any, **more: Any) -> Any:
        found = true_loss(*arguments, **more)
        calls.append(1)
        return found._replace(total=found.total * float("nan")) if len(calls) == 6 else found

    monkeypatch.setattr(steps, "loss", poisoned)
    with pytest.raises(NonFinite, match="step 5"):
        train(make_experiment(training={"log_every_s": 1e9}), dataset, run)
    assert events(run)[-2:] == ["non_finite", "ended"]
    checkpoint, _ = run.newest_checkpoint()
    assert checkpoint.step <= 5
    assert all(value.isfinite().all() for value in weights(run).values())


def test_a_step_with_a_bad_gradient_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    """The flag on the device really stops the fused kernel: weights, moments and step counts."""
    plan = make_plan(make_experiment(), dataset, torch.device("cpu"))
    parameter = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    parameter.grad = torch.full((4,), float("nan"))
    optimizer.grad_scale, optimizer.found_inf = None, torch.ones(())  # type: ignore[attr-defined]
    optimizer.step()
    assert torch.equal(parameter, torch.ones(4))
    assert optimizer.state[parameter]["step"] == 0
    assert plan.num_steps > 0


def test_old_checkpoints_go_and_epochs_stay(dataset: Dataset, tmp_path: Path) -> None:
    often = {"checkpoint_every_min": 1e-9, "epochs": 2, "keep_last": 2, "batch_size": 100, "val_windows": 0}
    result = train(make_experiment(training=often), dataset, run_folder(tmp_path, "often"))
    epoch = result.num_steps // 2
    assert [found.step for found in result.run.all_checkpoints()] == [epoch, result.num_steps - 1, result.num_steps]


def test_window_mode(dataset: Dataset, tmp_path: Path) -> None:
    """The card's mode: ten frames shown, the loss on the last."""
    experiment = Experiment.model_validate(
        make_experiment(training={"epochs": 1, "batch_size": 256}).model_dump()
        | {"data": {"mode": "window", "context_len": 10, "stride": 5}}
    )
    plan = make_plan(experiment, dataset, torch.device("cpu"))
    assert plan.targets_per_step == 256
    result = train(experiment, dataset, run_folder(tmp_path, "window"))
    assert result.metrics["val_change_acc"] is not None


def test_many_blocks_repeat_themselves(dataset: Dataset, tmp_path: Path) -> None:
    small = make_experiment(data={"block_frames": 1000}, training={"epochs": 1})
    one, two = (train(small, dataset, run_folder(tmp_path, name)) for name in ("one", "two"))
    same_weights(one.run, two.run)


def test_half_precision_trains(dataset: Dataset, tmp_path: Path) -> None:
    experiment = make_experiment(training={"epochs": 1, "precision": "bf16"})
    result = train(experiment, dataset, run_folder(tmp_path, "bf16"))
    rows = [row for row in curves(result.run) if row["kind"] == "train"]
    assert rows[-1]["loss/total"] < rows[0]["loss/total"]


def test_nothing_to_train_or_validate_on(dataset: Dataset) -> None:
    cpu = torch.device("cpu")
    with pytest.raises(WrongUse, match="no training game of more than 5000 frames"):
        make_plan(make_experiment(data={"length": 5000}), dataset, cpu)
    shorter = Dataset(dataset.path)
    shorter.rows = lambda split="all": dataset.rows("all") if split == "train" else dataset.rows("all")[:0]  # type: ignore[method-assign]
    with pytest.raises(WrongUse, match=r"training\.val_windows=0 to train without validation"):
        make_plan(make_experiment(), shorter, cpu)
    assert make_plan(make_experiment(training={"val_windows": 0}), shorter, cpu).validation is None


def test_without_validation_it_is_said(dataset: Dataset, tmp_path: Path) -> None:
    run, said = run_folder(tmp_path, "blind"), list[str]()
    result = train(make_experiment(training={"val_windows": 0, "epochs": 1}), dataset, run, say=said.append)
    assert result.metrics == {}
    assert any("NO VALIDATION" in line for line in said)
    assert "no_validation" in events(run)


def test_validation_times(dataset: Dataset) -> None:
    plan = make_plan(make_experiment(training={"val_every_fraction": 0.25}), dataset, torch.device("cpu"))
    per_epoch = plan.steps_per_epoch
    at = [step for step in range(1, plan.num_steps + 1) if plan.validates_after(step)]
    assert len(at) == 8
    assert {per_epoch, 2 * per_epoch} <= set(at)


def test_missing_fields_are_named(dataset: Dataset) -> None:
    assert missing_fields(dataset) == []


def newest(run: RunFolder) -> CheckpointFolder:
    return run.newest_checkpoint()[0]


def signalling(step: int, number: signal.Signals) -> type[Step]:
    """A `Step` whose call number `step` gets this process a signal."""

    class Signalling(Step):
        def __call__(self, *arguments: Any, **more: Any) -> Any:
            if self.state.step + 1 == step:
                os.kill(os.getpid(), number)
            return super().__call__(*arguments, **more)

    return Signalling


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_compiled_training_is_the_same_training(dataset: Dataset, tmp_path: Path) -> None:
    """Compilation changes the speed, and results only by rounding."""
    results = []
    for compiled in (False, True):
        experiment = make_experiment(training={"epochs": 1, "compile": compiled, "log_every_steps": 1})
        run = train(experiment, dataset, run_folder(tmp_path, f"compiled-{compiled}")).run
        results.append([row["loss/total"] for row in curves(run) if row["kind"] == "train"][:5])
    assert results[1] == pytest.approx(results[0], rel=1e-3)
