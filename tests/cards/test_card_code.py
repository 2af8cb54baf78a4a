"""The code of a run as a variable: where it can matter, and stable on a card from commit to commit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mission import NewCard, WriteRun

from worldmodel.cards import code
from worldmodel.cards.ablate import ablate
from worldmodel.cards.check import check
from worldmodel.cards.code import code_change
from worldmodel.cards.lint import ask
from worldmodel.cards.view import View, view_of
from worldmodel.runs import provenance
from worldmodel.runs.card import CardFile
from worldmodel.runs.ledger import EntryCode
from worldmodel.runs.provenance import code_version, files_changed, files_of_diff


class Checkout:
    """A repository of its own, that stands for this one's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "-q")
        self.commit("worldmodel/nn/a.py", "1")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", "-C", str(self.path), *who, *words], check=True, capture_output=True, text=True
        ).stdout

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def commit(self, name: str, text: str) -> str:
        self.write(name, text)
        self.git("add", ".")
        self.git("commit", "-qm", name)
        return self.sha

    @property
    def sha(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    @property
    def now(self) -> EntryCode:
        found = code_version(self.path)
        return EntryCode(**found.as_json(), changed=files_of_diff(found.diff))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    (tmp_path / "checkout").mkdir()
    found = Checkout(tmp_path / "checkout")

    def changed(since: str, rooms: tuple[str, ...], *, until: str | None = None) -> list[str] | None:
        return files_changed(since, rooms, until=until, checkout=found.path)

    monkeypatch.setattr(code, "code_version", lambda: provenance.code_version(found.path))
    monkeypatch.setattr(code, "files_changed", changed)
    return found


def test_the_same_commit_is_no_variable(checkout: Checkout) -> None:
    assert code_change(checkout.now, None) == (None, "")


def test_other_rooms_are_no_variable(checkout: Checkout) -> None:
    before = checkout.now
    checkout.commit("worldmodel/cli/b.py", "1")
    checkout.commit("docs/x.md", "1")
    assert code_change(before, None) == (None, "")


def test_a_changed_room_is_and_is_worded_alike_ever_after(checkout: Checkout) -> None:
    before = checkout.now
    checkout.commit("worldmodel/training/b.py", "1")
    first, _ = code_change(before, None)
    assert first is not None
    assert (first.variable, first.back) == ("code", None)
    assert first.before == str(before.git_sha)[:12]
    checkout.commit("worldmodel/training/b.py", "2")
    assert code_change(before, None)[0] == first, "a card does not go stale with every commit"


@pytest.mark.parametrize("name", ["worldmodel/nn/a.py", "worldmodel/nn/new.py"])
def test_what_is_not_committed_counts(checkout: Checkout, name: str) -> None:
    before = checkout.now
    checkout.write(name, "changed")
    assert code_change(before, None)[0] is not None
    after = checkout.now
    assert after.changed == [name]
    assert code_change(after, None) == (None, ""), "the same changes again"
    checkout.git("checkout", "-q", ".")
    checkout.git("clean", "-qfd")
    change, _ = code_change(after, None)
    assert change is not None
    assert change.before.endswith("with changes that were not committed")


def test_their_changes_elsewhere_do_not_count(checkout: Checkout) -> None:
    checkout.write("worldmodel/cli/b.py", "1")
    before = checkout.now
    checkout.git("clean", "-qfd")
    assert before.dirty
    assert code_change(before, None) == (None, "")


def test_what_cannot_be_told_is_said(checkout: Checkout) -> None:
    assert code_change(None, None)[1] == "it is not recorded which code it ran"
    assert (
        code_change(EntryCode(git_sha="0123456789abcdef"), None)[1] == "its commit 0123456789ab is not in this checkout"
    )
    assert "without its repository" in code_change(EntryCode(version="0.1"), None)[1]
    old, new = EntryCode(version="0.1"), EntryCode(version="0.2")
    assert code_change(old, old) == (None, "")
    change, _ = code_change(old, new)
    assert change is not None
    assert (change.before, change.after) == ("version 0.1", "version 0.2")


def test_on_a_card(card: NewCard, write_run: WriteRun, checkout: Checkout) -> None:
    """One more variable, in the table, the warning and ablate; a card whose run has begun is about that run's code."""
    run = write_run("before")
    told = json.loads((run / "run.json").read_text())
    first = checkout.now
    (run / "run.json").write_text(json.dumps(told | {"code": first.model_dump(exclude={"changed"})}))
    checkout.commit("worldmodel/models/m.py", "1")
    view: View = card("training.lr=1e-3")
    assert [change.variable for change in view.news[0].changes] == ["training.lr", "code"]
    (finding,) = ask(view, ["one_variable"])
    assert "2 variables change at once (training.lr, code)" in finding.message
    assert f"git switch --detach {str(first.git_sha)[:12]}" in next(a.why for a in ablate(view) if a.path is None)
    began = write_run("night")
    (began / "run.json").write_text(json.dumps(told | {"code": checkout.now.model_dump(exclude={"changed"})}))
    of_run = view_of(CardFile.read(view.file.path), view.places)
    assert of_run.news[0].changes == view.news[0].changes
    assert check(of_run.file, view.places).is_good, "that it was launched makes no table stale"
    (view.places.runs / "before" / "run.json").write_text(
        json.dumps(told | {"code": checkout.now.model_dump(exclude={"changed"})})
    )
    checkout.commit("worldmodel/models/m.py", "2")
    assert [change.variable for change in view_of(of_run.file, view.places).news[0].changes] == ["training.lr"], (
        "both ran what was there before"
    )
