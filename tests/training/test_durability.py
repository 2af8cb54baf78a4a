"""What may happen to a run from outside, through the command line: one line, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from killing import differences
from tiny_experiment import make_experiment

from worldmodel.cli import main
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.lock import hold
from worldmodel.runs.strict import dump
from worldmodel.tracking import jsonl


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    quick = {"epochs": 4, "ema": 0.9, "val_windows": 8, "checkpoint_every_min": 1e-3, "batch_size": 64}
    path.write_text(dump(make_experiment(training=quick)))
    return path


def begin(config: Path, data: Path, runs: Path, *more: str) -> int:
    return main(
        ["train", str(config), *more, "--data", str(data), "--runs", str(runs), "--name", "run", "--device", "cpu"]
    )


def resume(runs: Path, *more: str) -> int:
    return main(["train", "--resume", str(runs / "run"), "--device", "cpu", *more])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.mark.slow
def test_a_disk_that_fills_up(
    config: Path, dataset_path: Path, tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every epoch's checkpoint stays, so it fills up by itself. With room again the run ends as one that had it."""
    assert begin(config, dataset_path, small_disk) == 1
    assert "No space left on device" in last_line(capsys)
    run = RunFolder(small_disk / "run")
    found, problems = run.newest_checkpoint()
    assert problems == []
    assert not list(run.checkpoints.glob(".aside-*"))
    assert resume(small_disk) == 1  # still no room
    assert run.newest_checkpoint()[0].step >= found.step
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert resume(small_disk) == 0
    assert begin(config, dataset_path, tmp_path / "room") == 0
    assert differences(tmp_path / "room" / "run", run.path) == []


def test_a_disk_that_is_full_before_the_first_checkpoint(
    config: Path, dataset_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_frsize - 400_000))
    assert begin(config, dataset_path, small_disk) == 1
    assert "run the same command again" in last_line(capsys)
    (small_disk / "ballast").unlink()
    small = ("training.epochs=1", "training.ema=null", "training.keep_last=1", "training.checkpoint_every_min=99")
    assert begin(config, dataset_path, small_disk, *small) == 0


def test_two_trainings_of_one_run(
    config: Path, dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(config, dataset_path, tmp_path, "training.epochs=1") == 0
    with hold(RunFolder(tmp_path / "run")):
        assert resume(tmp_path, "--epochs", "2") == 2
        assert f"is being trained by process {os.getpid()} on" in last_line(capsys)
    # What was refused left no trace.
    assert not [row for row in jsonl.read(tmp_path / "run" / "events.jsonl").rows if row["event"] == "override"]
    assert resume(tmp_path, "--epochs", "2") == 0


def test_a_config_that_was_edited(
    config: Path, dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(config, dataset_path, tmp_path, "training.epochs=1") == 0
    run = RunFolder(tmp_path / "run")
    text = run.config.read_text()
    run.config.write_text(text.replace("  lr: 0.005", "  lr: 0.001"))
    assert text != run.config.read_text()
    assert resume(tmp_path, "--epochs", "2") == 2
    assert "edited under the run (training.lr: 0.005 -> 0.001)" in last_line(capsys)
    assert resume(tmp_path, "training.lr=0.001", "--epochs", "2") == 0
    told = [(row["key"], row["old"], row["new"]) for row in jsonl.read(run.events).rows if row["event"] == "override"]
    assert told == [("training.epochs", 1, 2), ("training.lr", 0.005, 0.001)]
    assert resume(tmp_path, "--epochs", "3") == 0  # recorded, so no edit any more


def test_killed_before_the_first_checkpoint(
    config: Path, dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(config, dataset_path, tmp_path, "training.epochs=1") == 0
    run = RunFolder(tmp_path / "run")
    run.drop_checkpoints(keep=set())
    assert resume(tmp_path) == 2
    line = last_line(capsys)
    assert "ended before the first was saved" in line
    assert f"worldmodel train {config} training.epochs=1 --data {dataset_path}" in line
    run.config.unlink()
    assert resume(tmp_path) == 2
    assert "nothing was trained yet" in last_line(capsys)


@pytest.mark.parametrize("length", [0, 1, "half", "all but one"])
def test_a_cut_checkpoint(
    config: Path, dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], length: int | str
) -> None:
    assert begin(config, dataset_path, tmp_path, "training.epochs=1") == 0
    run = RunFolder(tmp_path / "run")
    before = json.dumps([*(row for row in jsonl.read(run.metrics).rows)])
    newest = run.newest_checkpoint()[0]
    whole = newest.state.read_bytes()
    cut = {"half": len(whole) // 2, "all but one": len(whole) - 1}.get(str(length), length)
    newest.state.write_bytes(whole[: int(cut)])
    assert resume(tmp_path) == 0
    assert f"DAMAGED checkpoint left out: {newest.path.name}: state.pt" in capsys.readouterr().err
    assert json.dumps([*(row for row in jsonl.read(run.metrics).rows)]) == before
    assert run.newest_checkpoint()[0].step == newest.step
