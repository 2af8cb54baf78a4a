"""The mission's own card, word for word, on a dataset with its counts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mission import CARD, NUM_TRAIN_EXAMPLES, mission_lengths, write_counts

from worldmodel.cards.check import check
from worldmodel.cards.foreign import Foreign, number
from worldmodel.cards.importing import Imported, import_card
from worldmodel.cards.lint import lint
from worldmodel.cards.view import Places
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile
from worldmodel.runs.ledger import read_elsewhere


@pytest.fixture
def done(places: Places, mission_dataset: Path) -> Imported:
    return import_card(CARD, mission_dataset, places, prior_config={"scheduled_sampling": None})


def test_every_number_agrees(done: Imported) -> None:
    assert not done.disagreements
    rows = {row.quantity: row for row in done.rows}
    assert len(rows) == len(done.rows) == 51
    exact = {
        "Games": "22,000",
        "Total frames": "206,754,081",
        "Train examples": "185,648,963",
        "Val examples": "20,885,118",
        "Batches per epoch": "181,298",
        "log_interval": "1,000",
    }
    for quantity, value in exact.items():
        assert (rows[quantity].computed, rows[quantity].agrees) == (value, "yes")
    assert rows["File size"].agrees == rows["Logs per epoch"].agrees == "yes"
    assert rows["Parameters"].agrees.startswith("about: 1.0% off, '~' allows 5%")
    assert rows["Cost, $"].is_good


def test_its_manifest_alone_is_enough(places: Places, mission_dataset: Path, tmp_path: Path) -> None:
    shutil.copy(mission_dataset / "manifest.json", tmp_path)
    alone = import_card(CARD, tmp_path, places, prior_config={"scheduled_sampling": None})
    assert len(alone.rows) == 51
    assert not alone.disagreements
    rows = {row.quantity: (row.computed, row.agrees) for row in alone.rows}
    assert rows["Train examples"] == ("185,648,963", "yes")
    assert rows["Batches per epoch"] == ("181,298", "yes")


def test_its_front_matter_is_what_it_says(done: Imported) -> None:
    card = done.view.file.card
    assert card.run == "mamba2-22k-ss"
    assert card.goal.startswith("Validate Mamba-2 scaling on 11x more data")
    assert card.overrides == ["training.epochs=3"]
    assert card.data.on_backend == "/encoded-22k.pt"
    assert [(t.metric, t.baseline, t.target, t.better) for t in card.targets] == [
        ("val_change_acc", 0.684, 0.75, "higher"),
        ("val_pos_mae", 0.632, 0.55, "lower"),
        ("val_loss/total", 0.271, 0.2, "lower"),
    ]
    assert [rule.label for rule in card.kill] == [
        "below val_change_acc 0.6",
        "above val_pos_mae 0.8, after_epochs 1",
        "not_decreasing val_loss/total",
        "non_finite",
        "above loss/total 10",
        "out_of_memory",
        "epoch_longer_than, hours 8",
    ]
    assert card.backend.model_dump(exclude_none=True) == {
        "name": "modal", "gpu": "A100-40GB", "timeout_s": 86400, "retries": 0, "memory_gb": 128.0, "usd_per_hour": 2.78,
        "devices": 1,
    }  # fmt: skip
    assert card.estimate is not None
    assert (card.estimate.batch_s, card.estimate.load_s, card.estimate.measured) == (0.06, 164, False)
    assert (card.budget.usd, card.budget.pessimistic_factor) == (25, 5)
    assert (card.tracker.policy, card.tracker.entity, card.tracker.project) == (
        "optional", "shinewave", "melee-worldmodel"
    )  # fmt: skip
    assert card.reviewers.required == ("Scav", "Mattie", "ScavieFae")
    assert card.fallback is not None
    assert card.fallback.card == "mamba2-22k-noss"


def test_its_commands_come_out_word_for_word(done: Imported) -> None:
    told = re.search(r"```bash\n\.venv/bin/(modal run --detach .*?)\n```", CARD.read_text(), flags=re.DOTALL)
    assert told is not None
    launch = " ".join(told[1].replace("\\\n", " ").split())
    assert launch in done.view.file.document.block("commands")


def test_its_prior_runs_keep_apart_what_is_not_said(done: Imported, places: Places) -> None:
    entries = {entry.name: entry for entry in read_elsewhere(places.cards / "ledger.jsonl")}
    assert list(entries) == done.added == ["k60-compare", "k10-compare", "smoke-nw4-v2", "MLP 22K (local)"]
    assert entries["k60-compare"].val == {"val_change_acc": 0.684, "val_pos_mae": 0.632, "val_loss/total": 0.271}
    assert entries["k60-compare"].config["data.context_len"] == 60
    assert entries["k10-compare"].val == {"val_loss/total": 0.291}, "of its accuracy the card does not say"
    assert entries["k10-compare"].unsaid == {"change_acc": 0.673, "pos_mae": 0.65}
    assert entries["MLP 22K (local)"].unsaid == {"change_acc": 0.775, "pos_mae": 0.79}
    assert entries["MLP 22K (local)"].config["model.arch"] == "mlp"
    assert "67.3% ?" in done.view.file.document.block("prior-runs")


def test_its_review_is_found_again_by_the_tool(done: Imported) -> None:
    """What a reviewer found by hand, and what LESSONS found later: the blocker, and the other concerns."""
    found = {(f.question, f.severity): f.message for f in lint(done.view)}
    assert ("checkpoints_outlive_the_machine", "blocker") in found
    assert "3 variables change at once" in found["one_variable", "warning"]
    for variable in ("dataset", "scheduled_sampling", "training.epochs"):
        assert variable in found["one_variable", "warning"]
    assert "1 d 21 h" in found["time_limit", "warning"]
    assert ("somebody_watches", "warning") in found
    assert ("tracker", "warning") in found
    assert "3 epochs in total (the config has 10), 543,894 steps" in found["epochs", "note"]
    assert "$25.33, pessimistically $126.64" in found["budget", "warning"]
    assert "ends at rate 0.2, noise 0.0667" in found["noise_reaches_its_value", "warning"]
    assert ("noise_mask", "not measured") in found
    assert ("fallback", "blocker") in found


def test_its_prose_stays_and_its_tables_are_ours(done: Imported) -> None:
    text = done.view.file.path.read_text()
    table = False
    for line in CARD.read_text().splitlines():
        table = line.startswith("|")
        if line and not table:
            assert line in text, line
    assert "| Encoded file |" not in text
    assert text.count("| Batches per epoch") == 2, "once in our table, once in the comparison"
    report = check(CardFile.read(done.view.file.path), done.view.places)
    assert not report.stale
    assert len(report.problems) == 1
    assert "mamba2-22k-noss" in report.problems[0], "it names a fallback that nobody has written"


def test_no_signature_is_made_of_ticks(done: Imported) -> None:
    assert done.view.file.card.reviews == []
    assert not done.view.sign_off.may_launch


def test_by_our_split_its_examples_are_explained(places: Places, tmp_path: Path) -> None:
    """The same games, split by match group: the figures are then those of the list's order, and said to be so."""
    lengths, _ = mission_lengths()
    data = write_counts(tmp_path / "ours", lengths, np.random.default_rng(0).random(len(lengths)) >= 0.1)
    done = import_card(CARD, data, places)
    rows = {row.quantity: row for row in done.rows}
    assert not done.disagreements
    for quantity in ("Train examples", "Val examples", "Batches per epoch"):
        assert rows[quantity].agrees == "yes, by the reference's split"
        assert "by match group" in rows[quantity].computed
    assert f"{NUM_TRAIN_EXAMPLES:,} by list order" in rows["Train examples"].computed


