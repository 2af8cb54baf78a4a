"""A new card is in order; what is changed behind its back is found, with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mission import NewCard, WriteRun

from worldmodel.cards.check import Report, check
from worldmodel.cards.new import Wishes, new_card, rendered
from worldmodel.cards.tables import TABLES
from worldmodel.cards.view import Places, View, view_of
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile, new_review
from worldmodel.runs.document import Document

TARGET = {"metric": "val_change_acc", "better": "higher", "baseline": 0.6, "baseline_from": "before", "target": 0.7}


def checked(view: View, old: str = "", new: str = "") -> Report:
    """The report on a card after a change of its text."""
    text = view.file.path.read_text()
    assert old in text
    return check(CardFile.of(Document.parse(text.replace(old, new, 1), view.file.path)), view.places)


def test_a_new_card_is_in_order(card: NewCard) -> None:
    view = card()
    assert list(view.file.document.blocks) == list(TABLES)
    assert checked(view).is_good
    data = view.file.document.block("data")
    assert re.search(r"\| Games +\| 40 ", data)
    assert re.search(r"\| Total frames +\| 80,000 ", data)
    assert f"{view.facts.num_parameters:,}" in view.file.document.block("model")
    assert "not measured yet" in view.file.document.block("timing").lower()


def test_prose_is_nobodys_business(card: NewCard) -> None:
    view = card()
    text = view.file.path.read_text() + "\nMore prose.\n"
    text = text.replace("## Notes", "<!-- a comment -->\n\n| a | table |\n|---|---|\n\n## Our notes")
    view.file.path.write_text(text)
    assert checked(view).is_good
    file = CardFile.read(view.file.path)
    assert rendered(view_of(file, view.places)).text == text


def test_a_stale_table_is_shown_line_by_line(card: NewCard) -> None:
    view = card()
    report = checked(view, "overrides: []", "overrides: [training.batch_size=16]")
    assert not report.problems
    lines = report.stale["training"]
    assert any(line.startswith("- | Batch size") and " 8 " in line for line in lines)
    assert any(line.startswith("+ | Batch size") and "**16** (override, the config has 8)" in line for line in lines)
    assert "logging" in report.stale
    assert "data" not in report.stale


def test_a_number_typed_into_a_table_is_stale(card: NewCard) -> None:
    report = checked(card(), "80,000", "90,000")
    assert [line[:2] for line in report.stale["data"]] == ["- ", "+ "]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("22" * 32, "33" * 32, r"night\.md:\d+:\d+: the dataset at .* has content 2222222222222222"),
        ("path: ", "path: /none", r"night\.md:6:1: no dataset at /none.*--data"),
        ("config: tiny", "config: tinny", r"no experiment 'tinny'.*did you mean 'tiny'"),
        ("overrides: []", "overrides: [training.bacth_size=1]", r"override 'training\.bacth_size=1'.*batch_size"),
        ("{rule: non_finite}", "{rule: above, metric: loss/totl, threshold: 1}", r"night\.md:9:\d+: .*'loss/total'"),
        ("{rule: non_finite}", "{rule: non_finite, fallback: true}", r"night\.md:9:\d+: .*the card has none"),
        ("{rule: non_finite}", "{rule: over_budget}", r"night\.md:9:\d+: over_budget without a budget"),
        ("baselines: []", "baselines: [x]", r"night\.md:\d+:\d+: no run 'x' in the ledger"),
        ("watched_by: []", "fallback: {card: other}", r"night\.md:\d+:1: no card 'other'"),
    ],
)
def test_what_is_wrong_has_its_place(card: NewCard, old: str, new: str, problem: str) -> None:
    report = checked(card(), old, new)
    assert any(re.search(problem, found) for found in report.problems), report.problems


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"metric": "val_chage_acc"}, "no held-out metric 'val_chage_acc'; did you mean 'val_change_acc'"),
        ({"metric": "loss/total", "better": "lower", "target": 0.1}, "no held-out metric 'loss/total'"),
        ({"metric": "val_exact", "better": "lower", "target": 0.1}, "val_exact is better when higher"),
        ({"baseline": None}, "without a baseline"),
        ({"baseline_from": None}, "without a source"),
        ({"baseline": 0.65}, "baseline 0.65 of val_change_acc, but before reached 0.6"),
    ],
)
def test_targets(card: NewCard, write_run: WriteRun, change: dict[str, object], problem: str) -> None:
    write_run("before")
    target = {key: value for key, value in (TARGET | change).items() if value is not None}
    report = checked(card(targets=[target]))
    assert len(report.problems) == 1
    assert problem in report.problems[0]
    assert "night.md:" in report.problems[0]
    assert checked(card(name="good", targets=[TARGET])).is_good


def test_several_problems_are_all_said(card: NewCard) -> None:
    text = card().file.path.read_text().replace("baselines: []", "baselines: [x, y]").replace("80,000", "1")
    report = check(CardFile.of(Document.parse(text, Path("night.md"))), card(name="other").places)
    assert len(report.problems) == 2
    assert list(report.stale) == ["data", "prior-runs"]


def test_a_training_beside_it_does_not_make_a_card_stale(card: NewCard, write_run: WriteRun, places: Places) -> None:
    run = write_run("before")
    view = card(baselines=["before"])
    cell = "run folder before, has not ended"
    assert cell in view.file.document.block("prior-runs")
    later = {"kind": "val", "step": 20, "epoch": 2.0, "weights": "raw", "val_pos_mae": 0.1}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(later) + "\n")
    assert check(CardFile.of(Document.parse(view.file.path.read_text(), view.file.path)), places).is_good
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "ended", "step": 20, "reason": "finished"}) + "\n")
    report = check(CardFile.of(Document.parse(view.file.path.read_text(), view.file.path)), places)
    assert list(report.stale) == ["prior-runs"], "its result is news"


def test_an_unknown_table(card: NewCard) -> None:
    view = card()
    text = view.file.path.read_text().replace("worldmodel:model -->", "worldmodel:modell -->")
    report = check(CardFile.of(Document.parse(text, view.file.path)), view.places)
    assert len(report.problems) == 1
    assert "no table 'modell'; did you mean 'model'" in report.problems[0]


def test_two_cards_never_share_a_name(card: NewCard, places: Places, small_dataset: Path) -> None:
    card()
    before = (places.cards / "night.md").read_text()
    with pytest.raises(WrongUse, match=r"night\.md exists"):
        card()
    assert (places.cards / "night.md").read_text() == before
    names = [new_card("tiny", small_dataset, places).file.card.run for _ in range(3)]
    assert names == ["tiny-1", "tiny-2", "tiny-3"]


def test_nothing_is_written_for_a_wrong_wish(places: Places, small_dataset: Path, tmp_path: Path) -> None:
    for config, data, overrides in (
        ("tinny", small_dataset, ()),
        ("tiny", tmp_path / "none", ()),
        ("tiny", small_dataset, ("training.lrr=1",)),
    ):
        with pytest.raises(WrongUse):
            new_card(config, data, places, overrides=overrides, wishes=Wishes(name="a"))
    assert not places.cards.exists()


def test_the_interval_of_checkpoints_is_the_cards(card: NewCard) -> None:
    view = card()
    assert "training.checkpoint_every_min" not in view.file.document.block("training")
    report = checked(view, "every_min: 10.0", "every_min: 3")
    assert report.view is not None
    assert report.view.experiment.training.checkpoint_every_min == 3
    assert any("training.checkpoint_every_min=3" in line for line in report.stale["training"])


def test_a_review_is_void_after_any_change_but_of_prose(card: NewCard) -> None:
    view = card()
    review = new_review(by="Fae", verdict="approve", comment="", hash=view.hash)
    view.file.with_review(review).document.write()
    path = view.file.path
    assert view_of(CardFile.read(path), view.places).sign_off.state == "approved"
    assert checked(view).is_good, "a review makes no table stale"
    for old, new, state in (
        ("What do we bet on", "We bet on nothing", "approved"),
        ("minutes: 10", "minutes: 11", "missing"),
        ("overrides: []", "overrides: [training.lr=1e-3]", "missing"),
        ("goal: '", "goal: 'no ", "missing"),
    ):
        text = path.read_text()
        assert old in text
        file = CardFile.of(Document.parse(text.replace(old, new), path))
        assert view_of(file, view.places).sign_off.state == state, new


def test_an_estimate_of_the_same_model_on_the_same_device(card: NewCard, write_run: WriteRun) -> None:
    write_run("wider", "model.d_model=256", step_ms=900.0)
    assert card(name="a").file.card.estimate is None
    write_run("same", step_ms=250.0)
    estimate = card(name="b").file.card.estimate
    assert estimate is not None
    assert (estimate.batch_s, estimate.measured, estimate.source) == (0.25, True, "run same, its pace")
