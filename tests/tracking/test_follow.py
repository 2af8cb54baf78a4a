"""Following a record that grows: order, names, torn lines, a run that goes on from an earlier step."""

from __future__ import annotations

import math
from pathlib import Path

from worldmodel.tracking.follow import Curves, Tail, points
from worldmodel.tracking.jsonl import JsonlWriter, cut_from


def test_only_whole_rows_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    tail = Tail(path)
    assert tail.look() == []
    path.write_text('{"a": 1}\n{"a": ')
    assert tail.look() == [{"a": 1}]
    assert tail.look() == []
    with path.open("a") as file:
        file.write('2}\nnonsense\n[1]\n{"a": 3}\n')
    assert tail.look() == [{"a": 2}, {"a": 3}]
    assert tail.num_skipped == 2


def test_a_record_that_got_shorter_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonlWriter(path) as rows:
        for step in (1, 2, 3):
            rows.write({"step": step})
    tail = Tail(path)
    assert len(tail.look()) == 3
    cut_from(path, lambda row: row["step"] > 1)
    assert tail.look() == [{"step": 1}]


def test_steps_never_go_backwards(tmp_path: Path) -> None:
    """Whatever is there at a look: a row of pace is written before the metrics of any later step."""
    metrics, pace = JsonlWriter(tmp_path / "m"), JsonlWriter(tmp_path / "p")
    curves = Curves(tmp_path / "m", tmp_path / "p")
    seen: list[int] = []
    for step in range(1, 60):
        metrics.write({"kind": "train", "step": step, "loss/total": 1.0})
        if step % 7 == 0:
            seen += [point.step for point in curves.look()]
        pace.write({"kind": "pace", "step": step, "step_ms": 1.0})
        if step % 5 == 0:
            seen += [point.step for point in curves.look()]
            metrics.write({"kind": "val", "step": step, "weights": "raw", "val_x": 1.0})
    seen += [point.step for point in curves.look()]
    assert seen == sorted(seen)
    assert len(seen) == 59 * 2 + 11
    metrics.close()
    pace.close()


def test_names() -> None:
    train = points({"kind": "train", "step": 3, "epoch": 0.5, "loss/total": None, "non_finite": ["loss/total"]})
    assert (train.step, train.values["epoch"]) == (3, 0.5)
    assert math.isnan(train.values["loss/total"])
    ema = points({"kind": "val", "step": 3, "weights": "ema", "val_change_acc": 0.5, "val_rare": None})
    assert ema.values == {"ema/val_change_acc": 0.5}
    naive = points({"kind": "naive", "step": 0, "model": "ballistic", "val_pos_mae": 2.0})
    assert (naive.values, naive.constant) == ({}, {"naive/ballistic/val_pos_mae": 2.0})
