"""Nothing is launched that is not in order and signed as it is; what is launched runs under the card's rules."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mission import NewCard

from worldmodel.cards.gate import permit, rules_of
from worldmodel.cards.view import Places, View, view_of
from worldmodel.cli import main
from worldmodel.dataset.ingest import ingest
from worldmodel.errors import WrongUse
from worldmodel.launch.board import look
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate
from worldmodel.runs.card import CardFile, new_review
from worldmodel.runs.document import Document
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import read_rules

PRICED = {
    "backend": {"name": "local", "usd_per_hour": 2.0},
    "estimate": {"batch_s": 1.0, "source": "x"},  # 316 steps: $0.18, pessimistically $0.88
}


def signed(view: View, verdict: str = "approve") -> View:
    review = new_review(by="Fae", verdict=verdict, comment="because", hash=view.hash)  # type: ignore[arg-type]
    return view_of(view.file.with_review(review), view.places)


def test_a_signed_card_may_be_launched(card: NewCard) -> None:
    permit(signed(card()))


@pytest.mark.parametrize(
    ("reviewers", "front", "reason"),
    [
        ({}, {}, "no approval of anybody"),
        ({"needed": False, "cost_limit_usd": 1.0}, {}, "no estimate, or no price"),
        ({"needed": False, "cost_limit_usd": 0.5}, PRICED, r"pessimistically \$0\.88; without a review it is \$0\.5"),
        ({"needed": False, "cost_limit_usd": 1.0}, PRICED, None),
    ],
)
def test_unsigned(card: NewCard, reviewers: dict[str, Any], front: dict[str, Any], reason: str | None) -> None:
    view = card(reviewers=reviewers, **front)
    if reason is None:
        permit(view)
        return
    with pytest.raises(WrongUse, match=reason):
        permit(view)


def test_blocked_changed_and_stale_cards_are_refused(card: NewCard) -> None:
    view = card()
    with pytest.raises(WrongUse, match="blocked by Fae: because"):
        permit(signed(view, "block"))
    text = signed(view).file.document.text
    for old, new, reason in (
        ("goal: '", "goal: 'no ", "VOID, the card has changed since: approve by Fae"),
        ("80,000", "90,000", "table data is stale"),
        ("watched_by: []", "watched_by: []\nfallback: {card: x}", "no card 'x'"),
    ):
        file = CardFile.of(Document.parse(text.replace(old, new, 1), view.file.path))
        with pytest.raises(WrongUse, match=reason):
            permit(view_of(file, view.places))


def test_the_rules_are_the_cards(card: NewCard) -> None:
    view = card(budget={"usd": 3.0}, kill=[{"rule": "over_budget"}, {"rule": "non_finite"}], **PRICED)
    book = rules_of(view)
    assert [rule.rule for rule in book.kill] == ["over_budget", "non_finite"]
    assert (book.usd, book.usd_per_hour) == (3.0, 2.0)


@pytest.mark.slow
def test_a_card_is_launched_and_runs_to_its_end(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in generate(24, 1, rules=Rules(max_frames=300)):
        (tmp_path / name).write_bytes(data)
    ingest(iter_sources([tmp_path]), tmp_path / "dataset", filters=(), min_frames=1, workers=1)
    folders = ["--cards", str(places.cards), "--runs", str(places.runs)]
    small = ["model={arch: mamba2, d_model: 32, n_layers: 1, d_state: 8, headdim: 16}", "training.threads=1"]
    data = ["--data", str(tmp_path / "dataset")]
    assert main(["card", "new", "--from", "tiny", *data, *small, "training.epochs=1", "--name", "night", *folders]) == 0
    assert main(["card", "launch", "night", *folders]) == 2
    assert not (places.runs / "night").exists(), "an unsigned card leaves nothing behind"
    assert main(["card", "review", "night", "--by", "Fae", "--approve", "--cards", str(places.cards)]) == 0
    capsys.readouterr()
    assert main(["card", "launch", "night", *folders, "--json"]) == 0
    run = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["run"])
    assert [rule.rule for rule in read_rules(run / "rules.yaml").kill] == ["non_finite", "out_of_memory", "stale"]
    assert main(["card", "launch", "night", *folders]) == 2, "a card is launched once: its run's name is taken"
    until = time.monotonic() + 60
    while not look(RunFolder(run)).is_over and time.monotonic() < until:
        time.sleep(0.2)
    capsys.readouterr()
    assert main(["ledger", "list", *folders, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out.splitlines()[-1])["entries"]
    assert (entry["name"], entry["ended"]) == ("night", "finished")
