"""A run folder is made once, and its checkpoints are there whole or not at all."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic
from worldmodel.runs.folder import NotARun, RunFolder

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def make(tmp_path: Path) -> RunFolder:
    run = RunFolder.create(tmp_path / "runs", experiment="tiny", now=NOW)
    atomic.write_text(run.config, "model: {}\n")
    atomic.write_json(run.provenance, {})
    return run


def save(run: RunFolder, step: int, text: str = "weights") -> None:
    with run.new_checkpoint(step, {"reason": "test"}) as folder:
        folder.state.write_text("state")
        folder.weights.write_text(text)


def test_names_are_readable_and_never_shared(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, experiment="tiny", now=NOW).id for _ in range(3)]
    assert names == ["tiny-20260304-050607", "tiny-20260304-050607-2", "tiny-20260304-050607-3"]


def test_a_taken_or_strange_name_is_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, experiment="tiny", name="mine")
    with pytest.raises(WrongUse, match="mine exists"):
        RunFolder.create(tmp_path, experiment="tiny", name="mine")
    for name in ("a/b", "..", "", ".hidden"):
        with pytest.raises(WrongUse, match="run name"):
            RunFolder.create(tmp_path, experiment="tiny", name=name)
    (tmp_path / "file").touch()
    with pytest.raises(WrongUse, match="is a file"):
        RunFolder.create(tmp_path / "file", experiment="tiny")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="no folder"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(NotARun, match=r"has no config.yaml and no run.json"):
        RunFolder.open(tmp_path)
    assert RunFolder.open(make(tmp_path).path).id == "tiny-20260304-050607"


def test_newest_checkpoint_and_pointer(tmp_path: Path) -> None:
    run = make(tmp_path)
    with pytest.raises(WrongUse, match="no usable checkpoint"):
        run.newest_checkpoint()
    save(run, 5)
    save(run, 40)
    newest, problems = run.newest_checkpoint()
    assert (newest.step, problems) == (40, [])
    assert newest.meta["reason"] == "test"
    assert json.loads(run.latest.read_text()) == {"step": 40, "checkpoint": "checkpoints/step-000000040"}


@pytest.mark.parametrize("harm", ["truncate", "change", "delete", "meta", "no meta"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, harm: str) -> None:
    run = make(tmp_path)
    save(run, 5)
    save(run, 40)
    folder = run.checkpoints / "step-000000040"
    if harm == "truncate":
        (folder / "state.pt").write_text("sta")
    elif harm == "change":
        (folder / "weights.safetensors").write_text("weighty")
    elif harm == "delete":
        (folder / "state.pt").unlink()
    elif harm == "meta":
        (folder / "meta.json").write_text("[]")
    else:
        (folder / "meta.json").unlink()
    newest, problems = run.newest_checkpoint()
    assert newest.step == 5
    assert len(problems) == 1
    assert problems[0].startswith("step-000000040: ")


def test_a_writer_that_dies_leaves_no_checkpoint(tmp_path: Path) -> None:
    run = make(tmp_path)
    save(run, 5)
    with pytest.raises(FileNotFoundError), run.new_checkpoint(6, {}) as folder:
        folder.state.symlink_to("nothing")  # a file that cannot be read back
    assert [found.step for found in run.all_checkpoints()] == [5]
    # A kill that nothing could clean up after: the name says that it is not finished.
    left_over = run.checkpoints / f"{atomic.ASIDE}99-step-000000007"
    left_over.mkdir()
    assert [found.step for found in run.all_checkpoints()] == [5]
    run.drop_checkpoints(keep={5})
    assert not left_over.exists()


def test_a_step_saved_again_replaces_the_first(tmp_path: Path) -> None:
    run = make(tmp_path)
    save(run, 5, "old")
    save(run, 5, "new")
    newest, _ = run.newest_checkpoint()
    assert newest.weights.read_text() == "new"
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000000005"]


def test_old_checkpoints_are_dropped(tmp_path: Path) -> None:
    run = make(tmp_path)
    for step in (1, 2, 3):
        save(run, step)
    run.drop_checkpoints(keep={1, 3})
    assert [found.step for found in run.all_checkpoints()] == [1, 3]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    atomic.write_json(path, {"a": 1})

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        atomic.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_strict(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())
