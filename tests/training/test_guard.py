"""A rule that fires saves, says why, and ends the run; a healthy run does not notice its rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_book import FakeValidation, events, make_plan, make_state, run, step
from tiny_experiment import make_experiment

from worldmodel.dataset.store import Dataset
from worldmodel.errors import StoppedByRule, WrongUse
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import Rulebook
from worldmodel.runs.status import Beat, read_status
from worldmodel.tracking import jsonl
from worldmodel.training.book import NAMES, open_book
from worldmodel.training.guard import Guard, check_rules, is_out_of_memory
from worldmodel.training.loop import FINISHED, train
from worldmodel.training.meter import NonFinite
from worldmodel.training.stop import StopRequest
from worldmodel.training.team import Team

assert run  # a fixture


def rules(*kill: dict[str, Any], **more: Any) -> Rulebook:
    return Rulebook.model_validate({"kill": list(kill), **more})


LOSS_OVER_10 = {"rule": "above", "metric": "loss/total", "threshold": 10.0}


def test_a_rule_ends_a_run_where_its_rows_are_written(run: RunFolder) -> None:
    """Step i has loss i; rows of 5 steps are fetched every 5 steps; the first row over 10 is that of steps 11 to 15."""
    plan = make_plan(log_every_s=1e-9)
    guard = Guard(rules({"rule": "stale"}, LOSS_OVER_10))
    with open_book(run, plan, make_state(plan), print, guard=guard) as book:
        reasons = []
        while not any(reasons):
            step(book)
            reasons.append(book.after_step(StopRequest()))
        book.end(str(reasons[-1]))
    assert (reasons[-1], book.state.step) == ("rule: above", 15)
    found = next(row for row in jsonl.read(run.events).rows if row["event"] == "rule")
    assert (found["at_step"], found["value"], found["label"]) == (15, 12.0, "above loss/total 10")
    assert events(run)[-3:] == ["rule", "checkpoint", "ended"]
    assert run.newest_checkpoint()[0].step == 15
    assert "loss/total is 12, above 10" in book.why


def test_a_validation_is_judged_after_its_step(run: RunFolder) -> None:
    plan = make_plan(FakeValidation([{"raw": 0.5}, {"raw": 0.9}]))
    guard = Guard(rules({"rule": "above", "metric": "val_loss/total", "threshold": 0.8}))
    with open_book(run, plan, make_state(plan), print, guard=guard) as book:
        for _ in range(100):
            step(book)
            if plan.validates_after(book.state.step):
                book.validate()
            reason = book.after_step(StopRequest(), may_save=book.state.step % 3 == 0)
            assert reason is None
        step(book)
        assert book.after_step(StopRequest(), may_save=False) is None  # amid a window of carried state it waits
        assert book.after_step(StopRequest()) == "rule: above"


def test_a_resumed_run_is_judged_by_its_whole_record(run: RunFolder) -> None:
    plan = make_plan(log_every_s=1e-9)
    state = make_state(plan)
    with open_book(run, plan, state, print) as book:
        for _ in range(20):
            step(book)
            assert book.after_step(StopRequest()) is None  # no rules
        book.save("stop")
    with open_book(run, plan, state, print, guard=Guard(rules(LOSS_OVER_10))) as book:
        step(book)
        assert book.after_step(StopRequest()) == "rule: above"


@pytest.mark.parametrize("has_rule", [False, True])
def test_a_loss_that_is_no_number(run: RunFolder, has_rule: bool) -> None:
    plan = make_plan()
    beat = Beat(run)
    kill = [{"rule": "non_finite", "fallback": True}] if has_rule else []
    with (  # noqa: PT012
        pytest.raises(StoppedByRule if has_rule else NonFinite),
        open_book(run, plan, make_state(plan), print, guard=Guard(rules(*kill)), beat=beat) as book,
    ):
        step(book, bad=True)
        book.save("time")
    expected = ["rule", "ended"] if has_rule else ["ended"]
    assert events(run)[2:] == ["non_finite", *expected]
    reason = "rule: non_finite" if has_rule else "non-finite loss"
    assert jsonl.read(run.events).rows[-1]["reason"] == beat.content()["reason"] == reason
    assert not run.all_checkpoints()


@pytest.mark.parametrize("has_rule", [False, True])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory.\nmore"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_no_memory_left(run: RunFolder, has_rule: bool, error: RuntimeError) -> None:
    plan = make_plan()
    guard = Guard(rules({"rule": "out_of_memory"})) if has_rule else None
    with pytest.raises(RuntimeError if not has_rule else StoppedByRule) as raised:  # noqa: SIM117
        with open_book(run, plan, make_state(plan), print, guard=guard):
            raise error
    rows = jsonl.read(run.events).rows
    assert "out_of_memory" in [row["event"] for row in rows]
    assert rows[-1]["reason"] == ("rule: out_of_memory" if has_rule else f"{type(error).__name__}: {error}")
    assert raised.value is error or raised.value.__cause__ is error
    assert not is_out_of_memory(RuntimeError("other"))


def test_the_team_agrees_on_the_leads_verdict(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no record hears of the rule from the lead, and leaves at the same step."""
    votes = []

    def agree(self: Team, *wishes: int) -> tuple[int, ...]:
        votes.append(wishes)
        return (1,) if len(wishes) == 1 else wishes

    monkeypatch.setattr(Team, "agree", agree)
    monkeypatch.setattr(Team, "sum_on_host", lambda self, tensor: tensor)
    plan = make_plan(log_every_s=1e-9)
    follower = Team(rank=1, world=2)
    with open_book(run, plan, make_state(plan), print, team=follower, guard=Guard(rules(LOSS_OVER_10))) as book:
        step(book)
        assert book.after_step(StopRequest()) == "rule: above"
    assert votes[-1] == (0,)
    assert not run.events.exists()


