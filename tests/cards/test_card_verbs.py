"""The verbs, as a team uses them from a new card to a signed one: exit codes, one JSON object, one line per error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mission import CARD, WriteRun

from worldmodel.cards.view import Places
from worldmodel.cli import main


class Shell:
    """`worldmodel card ...` in the folders of a test; gives the exit code, and the JSON object of `--json`."""

    def __init__(self, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
        self.places, self.capsys = places, capsys
        self.out = self.err = ""

    def __call__(self, *words: str, json_too: bool = True) -> tuple[int, dict[str, Any]]:
        folders = ["--cards", str(self.places.cards)]
        if words[1] not in ("review", "add"):
            folders += ["--runs", str(self.places.runs)]
        code = main([*words, *folders, *(["--json"] if json_too else [])])
        self.out, self.err = self.capsys.readouterr()
        return code, json.loads(self.out.splitlines()[-1]) if json_too and self.out else {}


@pytest.fixture
def shell(places: Places, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(places, capsys)


def test_from_new_to_signed(shell: Shell, small_dataset: Path, write_run: WriteRun, places: Places) -> None:
    write_run("before")
    data = str(small_dataset)
    code, made = shell(
        "card", "new", "--from", "tiny", "--data", data, "training.lr=1e-3", "training.seed=2",
        "--name", "night", "--goal", "less", "--usd", "5", "--batch-ms", "50",
        "--reviewer", "Scav", "--reviewer", "Fae",
    )  # fmt: skip
    assert code == 0
    assert made["num_frames"] == 80_000
    assert made["train_examples"] == 36 * 35
    assert made["changed"] == ["training.lr", "training.seed"]
    assert shell("card", "check")[0] == 0

    code, signed = shell("card", "review", "night", "--by", "Scav", "--approve")
    assert (code, signed["state"], signed["missing"]) == (0, "missing", ["Fae"])
    assert shell("card", "lint", "night")[0] == 1, "not everybody has signed"
    assert (
        shell("card", "review", "night", "--by", "Fae", "--block", "--comment", "no targets")[1]["state"] == "blocked"
    )
    assert shell("card", "review", "night", "--by", "Fae", "--approve")[1]["state"] == "approved"
    code, answers = shell("card", "lint", "night")
    assert code == 0
    assert "blocker" not in {finding["severity"] for finding in answers["findings"]}
    code, shown = shell("card", "show", "night")
    assert (code, shown["review"], shown["hash"]) == (0, "approved", made["hash"])
    assert "What a reviewer would ask" in shell.err

    path = places.cards / "night.md"
    path.write_text(path.read_text().replace("training.seed=2", "training.seed=3", 1))
    code, report = shell("card", "check", "night")
    assert code == 1
    assert set(report["cards"][0]["stale"]) == {"training", "new"}
    assert "| Seed" in shell.err
    assert shell("card", "check", "night", "--write")[0] == 0
    assert shell("card", "check", "night")[0] == 0
    assert shell("card", "show", "night")[1]["review"] == "missing", "what they signed is another card"

    code, ablated = shell("card", "ablate", "night")
    assert code == 0
    assert set(ablated["cards"]) == {"training.lr", "training.seed"}
    assert shell("card", "check")[0] == 0


def test_import(shell: Shell, mission_dataset: Path, tmp_path: Path) -> None:
    code, done = shell(
        "card", "import", str(CARD), "--data", str(mission_dataset), "--prior", "scheduled_sampling=null"
    )
    assert (code, done["disagreements"], len(done["rows"])) == (0, 0, 51)
    assert len(shell("ledger", "list")[1]["entries"]) == 4
    wrong = tmp_path / "wrong.md"
    wrong.write_text(
        CARD.read_text().replace("# Run Card: mamba2-22k-ss", "# Run Card: w").replace("181,298", "181,300")
    )
    code, done = shell("card", "import", str(wrong), "--data", str(mission_dataset))
    assert (code, done["disagreements"]) == (1, 1)


def test_the_dataset_may_have_moved(shell: Shell, small_dataset: Path, tmp_path: Path, mission_dataset: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(small_dataset)
    shell("card", "new", "--from", "tiny", "--data", str(moved), "--name", "night")
    moved.unlink()
    assert shell("card", "check", "night")[0] == 1
    assert "no dataset at" in shell.err
    assert shell("card", "check", "night", "--data", str(small_dataset))[0] == 0
    (tmp_path / "other").symlink_to(mission_dataset)
    assert shell("card", "show", "night", "--data", str(tmp_path / "none"))[0] == 2


def test_ledger(shell: Shell, write_run: WriteRun) -> None:
    assert shell("ledger", "list")[0] == 0
    write_run("before")
    code, _ = shell(
        "ledger", "add", "k60", "--source", "their card", "--val", "val_change_acc=0.684", "--data", "2K",
        "--epochs", "2", "--config", "data.context_len=60", "--config", "scheduled_sampling=null",
    )  # fmt: skip
    assert code == 0
    entries = {entry["name"]: entry for entry in shell("ledger", "list")[1]["entries"]}
    assert entries["before"]["val"]["val_change_acc"] == 0.6
    known = {"training.epochs": 2, "data.context_len": 60, "scheduled_sampling": None}
    assert entries["k60"]["config"] == known


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("card", "show", "nihgt"), "did you mean 'night'"),
        (("card", "new", "--from", "tiny", "--data", "/none"), "no folder /none"),
        (("card", "new", "--from", "tinny", "--data", "/none"), "did you mean 'tiny'"),
        (("card", "review", "night", "--by", "A"), "both or none of --approve and --block"),
        (("card", "review", "night", "--by", "A", "--approve", "--block"), "both or none"),
        (("card", "review", "night", "--by", "A", "--block"), "without --comment"),
        (("card", "review", "night", "--by", "", "--approve"), "no name"),
        (("card", "ablate", "night"), "no earlier run"),
        (("ledger", "add", "a", "--source", "s"), "without a value"),
        (("ledger", "add", "a", "--source", "s", "--val", "change_acc=1"), "begin with 'val_'"),
        (("ledger", "add", "a", "--source", "s", "--val", "val_x=high"), "'val_x=high'"),
        (("ledger", "add", "a", "--source", "s", "--train", "val_x=1"), "without 'val_'"),
        (("ledger", "add", "a", "--source", "s", "--val", "val_x=nan"), "finite"),
        (("card", "import", "/none", "--data", "/none"), "No such file"),
    ],
)
def test_wrong_use_is_one_line(shell: Shell, small_dataset: Path, words: tuple[str, ...], message: str) -> None:
    assert shell("card", "new", "--from", "tiny", "--data", str(small_dataset), "--name", "night")[0] == 0
    code, _ = shell(*words)
    assert code == 2
    last = shell.err.strip().splitlines()[-1]
    assert last.startswith("worldmodel: ")
    assert message in last


def test_a_damaged_card_hides_no_other(shell: Shell, small_dataset: Path, places: Places) -> None:
    shell("card", "new", "--from", "tiny", "--data", str(small_dataset), "--name", "night")
    (places.cards / "broken.md").write_text("no front matter")
    code, report = shell("card", "check")
    assert code == 1
    assert [bool(card["problems"]) for card in report["cards"]] == [True, False]
    assert shell("card", "check", "broken")[0] == 2


def test_no_cards(shell: Shell) -> None:
    assert shell("card", "check")[0] == 2
    assert "card new" in shell.err
