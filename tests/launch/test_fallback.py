"""A card's fallback: launched once, only by a rule that asks for it, and what became of it is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from carded import give_card, write_card

from worldmodel.errors import WrongUse
from worldmodel.launch.base import Order, train_commands
from worldmodel.launch.closeout import close
from worldmodel.launch.fallback import is_due, launch_fallback
from worldmodel.launch.start import launch
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking.jsonl import JsonlWriter

RULE = {"event": "rule", "rule": "above", "label": "above x 1", "reason": "2", "fallback": True}
ENDED = {"event": "ended", "reason": "rule: above"}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path / "runs", experiment="x", name="run")
    give_card(folder, write_card(tmp_path / "cards", more="fallback: {card: plan-b}\n"))
    return folder


def write(run: RunFolder, *rows: dict[str, Any]) -> None:
    at = {"at": "2026-11-23T00:00:00.000+00:00", "step": 3}
    run.events.write_text("".join(json.dumps(at | row) + "\n" for row in ({"event": "started", "num_steps": 9}, *rows)))


@pytest.mark.parametrize(
    ("rows", "due"),
    [
        ([RULE, ENDED], "plan-b"),
        ([RULE, {"event": "ended", "reason": "SIGTERM"}, {"event": "exited"}, ENDED], "plan-b"),
        ([RULE | {"fallback": False}, ENDED], None),
        ([RULE, ENDED | {"reason": "rule: other"}], None),
        ([RULE, {"event": "ended", "reason": "finished"}], None),
        ([RULE, ENDED, {"event": "resumed"}, {"event": "ended", "reason": "finished"}], None),
        ([RULE, ENDED, {"event": "fallback", "card": "plan-b", "message": "x"}], None),  # once
        ([], None),
    ],
)
def test_when_it_is_due(run: RunFolder, rows: list[dict[str, Any]], due: str | None) -> None:
    write(run, *rows)
    assert is_due(run) == due


def test_a_card_without_one(run: RunFolder, tmp_path: Path) -> None:
    write(run, RULE, ENDED)
    give_card(run, write_card(tmp_path / "others"))
    assert is_due(run) is None


@pytest.mark.slow
def test_one_that_may_not_be_launched_is_told_and_not_tried_again(run: RunFolder, tmp_path: Path) -> None:
    """Its card is not there: what `card launch` says of that stands on the first card."""
    write(run, RULE, ENDED)
    card = tmp_path / "cards/run.md"
    order = Order(first=[], again=[], cwd=str(tmp_path), card=str(card))
    said: list[str] = []

    def tell(event: str, **more: Any) -> None:
        with JsonlWriter(run.events) as events:
            events.write({"event": event, "at": "2026-11-23T00:00:01.000+00:00", "step": 3, **more})

    assert launch_fallback(run, order, tell=tell, say=said.append)
    assert not launch_fallback(run, order, tell=tell, say=said.append)
    assert [line.partition("FALLBACK: ")[2][:20] for line in said] == ["launching card plan-", "plan-b was NOT launc"]
    close(run, card=card)
    assert "**Fallback:** plan-b was NOT launched, or ended at its start: no card 'plan-b'" in card.read_text()


def test_nobody_was_there_to_launch_it(run: RunFolder, tmp_path: Path) -> None:
    write(run, RULE, ENDED)
    close(run, card=tmp_path / "cards/run.md")
    text = (tmp_path / "cards/run.md").read_text()
    assert "plan-b was NOT launched: nobody was there; worldmodel card launch plan-b" in text


def test_a_team_is_begun_and_resumed_by_its_own_door(run: RunFolder) -> None:
    for command in train_commands(run, ["tiny"], later=[], processes=2):
        assert command[1:5] == ["-m", "worldmodel.launch.team", "2", "--"]
        assert "train" in command


def test_a_team_far_away_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="2 devices on modal"):
        launch(["tiny"], stem="x", runs=tmp_path, backend="modal", processes=2)
    assert not list(tmp_path.iterdir())