def test_rules_that_would_wait_for_ever_are_refused() -> None:
    with pytest.raises(WrongUse, match="val_windows is 0"):
        check_rules(rules({"rule": "below", "metric": "val_change_acc", "threshold": 1}), make_plan(), NAMES, print)
    plan = make_plan(FakeValidation([]))
    with pytest.raises(WrongUse, match="did you mean 'val_change_acc'"):
        check_rules(rules({"rule": "below", "metric": "val_chnge_acc", "threshold": 1}), plan, NAMES, print)
    ema = {"rule": "below", "metric": "val_change_acc", "threshold": 1, "weights": "ema"}
    with pytest.raises(WrongUse, match=r"without training\.ema"):
        check_rules(rules(ema), plan, NAMES, print)
    said: list[str] = []
    check_rules(rules({"rule": "not_decreasing", "metric": "val_loss/total"}), plan, NAMES, said.append)
    assert "not before epoch 2" in said[0]


def test_a_run_with_rules_is_the_run_without(dataset: Dataset, tmp_path: Path) -> None:
    """Byte for byte, as long as none fires; then it stops, saved, and its metrics are a beginning of the others."""
    experiment = make_experiment()
    harmless = rules(
        {"rule": "non_finite"}, {"rule": "out_of_memory"}, {"rule": "not_decreasing", "after_epochs": 0.5},
        {"rule": "above", "metric": "loss/total", "threshold": 1e6}, {"rule": "epoch_longer_than", "hours": 9},
        {"rule": "over_budget", "usd": 5, "usd_per_hour": 2}, {"rule": "stale"},
        {"rule": "below", "metric": "val_change_acc", "threshold": 0.0},
    )  # fmt: skip
    fires = rules({"rule": "above", "metric": "val_loss/total", "threshold": 0.01})
    found = {}
    for name, book, prove in (("bare", None, False), ("ruled", harmless, True), ("stopped", fires, False)):
        folder = RunFolder.create(tmp_path, experiment="test", name=name)
        found[name] = (folder, train(experiment, dataset, folder, rules=book, prove=prove))
    bare, ruled, stopped = (folder for folder, _ in found.values())
    assert ruled.metrics.read_bytes() == bare.metrics.read_bytes()
    assert ruled.newest_checkpoint()[0].weights.read_bytes() == bare.newest_checkpoint()[0].weights.read_bytes()
    assert [row["what"] for row in jsonl.read(ruled.events).rows if row["event"] == "proved"] == [
        "validation",
        "checkpoint",
    ]
    status = read_status(ruled)
    assert status is not None
    assert (status["phase"], status["reason"], status["step"]) == ("ended", FINISHED, found["bare"][1].step)
    assert [rule["state"] for rule in status["rules"]][-2:] == ["waiting", "ok"]
    result = found["stopped"][1]
    assert (result.reason, result.step) == ("rule: above", result.num_steps // 2)
    assert bare.metrics.read_bytes().startswith(stopped.metrics.read_bytes())
    status = read_status(stopped)
    assert status is not None
    assert status["reason"] == "rule: above"
    assert status["last_checkpoint"]["step"] == result.step
