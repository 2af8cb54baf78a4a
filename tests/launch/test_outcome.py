"""What is read out of a run folder when the run is over: no value of training for one of held-out games, no clock."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from carded import give_card, write_card

from worldmodel.errors import WrongUse
from worldmodel.launch.closeout import close, is_current, picture_path
from worldmodel.launch.outcome import Life, lives_of, outcome_of
from worldmodel.launch.results import end_words, render
from worldmodel.runs.folder import RunFolder


def at(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"2026-11-23T{hours:02d}:{minutes:02d}:{rest:06.3f}+00:00"


def event(name: str, seconds: float = 0.0, step: int = 0, **more: Any) -> dict[str, Any]:
    return {"event": name, "at": at(seconds), "step": step, **more}


STARTED = event("started", 10, num_steps=100, steps_per_epoch=50)


def val(step: int, acc: float, mae: float, total: float, **more: Any) -> dict[str, Any]:
    values = {"val_change_acc": acc, "val_pos_mae": mae, "val_loss/total": total}
    return {"kind": "val", "step": step, "epoch": step / 50, "weights": "raw", **values, **more}


def train(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"kind": "train", "step": step, "epoch": step / 50, "loss/total": loss, **more}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path / "runs", experiment="x", name="run")
    folder.provenance.write_text(json.dumps({"started_at": at(0), "machine": {"device": "cpu", "gpu": None}}))
    give_card(folder, write_card(tmp_path / "cards"))
    return folder


def write(run: RunFolder, *, events: list[Any] | None = None, metrics: list[Any] = (), pace: list[Any] = ()) -> None:  # type: ignore[assignment]
    for path, rows in ((run.events, events or [STARTED]), (run.metrics, metrics), (run.pace, pace)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def checkpoint(run: RunFolder, step: int) -> str:
    with run.new_checkpoint(step, {}) as aside:
        aside.state.write_bytes(b"s")
        aside.weights.write_bytes(b"weights %d" % step)
    return str(run.newest_checkpoint()[0].meta["files"]["weights.safetensors"])


def test_targets_by_the_best_step_of_held_out_games(run: RunFolder) -> None:
    write(run, metrics=[val(50, 0.61, 0.3, 1.0), val(100, 0.58, 0.25, 1.2)])
    first, second = outcome_of(run).targets
    assert (first.value, first.last, first.is_met) == (0.61, 0.58, True)
    assert (second.value, second.is_met) == (0.3, False)
    assert first.source == "validation of the run, step 50"
    text = render(outcome_of(run), picture=None)
    assert "| 61% (last: 58%) |" in re.sub(" +", " ", text)
    assert "**met**" in text
    assert "**missed**" in text


def test_no_value_of_training_stands_for_one_of_held_out_games(run: RunFolder) -> None:
    """Nor one of a naive model, nor of the mean of the weights."""
    fakes = {"val_change_acc": 0.99, "val_pos_mae": 0.01, "val_loss/total": 0.1}
    rows = [train(50, 1.0, change_acc=0.99, **fakes), {"kind": "naive", "step": 0, "model": "copy", **fakes}]
    write(run, metrics=[*rows, val(50, 0.99, 0.01, 0.1) | {"weights": "ema"}])
    assert [(target.value, target.is_met) for target in outcome_of(run).targets] == [(None, None)] * 2
    assert "**not measured**" in render(outcome_of(run), picture=None)


def test_a_value_that_is_no_number_meets_nothing(run: RunFolder) -> None:
    bad = val(100, 0.9, 0.1, 0.5) | {"val_change_acc": None, "val_loss/total": None}
    bad["non_finite"] = ["val_change_acc", "val_loss/total"]
    write(run, metrics=[val(50, 0.55, 0.3, 1.0), bad])
    assert outcome_of(run).targets[0].value == 0.55


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.62, 0.66, "**met**"), (0.58, 0.70, "**met**, within the interval")]
)
def test_evaluation_goes_before_validation(run: RunFolder, low: float, high: float, verdict: str) -> None:
    write(run, metrics=[val(50, 0.61, 0.3, 1.0)])
    run.report.mkdir()
    found = {"value": 0.64, "low": low, "high": high, "reason": None}
    result = {
        "data": {"held_out": True, "num_games": 19},
        "weights": {"step": 100, "ema": False},
        "teacher_forced": {"models": {"model": {"change_acc": found}}},
    }
    (run.report / "result.json").write_text(json.dumps(result))
    target = outcome_of(run).targets[0]
    assert (target.value, target.low, target.high, target.is_met) == (0.64, low, high, True)
    assert target.source == "evaluation, step 100, 19 held-out games"
    assert f"| {verdict} |" in re.sub(" +", " ", render(outcome_of(run), picture=None))
    result["data"] = {"held_out": False, "num_games": 19}  # judged on its training games: no result of it counts
    (run.report / "result.json").write_text(json.dumps(result))
    assert outcome_of(run).targets[0].value == 0.61


def test_cost_is_price_times_the_hours_of_all_lives(run: RunFolder) -> None:
    """Of the lives that the supervisor measured; $3.60 an hour are 0.1 cents a second."""
    lives = [
        STARTED,
        event("exited", 700, 40, lived_s=700.0), event("ended", 700, 40, reason="killed by SIGKILL"),
        event("resumed", 800, 30, num_steps=100, steps_per_epoch=50),
        event("ended", 1000, 100, reason="finished"), event("exited", 1001, 100, lived_s=300.0),
    ]  # fmt: skip
    pace = [{"kind": "pace", "step": 100, "step_ms": 1000.0, "elapsed_s": 100.0, "memory_gb": 3.25}]
    write(run, events=lives, pace=pace)
    outcome = outcome_of(run)
    assert (outcome.state, outcome.spent_s, outcome.memory_gb) == ("finished", 1000.0, 3.25)
    assert outcome.usd == pytest.approx(1.0)
    rows = {row.what: (row.estimated, row.actual) for row in outcome.compared}
    assert rows["a step"] == (0.5, 1.0)
    assert rows["an epoch, without validations"] == (25.0, 50.0)
    assert rows["the whole run"] == (60.0, 1000.0)
    assert rows["cost"] == (pytest.approx(0.06), pytest.approx(1.0))
    assert "**$1.00** at $3.60 an hour, of a budget of $5.00" in render(outcome, picture=None)


def test_an_end_before_the_last_step_is_not_compared_with_the_whole(run: RunFolder) -> None:
    write(run, events=[STARTED, event("ended", 100, 40, reason="deadline"), event("exited", 100, 40, lived_s=100.0)])
    rows = {row.what: (row.estimated, row.actual) for row in outcome_of(run).compared}
    assert rows["all up to where it ended"] == (30.0, 100.0)
    assert rows["the whole run"] == (60.0, None)
    assert rows["cost, up to where it ended"] == (pytest.approx(0.03), pytest.approx(0.1))


def test_lives_gaps_and_what_was_lost() -> None:
    found = lives_of(
        [
            STARTED, event("checkpoint", 20, 30, of_step=30),
            event("exited", 60, 42, lived_s=60.0), event("ended", 60, 42, reason="killed by SIGKILL"),
            event("restarted", 61, 42),
            event("exited", 65, 42, lived_s=4.0), event("ended", 65, 42, reason="exit code 1: ImportError: x"),
            event("resumed", 3665, 30, num_steps=100, steps_per_epoch=50),
            event("ended", 3700, 80, reason="SIGTERM"), event("exited", 3701, 80, lived_s=50.0),
            event("ended", 3701, 80, reason="rule: stale"),
        ]
    )  # fmt: skip
    assert found == [
        Life(began_at=at(10), ended_at=at(60), to_step=42, reason="killed by SIGKILL", lived_s=60.0),
        Life(ended_at=at(65), from_step=42, to_step=42, reason="exit code 1: ImportError: x", lived_s=4.0),
        Life(
            began_at=at(3665), ended_at=at(3701), from_step=30, to_step=80, reason="rule: stale", lived_s=50.0,
            gap_s=3600.0, lost_steps=12,
        ),
    ]  # fmt: skip


def test_a_life_that_never_began_and_one_that_vanished() -> None:
    assert lives_of([event("exited", 3, lived_s=3.0), event("ended", 3, reason="exit code 2: x")]) == [
        Life(ended_at=at(3), reason="exit code 2: x", lived_s=3.0)
    ]
    assert lives_of([event("vanished", 3), event("ended", 3, reason="vanished: never began")]) == [
        Life(ended_at=at(3), reason="vanished: never began")
    ]
    gone = [STARTED, event("vanished", 60, 9, lived_s=50.5), event("ended", 60, 9, reason="vanished: x")]
    assert [(life.lived_s, life.to_step) for life in lives_of(gone)] == [(50.5, 9)]
    gone += [event("relaunched", 90, 5), event("exited", 99, lived_s=9.0), event("ended", 99, reason="exit code 1: x")]
    assert [(life.lived_s, life.reason) for life in lives_of(gone)] == [(50.5, "vanished: x"), (9.0, "exit code 1: x")]
    again = lives_of([STARTED, event("resumed", 100, 5)])  # the machine died, nobody looked, somebody resumed
    assert [(life.reason, life.from_step) for life in again] == [(None, 0), (None, 5)]


def test_between_a_relaunch_and_its_first_word_no_end_stands(run: RunFolder) -> None:
    ended = [STARTED, event("ended", 60, 42, reason="SIGTERM")]
    for again in ("relaunched", "restarted", "resumed"):
        write(run, events=[*ended, event(again, 90, 30)])
        assert (outcome_of(run).state, outcome_of(run).ended_at) == ("not ended", None)
        assert render(outcome_of(run), picture=None).startswith("No end is written yet; `worldmodel status run` asks")


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([event("ended", 3610, 9, reason="x"), event("exited", 3610, 9, lived_s=30.0)], "jumped ahead by 3,570 s"),
        ([event("checkpoint", 7200, 5, of_step=5), event("ended", 60, 9, reason="x")], "was set back by 7,140 s"),
        ([event("ended", 60, 9, reason="x"), event("exited", 60, 9, lived_s=300.0)], None),  # it was loading for long
    ],
)
def test_a_clock_that_was_set(run: RunFolder, events: list[dict[str, Any]], told: str | None) -> None:
    write(run, events=[STARTED, *events])
    outcome = outcome_of(run)
    jumps = [line for line in outcome.deviations if "clock" in line]
    assert (told is None and not jumps) or (told is not None and told in jumps[0])
    assert outcome.spent_s < 301


def test_what_was_otherwise(run: RunFolder) -> None:
    told = json.loads(run.provenance.read_text())
    run.provenance.write_text(json.dumps(told | {"code": {"dirty": True}}))
    run.status.write_text(json.dumps({"phase": "ended", "reason": "x", "tracker": {"failures": 3, "message": "away"}}))
    more = [
        event("override", 1, 30, key="training.lr", old=0.1, new=0.2),
        event("moved", 1, 30, what="data", old="/a", new="/b"),
        event("rules", 1, 30, rules=["non_finite"]),
        event("damaged_checkpoint", 1, 30, problem="step-40: meta.json"),
        event("publish_failed", 1, 40, message="no volume"),
    ]
    write(run, events=[STARTED, *more])
    lines = "\n".join(outcome_of(run).deviations)
    for words in ("not committed", "training.lr: 0.1 -> 0.2, from step 30 on", "data: /a -> /b", "other kill rules",
                  "damaged checkpoint was left out: step-40", "publishing a checkpoint failed 1 times, last: no volume",
                  "the tracker has not got all of it, 3 failures (away)"):  # fmt: skip
        assert words in lines


def test_best_and_newest_checkpoint_with_their_hashes(run: RunFolder) -> None:
    write(run, metrics=[val(50, 0.6, 0.3, 1.0), val(100, 0.5, 0.3, 1.5)])
    best, newest = checkpoint(run, 50), checkpoint(run, 100)
    found = outcome_of(run).checkpoints
    assert [(one.what, one.step, one.sha256, one.total) for one in found] == [
        ("best", 50, best, 1.0), ("newest", 100, newest, 1.5)
    ]  # fmt: skip
    (run.all_checkpoints()[-1].path / "state.pt").write_bytes(b"damaged")
    found = outcome_of(run).checkpoints
    assert [(one.what, one.step, one.problem) for one in found] == [
        ("best", 50, None), ("newest", 100, "state.pt does not have its checksum"), ("newest", 50, None)
    ]  # fmt: skip
    assert "DAMAGED" in render(outcome_of(run), picture=None)


@pytest.mark.parametrize(
    ("reason", "more", "words"),
    [
        ("finished", [], "**Done:** every step"),
        ("deadline", [], "**Stopped by its time limit**"),
        ("SIGTERM", [event("stop_asked", who="fae with worldmodel stop")], "**Stopped by fae with worldmodel stop**"),
        ("rule: non_finite", [event("rule", label="non_finite", rule="non_finite", reason="step 3")],
         "**Stopped by the rule `non_finite`:** step 3"),
        ("SIGTERM", [], "**Stopped from outside** (SIGTERM)"),
        ("rule: below", [event("rule", label="below x 0.6", rule="below", reason="0.5")],
         "**Stopped by the rule `below`:** below x 0.6: 0.5"),
        ("killed by SIGKILL", [], "**Killed:** killed by SIGKILL"),
        ("OSError: [Errno 28] No space left on device: 'x'", [], "**Crashed, the disk was full:**"),
        ("non-finite loss", [event("non_finite", message="step 3: loss/total is nan")],
         "**Crashed, the loss was no number:** step 3: loss/total is nan"),
        ("vanished: process 3 is gone without a word", [], "**Vanished:** process 3 is gone without a word"),
        ("exit code 1: RuntimeError: a `b`", [], "**Crashed:** `exit code 1: RuntimeError: a 'b'`"),
    ],
)  # fmt: skip
def test_the_end_in_words(run: RunFolder, reason: str, more: list[dict[str, Any]], words: str) -> None:
    write(run, events=[STARTED, *more, event("ended", 20, 9, reason=reason)])
    assert end_words(outcome_of(run)).startswith(words)


def test_what_is_closed_twice_is_written_once(run: RunFolder, tmp_path: Path) -> None:
    card = tmp_path / "cards/run.md"
    write(run, events=[STARTED, event("ended", 20, 9, reason="finished")], metrics=[train(5, 2.0), val(9, 0.6, 0.1, 1)])
    assert {path.name for path in close(run, card=card).written} == {"closeout.json", "run.curves.svg", "run.md"}
    before = {path: path.read_bytes() for path in (card, run.closeout, picture_path(card))}
    assert close(run, card=card).written == []
    assert is_current(run)
    assert before == {path: path.read_bytes() for path in before}
    assert "Prose of ours." in card.read_text()
    with run.metrics.open("a") as file:
        file.write(json.dumps(train(10, 1.0)) + "\n")
    assert not is_current(run)
    ElementTree.fromstring(picture_path(card).read_text())  # well formed


def test_a_run_without_a_card(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, experiment="x", name="run")
    with pytest.raises(WrongUse, match="was launched by no card"):
        close(run)


def test_damaged_rows_are_no_reason_not_to_close(run: RunFolder, tmp_path: Path) -> None:
    write(run, events=[STARTED, event("ended", 20, 9, reason="finished")])
    run.metrics.write_text('{"kind": "val", "st\n{"kind"')
    run.pace.write_text("\x00\x00\n")
    run.provenance.write_text("{")
    assert close(run, card=tmp_path / "cards/run.md").outcome.state == "finished"
