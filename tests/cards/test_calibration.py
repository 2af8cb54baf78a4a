"""Estimate against actual: which plan a run had, for the steps that it did, once for each end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from measured import CPU, plan_for
from mission import NewCard, WriteRun
from rich.console import Console

from worldmodel.cards.calibration import outcome_of_run, plan_of, settle, usd_per_hour_of
from worldmodel.cards.plan_show import calibration, summary
from worldmodel.cards.plans import Plan, add, read_plans
from worldmodel.cards.timing import Course
from worldmodel.cards.view import Places, View
from worldmodel.launch.outcome import outcome_of
from worldmodel.runs.card import CardFile
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.planned import FILE, Told
from worldmodel.runs.prices import Price, Prices
from worldmodel.runs.status import write_end

AT = "2026-02-01T00:00:00+00:00"
TOLD = Told(num_steps=316, raw_s=1, total_s=332.0, low_s=1, high_s=1, epoch_s=1, step_s=1.05, start_s=16.0)


@pytest.fixture
def ended(places: Places, write_run: WriteRun) -> Any:
    """A run of "tiny" with 79 steps in an epoch that has done some in so many seconds each."""

    def make(name: str, *overrides: str, step_s: float = 2.0, steps: int = 158, at: str = AT, **more: Any) -> Path:
        run = write_run(name, *overrides, started_at=at, values={})
        told = json.loads((run / "run.json").read_text())
        told["machine"] = {"gpu": None, "num_cpus": 2, "device": "cpu"} | more
        (run / "run.json").write_text(json.dumps(told))
        began = {"event": "started", "step": 0, "num_steps": 316, "steps_per_epoch": 79, "at": at}
        kept = {"event": "checkpoint", "step": 79, "of_step": 79, "seconds": 2.0, "stalled_s": 1.5}
        over = {"event": "ended", "step": steps, "reason": "SIGTERM", "at": at}
        pace = [
            {"kind": "pace", "step": step, "step_ms": 1000 * step_s, "elapsed_s": step_s * steps / 2, "memory_gb": 1.8}
            for step in (steps // 2, steps)
        ]
        for file, rows in (("events", [began, kept, over]), ("pace", pace)):
            (run / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run

    return make


def keep(view: View, **changes: Any) -> Plan:
    plan = plan_for(view, at="2026-01-31T23:59:00.500+00:00", **changes)
    add(view.places.cards / FILE, [plan])
    return plan


def test_a_run_that_was_stopped_is_compared_with_what_it_did(card: NewCard, places: Places, ended: Any) -> None:
    view = card()
    plan = keep(view)
    ended("night", "training.epochs=4")
    (found,) = settle(places.cards, places.runs).outcomes
    assert plan.speeds is not None
    course = Course(view.experiment, 79, 316, 158)
    assert found.total_s.estimate == course.total_s(plan.speeds)
    assert found.total_s.actual == 316.0, "two seconds for each of 158 steps"
    assert found.epoch_s.actual == 158.0
    assert found.epoch_s.estimate == pytest.approx((158 * 1 + 4 * 10 + 3 * 0.5) / 2)
    assert found.memory is not None
    assert found.memory.ratio == pytest.approx(2.0)
    assert found.stall_s is not None
    assert found.stall_s.ratio == 3.0
    assert (found.run, found.plan, found.ended, found.step) == ("night", plan.id, "SIGTERM", 158)
    assert settle(places.cards, places.runs).outcomes == (found,), "once"
    assert len((places.cards / FILE).read_text().splitlines()) == 2


def test_it_outlives_the_run_and_follows_it(card: NewCard, places: Places, ended: Any) -> None:
    keep(card())
    run = ended("night")
    settle(places.cards, places.runs)
    pace = (run / "pace.jsonl").read_text()
    (run / "pace.jsonl").write_text(pace + pace.splitlines()[-1].replace("158", "316") + "\n")
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "resumed", "step": 158, "num_steps": 316, "steps_per_epoch": 79}) + "\n")
        file.write(json.dumps({"event": "ended", "step": 316, "reason": "finished"}) + "\n")
    (found,) = settle(places.cards, places.runs).outcomes
    assert (found.step, found.ended) == (316, "finished")
    for path in sorted(run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run.rmdir()
    assert settle(places.cards, places.runs).outcomes == (found,)


def test_a_run_that_goes_on_has_no_outcome(card: NewCard, places: Places, ended: Any) -> None:
    keep(card())
    run = ended("night")
    lines = (run / "events.jsonl").read_text().splitlines()[:-1]
    (run / "events.jsonl").write_text("\n".join(lines) + "\n")
    write_end(RunFolder(run), "vanished")
    (found,) = settle(places.cards, places.runs).outcomes
    assert found.ended == "vanished", "nobody wrote it an end, and its process is gone"


@pytest.mark.parametrize(
    "stranger",
    [
        {"overrides": ("training.batch_size=64",)},
        {"at": "2026-01-31T23:58:00+00:00"},
        {"gpu": "NVIDIA H100 80GB HBM3"},
        {"num_cpus": 64},
    ],
)
def test_a_run_without_a_plan_has_none(card: NewCard, places: Places, ended: Any, stranger: dict[str, Any]) -> None:
    """Other work, begun before the plan, another machine."""
    keep(card())
    ended("night", *stranger.pop("overrides", ()), **stranger)
    assert settle(places.cards, places.runs).outcomes == ()


def test_the_newest_plan_before_it_began(card: NewCard, places: Places, ended: Any) -> None:
    view = card()
    older, newer, later = (
        plan_for(view, at=f"2026-01-{day}T00:00:00.000+00:00") for day in ("10", "20", "30")
    )  # fmt: skip
    add(places.cards / FILE, [newer, later, older])
    ended("night", at="2026-01-25T00:00:00+00:00")
    (entry,) = places.ledger().entries
    assert plan_of(entry, read_plans(places.cards / FILE)) == newer


def test_what_it_cost(card: NewCard, places: Places, ended: Any) -> None:
    a100 = CPU.model_copy(update={"device": "cuda", "gpu": "NVIDIA A100-SXM4-40GB"})
    keep(card(backend={"name": "local", "gpu": "A100-40GB"}), machine=a100)
    run = ended("night", gpu="NVIDIA A100-SXM4-40GB")
    found = outcome_of_run(RunFolder(run), places.cards, ended="SIGTERM")
    assert found is not None
    assert found.usd is not None
    assert found.usd.actual == pytest.approx(316 / 3600 * 2.78), "by the price of the day"
    prices = Prices((Price(gpu="L4", usd_per_hour=1.0, as_of="2026-01-01", source="x"),))
    assert usd_per_hour_of("NVIDIA L4", prices, AT) == 1.0
    assert usd_per_hour_of("NVIDIA L40", prices, AT) is None
    assert usd_per_hour_of(None, prices, AT) is None


def test_the_close_out_compares_with_the_plan(card: NewCard, places: Places, ended: Any) -> None:
    view = card(estimate={"batch_s": 70.0, "source": "x"})
    keep(view, told=TOLD)
    run = ended("night")
    rows = {row.what: row for row in outcome_of(RunFolder(run), card=view.file.card, cards=places.cards).compared}
    assert rows["a step"].estimated == 1.05
    assert rows["all up to where it ended"].estimated == 16 + 316 / 2
    assert rows["the whole run"].estimated == 332
    (places.cards / FILE).unlink()
    rows = {row.what: row for row in outcome_of(RunFolder(run), card=view.file.card, cards=places.cards).compared}
    assert rows["a step"].estimated == 70.0, "without a plan the card's own"


def test_how_it_looks(card: NewCard, places: Places, ended: Any) -> None:
    keep(card())
    console = Console(width=200, record=True, file=io.StringIO())
    calibration(settle(places.cards, places.runs), console)
    assert "no run with a plan has ended" in console.export_text(clear=False)
    ended("night")
    calibration(settle(places.cards, places.runs), console)
    text = console.export_text()
    assert "158 (50%)" in text
    assert "2.00x" in text, "of memory"
    assert "SIGTERM" in text
    assert summary(()) == "no run with a plan has ended: plans go by the factor of their cards"
    assert CardFile.read(places.cards / "night.md").card.run == "night"
