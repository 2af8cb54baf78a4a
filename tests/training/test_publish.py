"""Checkpoints to where they outlive the machine: tried again, the newest only, told, never in the way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tiny_experiment import make_experiment

from worldmodel.dataset.store import Dataset
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import Beat, read_status
from worldmodel.tracking import jsonl
from worldmodel.training.loop import train
from worldmodel.training.publish import Publisher


def test_a_failure_is_counted_and_tried_again() -> None:
    tried: list[str] = []

    def publish(path: Path) -> None:
        tried.append(path.name)
        if len(tried) < 3:
            raise RuntimeError("no route")

    beat = Beat(None)
    publisher = Publisher(publish, beat, again_s=(0.01,))
    publisher.offer(Path("step-1"), 1)
    assert publisher.close(5)
    assert tried == ["step-1"] * 3
    events = publisher.news()
    assert [row["event"] for row in events] == ["publish_failed", "publish_failed", "published"]
    assert events[0]["message"] == "RuntimeError: no route"
    assert beat.content()["published"]["failures"] == 2


def test_only_the_newest_waits_and_nobody_waits_for_it() -> None:
    may_go_on, tried = threading.Event(), list[str]()

    def publish(path: Path) -> None:
        tried.append(path.name)
        may_go_on.wait(10)

    publisher = Publisher(publish, Beat(None))
    began = time.monotonic()
    publisher.offer(Path("a"), 1)
    while not tried:
        time.sleep(0.01)
    for step, name in enumerate("bcd", 2):
        publisher.offer(Path(name), step)
    assert time.monotonic() - began < 5
    assert not publisher.close(0.05)
    may_go_on.set()
    assert publisher.close(5)
    assert tried == ["a", "d"]


def test_a_run_publishes_every_checkpoint_that_is_whole(dataset: Dataset, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def publish(path: Path) -> None:
        found = next(c for c in RunFolder(tmp_path / "runs/r").all_checkpoints() if c.path == path)
        seen.append(found.problem())

    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    result = train(make_experiment(training={"epochs": 1, "val_windows": 0}), dataset, run, publish=publish)
    assert result.reason == "finished"
    assert seen
    assert not any(seen)
    status = read_status(run)
    assert status is not None
    assert status["published"]["step"] == result.step
    events = [row["of_step"] for row in jsonl.read(run.events).rows if row["event"] == "published"]
    assert events[-1] == result.step


def test_a_place_that_is_gone_does_not_end_a_run(dataset: Dataset, tmp_path: Path, monkeypatch: object) -> None:
    from worldmodel.training import publish as module

    def publish(path: Path) -> None:
        raise OSError("gone")

    monkeypatch.setattr(module.Publisher.close, "__defaults__", (0.1,))  # type: ignore[attr-defined]
    said: list[str] = []
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    experiment = make_experiment(training={"epochs": 1, "val_windows": 0})
    result = train(experiment, dataset, run, publish=publish, say=said.append)
    assert result.reason == "finished"
    assert any("NOT PUBLISHED (1)" in line and "gone" in line for line in said)
    assert "NOT PUBLISHED: the last checkpoint is on this machine's disk only" in said
