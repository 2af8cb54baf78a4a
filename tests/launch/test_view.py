"""What people see is what is; and thousands of runs are seen quickly."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from worldmodel.launch import board
from worldmodel.launch.board import Sight, look
from worldmodel.launch.device import device_name, hold_device
from worldmodel.launch.record import Follower, LiveRecord, replay
from worldmodel.launch.view import COLOURS, frame, runs_table, sparkline
from worldmodel.launch.watcher import kind_of
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity
from worldmodel.runs.rulebook import Rulebook
from worldmodel.runs.rules import Record
from worldmodel.runs.status import Beat, write_end
from worldmodel.tracking import jsonl

RECORDS = Path(__file__).parents[1] / "runs" / "records"


def make(root: Path, name: str, **status: Any) -> RunFolder:
    run = RunFolder.create(root, experiment="test", name=name)
    run.provenance.write_text("{}")
    if status:
        run.status.write_text(json.dumps(Beat(run).content() | status))
    return run


def dead() -> dict[str, Any]:
    return (identity(os.getpid()) or {}) | {"start": 1.0}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("finished", "finished"), ("rule: below", "stopped by rule"), ("SIGTERM", "stopped"), ("deadline", "stopped"),
        ("stop: killed, it did not leave in time", "stopped"), ("killed by SIGKILL", "crashed"),
        ("ValueError: SIGTERM", "crashed"), ("vanished: process 3 is gone", "vanished"), ("non-finite loss", "crashed"),
    ],
)  # fmt: skip
def test_kinds_of_ends(reason: str, kind: str, tmp_path: Path) -> None:
    assert kind_of(reason) == kind
    run = make(tmp_path, "run", phase="training")
    write_end(run, reason)
    assert look(run).state == kind
    assert kind in COLOURS


def test_states_of_what_has_not_ended(tmp_path: Path) -> None:
    mine = identity(os.getpid())
    now = time.monotonic()
    old = {"alive": 1, "progress": 1, "at_s": now, "progress_at_s": now - 700}
    elsewhere = {**(mine or {}), "host": "elsewhere", "boot_id": "another"}
    for name, expected, status in (
        ("a", "running", {"phase": "training"}),
        ("b", "starting", {"phase": "starting"}),
        ("c", "stale", {"phase": "training", "heartbeat": old}),
        ("d", "unseen", {"phase": "training", "process": elsewhere}),
        ("e", "vanished", {"phase": "training", "process": dead()}),
        ("f", "vanished", {"phase": "training", "process": {**(mine or {}), "boot_id": "before the restart"}}),
    ):
        assert look(make(tmp_path, name, **status)).state == expected
    assert look(make(tmp_path, "g")).state == "vanished"  # of before there was a status, and held by nobody
    # Closed once, with an event, and only where the process is surely gone.
    for name, told in (("e", ["vanished", "ended"]), ("f", ["vanished", "ended"]), ("c", []), ("d", [])):
        assert [row["event"] for row in jsonl.read(tmp_path / name / "events.jsonl").rows] == told


def test_two_thousand_runs_are_quick(tmp_path: Path) -> None:
    for number in range(2000):
        run = tmp_path / f"run-{number}"
        run.mkdir()
        (run / "run.json").write_text("{}")
        (run / "status.json").write_text(
            json.dumps({"phase": "ended", "reason": "finished", "step": 5, "num_steps": 5})
        )
    with (tmp_path / "run-7" / "metrics.jsonl").open("wb") as long:
        long.truncate(10**9)
    began = time.monotonic()
    found = [look(run) for run in board.all_runs(tmp_path)]
    assert {sight.state for sight in found} == {"finished"}
    assert len(found) == 2000
    assert time.monotonic() - began < 3


def test_rows_are_followed_through_cuts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = Follower(path)
    assert not follower.look()

    def append(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    append('{"step":1}\n{"step":2}\n{"st')
    assert not follower.look()
    assert [row["step"] for row in follower.rows] == [1, 2]
    append('ep":3}\n')
    assert not follower.look()
    assert [row["step"] for row in follower.rows] == [1, 2, 3]
    jsonl.cut_from(path, lambda row: row["step"] > 1)
    append('{"step":2,"again":1}\n{"step":3}\n{"step":4}\n')  # longer than it was, and other bytes
    assert follower.look()
    assert [row["step"] for row in follower.rows] == [1, 2, 3, 4]


def test_tails(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert jsonl.tail(path) == []
    path.write_text("".join(f'{{"step":{number}}}\n' for number in range(1000)) + '{"torn')
    assert [row["step"] for row in jsonl.tail(path, 36)] == [998, 999]
    assert len(jsonl.tail(path, 10**6)) == 1000


def record(name: str) -> Record:
    run = RunFolder(RECORDS / name)
    return LiveRecord(run).look()


def test_replay_says_where_each_rule_would_have_fired() -> None:
    kill = [
        {"rule": "above", "metric": "loss/total", "threshold": 10.0},
        {"rule": "not_decreasing", "metric": "val_loss/total", "after_epochs": 0.5},
        {"rule": "below", "metric": "val_action_state_acc", "threshold": 0.8},
        {"rule": "stale"},
    ]
    book = Rulebook.model_validate({"kill": kill})
    fired = {name: [each.first and each.first.at_step for each in replay(book, record(name))] for name in
             ("healthy", "flat", "diverging")}  # fmt: skip
    assert fired == {
        "healthy": [None, None, None, None],
        "flat": [None, 32, None, None],
        "diverging": [2, None, 63, None],
    }
    assert replay(book, record("diverging"))[0].epoch == pytest.approx(2 / 63)


def test_the_frame_and_the_table(tmp_path: Path) -> None:
    run = make(tmp_path, "night", phase="training", step=120, num_steps=189, eta_s=600.0)
    book = Rulebook.model_validate({"kill": [{"rule": "above", "metric": "loss/total", "threshold": 3.5}]})
    shown = record("healthy")
    shown.pace[-1] = {**shown.pace[-1], "step_ms": 3.0, "examples_per_s": 100.0}
    for row in shown.pace:
        row.setdefault("examples_per_s", 90.0)  # type: ignore[attr-defined]
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    sight = look(run)
    console.print(frame(sight, shown, list(zip(book.kill, book.judge(shown), strict=True)), now_s=time.monotonic()))
    console.print(runs_table([sight, Sight(run, "crashed", "killed by SIGKILL")]))
    console.file.close()
    text = console.export_text()
    for piece in (
        "night",
        "running",
        "120 / 189  63%",
        "10 min 00 s",
        "above loss/total 3.5",
        "▇",
        "killed by SIGKILL",
    ):
        assert piece in text


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([0.0, 1.0, math.nan, 2.0]) == "▁▅ █"
    assert len(sparkline([float(number) for number in range(1000)])) == 44


def test_devices(tmp_path: Path) -> None:
    gpu = tmp_path / "nvidia0"
    assert device_name(None, {}, gpus=gpu) == "cpu"
    gpu.touch()
    assert device_name(None, {}, gpus=gpu) == "cuda:0"
    assert device_name(None, {"CUDA_VISIBLE_DEVICES": ""}, gpus=gpu) == "cpu"
    assert device_name("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,6"}, gpus=gpu) == "cuda:6"
    assert device_name("cuda", {"CUDA_VISIBLE_DEVICES": "4,6"}, gpus=gpu) == device_name("cuda:4", {}, gpus=gpu)
    os.close(hold_device("cpu", tmp_path))
    os.close(hold_device("cpu", tmp_path))  # free again
