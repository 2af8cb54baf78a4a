"""The door: run folders with provenance, resumes that are refused or recorded, wrong use in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_experiment import make_experiment

from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.errors import WrongUse
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.strict import dump
from worldmodel.tracking import jsonl
from worldmodel.training.config import load_experiment
from worldmodel.training.run import resume_training, run_training


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(dump(make_experiment(training={"val_windows": 8})))
    return path


def quiet(text: str) -> None:
    pass


def test_a_run_and_one_more_epoch(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    runs, said = tmp_path / "runs", list[str]()
    first = run_training(
        config, dataset_path, overrides=["training.lr=1e-3"], epochs=1, runs=runs, device="cpu", say=quiet
    )
    folder = RunFolder.open(first.run.path)
    assert folder.id.startswith("small-")
    experiment = load_experiment(folder.config)
    assert (experiment.training.lr, experiment.training.epochs) == (1e-3, 1)
    told = json.loads(folder.provenance.read_text())
    learned = folder.games.read_text().split()
    assert len(set(learned)) == len(learned) < told["dataset"]["num_games"], "the held-out ones are not among them"
    assert told["dataset"]["content_hash"] == open_dataset(dataset_path).content_hash
    assert told["experiment"]["overrides"] == ["training.lr=1e-3"]
    assert told["machine"]["device"] == "cpu"

    second = resume_training(folder.path, epochs=2, device="cpu", say=said.append)
    assert (first.num_steps, second.step) == (first.step, 2 * first.step)
    assert load_experiment(folder.config).training.epochs == 2
    assert "training.epochs: 1 -> 2 (recorded)" in said
    overrides = [row for row in jsonl.read(folder.events).rows if row["event"] == "override"]
    assert [(row["key"], row["old"], row["new"]) for row in overrides] == [("training.epochs", 1, 2)]
    with pytest.raises(WrongUse, match="epochs are totals"):
        resume_training(folder.path, epochs=1, device="cpu", say=quiet)


def test_other_data_is_refused(
    config: Path, dataset_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_training(config, dataset_path, epochs=1, runs=tmp_path / "runs", device="cpu", say=quiet)
    monkeypatch.setattr(Dataset, "content_hash", "0" * 64)
    with pytest.raises(WrongUse, match="give the dataset as it was"):
        resume_training(first.run.path, device="cpu", say=quiet)


def test_damaged_checkpoints_are_said_and_passed_over(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    first = run_training(config, dataset_path, epochs=1, runs=tmp_path / "runs", device="cpu", say=quiet)
    newest, _ = first.run.newest_checkpoint()
    newest.state.write_bytes(newest.state.read_bytes()[:100])
    said: list[str] = []
    again = resume_training(first.run.path, device="cpu", say=said.append)
    assert any("DAMAGED" in line for line in said)
    assert again.step == first.step
    assert again.metrics == first.metrics


def test_wrong_use_writes_nothing(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for overrides, data, said in (
        (["training.lrr=1"], dataset_path, "did you mean 'lr'"),
        (["data.length=9999"], dataset_path, "no training game"),
        ([], tmp_path / "none", "none"),
    ):
        with pytest.raises(WrongUse, match=said):
            run_training(config, data, overrides=overrides, runs=runs, device="cpu", say=quiet)
    with pytest.raises(WrongUse, match="no experiment"):
        run_training("smal", dataset_path, runs=runs, say=quiet)
    assert not runs.exists()


@pytest.mark.slow
def test_the_missions_config_trains(dataset_path: Path, tmp_path: Path) -> None:
    """From its name, with three epochs as the card says; fewer windows, for the time."""
    said: list[str] = []
    smaller = ["data.stride=150", "training.batch_size=64", "training.val_windows=64", "training.threads=1"]
    result = run_training(
        "worldmodel/experiments/mamba2-medium-gpu.yaml", dataset_path, overrides=smaller, epochs=3,
        runs=tmp_path, device="cpu", say=said.append,
    )  # fmt: skip
    text = "\n".join(said)
    assert result.reason == "finished"
    assert 4_200_000 < result.num_parameters < 4_400_000
    for piece in ("10 frames shown, loss on 1", "epoch 3: rate 0.2, noise 0.0667", "card heads"):
        assert piece in text
    touched = next(row["numbers"] for row in jsonl.read(result.run.events).rows if row["event"] == "disturbed")
    core_and_velocity = {"percent", "x", "y", "shield", "self_x_air", "self_y", "self_x_ground"}
    assert core_and_velocity | {"knockback_x", "knockback_y"} == set(touched)
    weights = load_experiment(result.run.config).weights
    card = {"continuous": 1, "velocity": 0.5, "dynamics": 0.5, "binary": 0.5, "action": 2, "jumps": 0.5}
    assert weights.items() >= (card | dict.fromkeys(("l_cancel", "hurtbox", "ground", "last_attack"), 0.3)).items()
    assert {"val_change_acc", "val_pos_mae", "val_loss/total"} <= result.metrics.keys()
    assert result.run.id.startswith("mamba2-medium-gpu-")