@pytest.mark.parametrize(
    ("old", "new", "quantity", "agrees"),
    [
        ("185,648,963", "185,648,964", "Train examples", "NO"),
        ("| 181,298 |", "| 181,299 |", "Batches per epoch", "NO"),
        ("~4,300,000", "~4,700,000", "Parameters", "NO: +8.2%"),
        ("~4,300,000", "4,300,000", "Parameters", "NO: -1.0%"),
        ("74.4 GB |", "72.8 GB |", "File size", "NO: -2.2%"),
        ("0.0005", "0.0004", "Learning rate", "NO"),
        ("d_state | 64", "d_state | 65", "d_state", "NO"),
        ("~181 |", "~191 |", "Logs per epoch", "NO: +5.4%"),
        ("~9.1h |", "~10h |", "Training, h", "NO: +10.3%"),
        ("jumps=0.5", "jumps=0.6", "Loss weight jumps", "NO"),
        ("jumps=0.5", "hops=0.5", "Loss weight hops", "NO"),
        ("NOT stocks/hitlag/combo", "NOT percent/hitlag", "Noise mask", "NO: percent"),
    ],
)
def test_a_wrong_number_is_listed(
    places: Places, mission_dataset: Path, tmp_path: Path, old: str, new: str, quantity: str, agrees: str
) -> None:
    text = CARD.read_text()
    assert old in text
    (tmp_path / "wrong.md").write_text(text.replace(old, new))
    done = import_card(tmp_path / "wrong.md", mission_dataset, places)
    assert quantity in {row.quantity for row in done.disagreements}
    row = next(row for row in done.rows if row.quantity == quantity)
    assert row.agrees.startswith(agrees)
    assert "disagree" in done.view.file.path.read_text()


