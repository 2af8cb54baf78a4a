"""What a run reached, on its card: `card close` writes it, `card check` knows when it is not so any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mission import NewCard, WriteRun

from worldmodel.cards.check import check
from worldmodel.cards.view import Places, View
from worldmodel.cli import main
from worldmodel.launch.closeout import read_closed
from worldmodel.launch.results import BLOCK
from worldmodel.runs.card import CardFile
from worldmodel.runs.folder import RunFolder

TARGETS = [{"metric": "val_change_acc", "better": "higher", "baseline": 0.5, "baseline_from": "x", "target": 0.55}]
ENDED = {"event": "ended", "at": "2026-01-01T01:00:00+00:00", "step": 10, "reason": "finished"}


@pytest.fixture
def closed(card: NewCard, write_run: WriteRun, places: Places, capsys: pytest.CaptureFixture[str]) -> View:
    """A card whose run was begun by hand, under the card's name, and closed by hand."""
    view = card(targets=TARGETS)
    write_run("night", events=(ENDED,))
    assert main(["card", "close", "night", "--cards", str(places.cards), "--runs", str(places.runs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["state"], told["targets"][0]["is_met"]) == ("finished", True)
    assert {Path(path).name for path in told["written"]} == {"night.md", "night.curves.svg", "closeout.json"}
    return view


def test_the_results_stand_on_the_card_and_void_no_signature(closed: View) -> None:
    file = CardFile.read(closed.file.path)
    assert file.document.block(BLOCK).startswith("**Done:** every step")
    assert file.document.text.startswith(closed.file.document.text), "everything else is as it was"
    assert file.card == closed.file.card


def test_a_card_with_results_is_in_order(closed: View, places: Places) -> None:
    report = check(CardFile.read(closed.file.path), places)
    assert report.stale == {}
    assert not [problem for problem in report.problems if "baseline" not in problem]


def test_results_that_somebody_improved_are_stale(
    closed: View, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    path = closed.file.path
    honest = path.read_text()
    path.write_text(honest.replace("| 60% ", "| 99% "))
    report = check(CardFile.read(path), places)
    assert list(report.stale) == [BLOCK]
    assert any("99%" in line for line in report.stale[BLOCK])
    main(["card", "check", "night", "--write", "--cards", str(places.cards), "--runs", str(places.runs)])
    assert path.read_text() == honest


def test_it_is_shown_and_the_ledger_has_the_same_hours(
    closed: View, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--cards", str(places.cards), "--runs", str(places.runs)]
    assert main(["card", "show", "night", *folders]) == 0
    assert "Done: every step; val_change_acc met" in capsys.readouterr().out
    entry, outcome = places.ledger().get("night"), read_closed(RunFolder(places.runs / "night"))
    assert entry is not None
    assert outcome is not None
    assert (entry.ended, entry.spent_s) == ("finished", outcome.spent_s)


def test_no_run_of_that_name(card: NewCard, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    card()
    assert main(["card", "close", "night", "--cards", str(places.cards), "--runs", str(places.runs)]) == 2
    assert "no run 'night'" in capsys.readouterr().err
