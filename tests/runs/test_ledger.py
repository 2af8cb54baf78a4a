"""Runs as entries, results from elsewhere, and never a training value among held-out ones."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from worldmodel.errors import WrongUse
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.ledger import Entry, Ledger, add, entry_of, read_elsewhere, result_from_elsewhere
from worldmodel.runs.prices import load_prices


def write_run(root: Path, name: str = "one", *, rows: list[dict[str, Any]], ended: str | None = "finished") -> Path:
    run = root / name
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("model: {arch: mlp, width: 8}\ntraining: {lr: 5e-4}\nscheduled_sampling: null\n")
    told = {
        "started_at": "2026-01-02T03:04:05+00:00",
        "code": {"version": "0.1.0", "git_sha": "abc", "dirty": False, "diff_sha256": None},
        "dataset": {"path": "/d", "content_hash": "ab" * 32, "num_games": 3, "num_frames": 900},
        "machine": {"gpu": None},
    }
    (run / "run.json").write_text(json.dumps(told))
    events = [{"event": "started", "step": 0, "num_steps": 20}]
    events += [{"event": "ended", "step": 20, "reason": ended}] if ended else []
    pace = [{"kind": "pace", "step": 10 * i, "step_ms": 10.0 * i, "elapsed_s": 1.5} for i in (1, 2)]
    for file, lines in (("metrics", rows), ("events", events), ("pace", pace)):
        (run / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


ROWS = [
    {"kind": "naive", "step": 0, "model": "copy_last", "val_change_acc": 0.0, "val_loss/total": 0.1},
    {"kind": "val", "step": 10, "epoch": 1.0, "weights": "raw", "val_change_acc": 0.7, "val_loss/total": 0.3},
    {"kind": "val", "step": 10, "epoch": 1.0, "weights": "ema", "val_change_acc": 0.9, "val_loss/total": 0.2},
    {"kind": "train", "step": 20, "epoch": 2.0, "loss/total": 0.01, "grad_norm": 1.0, "lr": 0.1},
    {"kind": "val", "step": 20, "epoch": 2.0, "weights": "raw", "val_change_acc": 0.8, "val_loss/total": 0.4,
     "val_pos_mae": None, "non_finite": ["val_pos_mae"]},
]  # fmt: skip


def test_a_run_folder_as_an_entry(tmp_path: Path) -> None:
    entry = entry_of(RunFolder.open(write_run(tmp_path, rows=ROWS)))
    assert entry.val == {"val_change_acc": 0.7, "val_loss/total": 0.3}, "of the step with the lowest held-out loss"
    assert entry.val_step == 10
    assert entry.val_ema["val_change_acc"] == 0.9, "the mean of the weights stands apart"
    assert entry.train == {"loss/total": 0.01}
    assert entry.config == {"model.arch": "mlp", "model.width": 8, "training.lr": 5e-4, "scheduled_sampling": None}
    assert (entry.epochs, entry.step, entry.num_steps, entry.ended) == (2.0, 20, 20, "finished")
    assert (entry.duration_s, entry.step_s) == (3.0, 0.015)
    assert entry.value("val_loss/total") == 0.3
    assert entry.value("loss/total") == 0.01
    assert entry.value("change_acc") is None


def test_the_best_and_the_last_of_held_out_values_stand_apart(tmp_path: Path) -> None:
    entry = entry_of(RunFolder.open(write_run(tmp_path, rows=ROWS)))
    assert (entry.val_step, entry.val["val_loss/total"]) == (10, 0.3)
    assert (entry.val_last_step, entry.val_last["val_loss/total"]) == (20, 0.4)
    assert all(name.startswith("val_") for name in (*entry.val, *entry.val_last, *entry.val_ema))
    with pytest.raises(WrongUse, match="val_last"):
        result_from_elsewhere("a", source="s", val_last={"loss/total": 0.1})


def test_what_a_run_took(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=ROWS, ended=None)
    events = [
        {"event": "started", "step": 0, "num_steps": 20, "steps_per_epoch": 5},
        {"event": "checkpoint", "step": 0, "seconds": 9.0, "stalled_s": 9.0},
        {"event": "checkpoint", "step": 5, "seconds": 2.0, "stalled_s": 0.25},
        {"event": "resumed", "step": 10, "num_steps": 20, "steps_per_epoch": 5, "lost_s": 4.0},
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    entry = entry_of(RunFolder.open(run))
    assert entry.epoch_s == 0.75, "1.5 s for the ten steps after the first row"
    assert entry.spent_s == 7.0, "what was lost and done again counts"
    assert entry.stall_s == 0.25, "the first is waited for, and no stall"


def test_a_run_that_goes_on_has_not_ended(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=ROWS)
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event":"resumed","step":10,"num_steps":40}\n{"event":"check')  # the second is being written
    entry = entry_of(RunFolder.open(run))
    assert (entry.ended, entry.num_steps) == (None, 40)


def test_a_damaged_run_costs_itself(tmp_path: Path) -> None:
    write_run(tmp_path, "good", rows=ROWS)
    (write_run(tmp_path, "bad", rows=ROWS) / "metrics.jsonl").write_text("{}\nno json\n")
    (tmp_path / "notes").mkdir()
    ledger = Ledger(tmp_path, tmp_path / "none.jsonl")
    assert [entry.name for entry in ledger.entries] == ["good"]
    assert len(ledger.problems) == 1
    assert list(ledger.problems) == ["bad"]
    assert ledger.names == ["bad", "good"]
    assert [entry.name for entry in ledger.newest_runs()] == ["good"]
    assert ledger.get("bad") is None
    assert Ledger(tmp_path / "none", tmp_path / "none.jsonl").entries == ()


@pytest.mark.parametrize("text", ["{}", '{"spent_s": "long"}', "[]", "no json"])
def test_a_damaged_close_out_is_told_and_never_passed_over(tmp_path: Path, text: str) -> None:
    (write_run(tmp_path, "bad", rows=ROWS) / "closeout.json").write_text(text)
    ledger = Ledger(tmp_path, tmp_path / "none.jsonl")
    assert ledger.get("bad") is None
    assert list(ledger.problems) == ["bad"]


def test_a_run_before_its_first_validation(tmp_path: Path) -> None:
    entry = entry_of(RunFolder.open(write_run(tmp_path, rows=[], ended=None)))
    assert (entry.val, entry.train, entry.val_step, entry.ended) == ({}, {}, None, None)


# ---- elsewhere ---------------------------------------------------------------------------------------------------


def other(name: str = "k60", **more: Any) -> Entry:
    return result_from_elsewhere(name, source="the card", **({"val": {"val_change_acc": 0.684}} | more))


def test_results_from_elsewhere_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "cards" / "ledger.jsonl"
    add(file, [other(), other("k10", val={}, unsaid={"change_acc": 0.673}, notes="Same arch")])
    add(file, [other("third")])
    assert [entry.name for entry in read_elsewhere(file)] == ["k60", "k10", "third"]
    assert read_elsewhere(file)[1].unsaid == {"change_acc": 0.673}
    ledger = Ledger(tmp_path, file)
    found = ledger.get("k60")
    assert found is not None
    assert found.value("val_change_acc") == 0.684
    assert not found.is_complete


def test_all_or_none(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    add(file, [other()])
    with pytest.raises(WrongUse, match="'k60' is in"):
        add(file, [other("new"), other()])
    assert len(read_elsewhere(file)) == 1


@pytest.mark.parametrize(
    ("where", "name"), [("val", "change_acc"), ("val_ema", "loss/total"), ("train", "val_x"), ("unsaid", "val_x")]
)
def test_names_show_where_values_come_from(where: str, name: str) -> None:
    with pytest.raises(WrongUse, match=f"a: {where}; expected names .*{name}"):
        other("a", **{where: {name: 0.5}})


def test_a_training_value_never_answers_for_a_held_out_one() -> None:
    entry = other(val={}, train={"loss/total": 0.1}, unsaid={"change_acc": 0.9})
    assert entry.value("val_loss/total") is None
    assert entry.value("val_change_acc") is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"name": "a"}', r"ledger\.jsonl:2: kind: Field required"),
        ("no json", r"ledger\.jsonl:2: the line: Invalid JSON"),
        ('{"name":"b","kind":"elsewhere","source":"s","at":"t","valu":{}}', r"ledger\.jsonl:2: valu: Extra"),
        ('{"name":"b","kind":"run","source":"s","at":"t"}', r"ledger\.jsonl:2: 'b' of kind 'run'"),
        ('{"name":"k60","kind":"elsewhere","source":"s","at":"t"}', r"ledger\.jsonl:2: 'k60'"),
        ('{"name":"b","kind":"elsewhere","source":"s","at":"t","val":{"val_x":NaN}}', r"ledger\.jsonl:2: "),
    ],
)
def test_a_damaged_line_says_where(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "ledger.jsonl"
    add(file, [other()])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(WrongUse, match=message):
        read_elsewhere(file)


# ---- prices ------------------------------------------------------------------------------------------------------


def test_prices_have_their_day(tmp_path: Path) -> None:
    prices = load_prices()
    at_the_card = prices.of("A100-40GB", date(2026, 2, 26))
    now = prices.of("A100-40GB")
    assert at_the_card is not None
    assert now is not None
    assert (at_the_card.usd_per_hour, now.usd_per_hour) == (2.78, 2.10)
    assert prices.of("A100-40GB", date(2020, 1, 1)) == at_the_card
    assert prices.of("abacus") is prices.of(None) is None
    own = '{gpu: A100-40GB, usd_per_hour: 1, as_of: "2026-05-01", source: us}'
    (tmp_path / "prices.yaml").write_text(f"prices: [{own}]\n")
    ours = load_prices(tmp_path).of("A100-40GB")
    assert ours is not None
    assert ours.usd_per_hour == 1
    (tmp_path / "prices.yaml").write_text("prices: [{gpu: A, usd: 1}]\n")
    with pytest.raises(WrongUse, match=r"prices\.yaml:1:\d+: .*usd: unknown key"):
        load_prices(tmp_path)
