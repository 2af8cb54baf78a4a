"""One run by several processes, started as a user starts them: the same curve, the same order, one story."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import make_experiment

from worldmodel.runs.folder import RunFolder
from worldmodel.runs.strict import dump
from worldmodel.tracking import jsonl
from worldmodel.training.run import resume_training, run_training
from worldmodel.training.team import ALONE

SETTINGS: dict[str, Any] = {
    "training": {"epochs": 2, "log_every_steps": 1, "val_windows": 64, "accumulate": 2, "ema": 0.9},
    "scheduled_sampling": {"rate": 0.5, "noise": 0.1, "anneal_epochs": 1, "corrupt_frames": 3},
    "self_forcing": {"every": 3, "max_frames": 3, "begin": 0.0, "reach": 0.5},
    "emphasis": {"action_change": 3.0, "events": {"hit": 0.1}},
}


def torchrun(num: int, *arguments: str) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num}"]
    return [*launcher, "-m", "worldmodel", "train", *arguments]


def rows(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [row for row in jsonl.read(run.metrics).rows if row["kind"] == kind]


def assert_same_curve(a: RunFolder, b: RunFolder) -> None:
    """To float32 summation: the sums are the same numbers in another order, and every step passes that on."""
    for kind in ("train", "val", "naive"):
        first, second = rows(a, kind), rows(b, kind)
        assert len(first) == len(second) > 0
        for one, two in zip(first, second, strict=True):
            assert one.keys() == two.keys()
            for name, value in one.items():
                if isinstance(value, float):
                    assert two[name] == pytest.approx(value, rel=2e-3, abs=2e-4), (kind, one["step"], name)
    early = list(zip(rows(a, "train"), rows(b, "train"), strict=True))[:3]
    for one, two in early:
        assert two["loss/total"] == pytest.approx(one["loss/total"], rel=1e-5)


def test_alone() -> None:
    assert ALONE.is_lead
    assert ALONE.agree(3, 0) == (3, 0)
    assert ALONE.told("x") == "x"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(dump(make_experiment(**SETTINGS)))
    return path


@pytest.mark.slow
def test_two_processes_are_as_one(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    one = run_training(config, dataset_path, runs=runs, name="one", device="cpu", say=lambda text: None)
    arguments = ["--data", str(dataset_path), "--runs", str(runs), "--device", "cpu", "--json"]
    done = subprocess.run(
        torchrun(2, str(config), *arguments, "--name", "two", "--epochs", "1"),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert done.stdout.count("finished at step") == 0, "with --json standard output is one object, of one process"
    assert told["reason"] == "finished"
    assert done.stderr.count("learning rate by step") == 1, "one of them speaks"
    two = RunFolder.open(runs / "two")
    # The second epoch by one process: a run goes on whatever the number of processes.
    resumed = resume_training(two.path, epochs=2, device="cpu", say=lambda text: None)
    assert resumed.num_steps == one.num_steps
    # Another total is another schedule of the learning rate, so the whole is compared with a run that did the same.
    first = run_training(config, dataset_path, epochs=1, runs=runs, name="three", device="cpu", say=lambda text: None)
    assert_same_curve(first.run, _cut(two, first.num_steps))
    resume_training(first.run.path, epochs=2, device="cpu", say=lambda text: None)
    assert_same_curve(first.run, two)


def _cut(run: RunFolder, steps: int) -> RunFolder:
    """A copy of the curves up to a step."""
    copy = RunFolder(run.path.with_name(f"{run.id}-cut"))
    copy.path.mkdir()
    lines = run.metrics.read_text().splitlines(keepends=True)
    copy.metrics.write_text("".join(line for line in lines if json.loads(line)["step"] <= steps))
    return copy


@pytest.mark.slow
def test_a_signal_to_one_stops_all(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    arguments = [
        str(config),
        "training.epochs=1000",
        "training.val_windows=8",
        "--data",
        str(dataset_path),
        "--runs",
        str(runs),
    ]
    process = subprocess.Popen(
        torchrun(2, *arguments, "--device", "cpu", "--name", "stopped"), stderr=subprocess.PIPE, text=True
    )
    run = RunFolder(runs / "stopped")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step "):
            break
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(children[-1], signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    last = jsonl.read(run.events).rows[-1]
    assert (last["event"], last["reason"]) == ("ended", "SIGTERM")
    assert run.newest_checkpoint()[0].step == last["step"]