def test_a_second_import_writes_nothing(done: Imported, places: Places, mission_dataset: Path) -> None:
    before = {path.name: path.read_bytes() for path in places.cards.iterdir()}
    with pytest.raises(WrongUse, match="exists"):
        import_card(CARD, mission_dataset, places)
    assert {path.name: path.read_bytes() for path in places.cards.iterdir()} == before
    again = import_card(CARD, mission_dataset, places, name="again")
    assert again.added == [], "its runs are known"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A letter\n", "no line '# Run Card: NAME'"),
        ("---\nrun: a\n---\n", "has front matter"),
        ("# Run Card: a\n", "names no config"),
        ("# Run Card: a\n**Config**: `nowhere.yaml`\n", "no experiment 'nowhere.yaml'"),
    ],
)
def test_what_is_no_card(places: Places, mission_dataset: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(WrongUse, match=message):
        import_card(tmp_path / "a.md", mission_dataset, places)
    assert not places.cards.exists()


def test_a_card_that_says_little_is_imported_with_what_it_says(
    places: Places, mission_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text(
        "# Run Card: little\n\n## Goal\n\nLearn.\n\n## Data\n\n| F | V |\n|-|-|\n| Games | 22,000 |\n"
    )
    done = import_card(tmp_path / "a.md", mission_dataset, places, config="tiny")
    assert [(row.quantity, row.agrees) for row in done.rows] == [("Games", "yes")]
    assert check(CardFile.read(done.view.file.path), places).is_good


@pytest.mark.parametrize(
    ("text", "value", "is_about", "resolution"),
    [
        ("185,648,963 (90%)", 185_648_963, False, 0.0),
        ("~$25", 25, True, 0.5),
        ("~9K", 9000, True, 500),
        ("74.4 GB", 74.4, False, 0.05),
        ("0.00001", 1e-5, False, 5e-6),
        ("5e-4", 5e-4, False, 5e-5),
        ("**3** (override)", 3, False, 0.0),
    ],
)
def test_numbers(text: str, value: float, is_about: bool, resolution: float) -> None:
    said = number(text)
    assert said is not None
    assert (said.value, said.is_about) == (value, is_about)
    assert said.resolution == pytest.approx(resolution)


def test_no_number() -> None:
    assert number("—") is None
    assert number("74.4 of 80", nth=1) is not None
    assert Foreign.read(CARD).created is not None
