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


def test_every_truncation_of_every_file_is_noticed(tmp_path: Path) -> None:
    run = make(tmp_path)
    save(run, 5)
    save(run, 40)
    folder = run.checkpoints / "step-000000040"
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["meta.json", "state.pt", "weights.safetensors"]
    for file in files:
        whole = file.read_bytes()
        for length in {0, 1, len(whole) // 2, len(whole) - 1}:
            file.write_bytes(whole[:length])
            newest, _ = run.newest_checkpoint()
            # The last byte of meta.json ends its line: without it, it still says everything.
            assert newest.step == (40 if file.name == "meta.json" and length == len(whole) - 1 else 5)
        file.write_bytes(whole)
    assert run.newest_checkpoint()[0].step == 40


def test_a_flipped_bit_of_the_meta_data_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    with run.new_checkpoint(40, {"epoch": 1.5, "best": {"value": 0.1}}) as folder:
        folder.state.write_text("state")
    checkpoint = run.newest_checkpoint()[0]
    meaning = checkpoint.meta
    file = checkpoint.path / "meta.json"
    whole = file.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 4
        file.write_bytes(flipped)
        if checkpoint.problem() is None:
            same = checkpoint.meta
            same.pop("meta_sha256", None)
            # A flip in the name of the checksum is what remains, and touches nothing else.
            assert {name: same.get(name) for name in meaning} == meaning


def test_a_checkpoint_under_another_name_is_not_one(tmp_path: Path) -> None:
    run = make(tmp_path)
    save(run, 5)
    (run.checkpoints / "step-000000005").rename(run.checkpoints / "step-000000050")
    with pytest.raises(WrongUse, match="speaks of another checkpoint"):
        run.newest_checkpoint()


def test_a_run_that_ended_before_its_first_checkpoint_says_how_to_start_again(tmp_path: Path) -> None:
    run = make(tmp_path)
    about = {"file": "tiny.yaml", "overrides": ["training.lr=1e-3"], "epochs": 3}
    atomic.write_json(run.provenance, {"experiment": about, "dataset": {"path": "/my data"}})
    again = "worldmodel train tiny.yaml training.lr=1e-3 --data '/my data' --epochs 3"
    with pytest.raises(WrongUse, match="ended before the first was saved.*" + again):
        run.newest_checkpoint()
    run.config.unlink()
    with pytest.raises(NotARun, match=r"ended while it was being made \(no config.yaml\).*delete it"):
        RunFolder.open(run.path)


def test_no_room_at_the_beginning_leaves_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    with pytest.raises(OSError, match="No space"), run.removed_if_no_room():
        raise OSError(28, "No space left on device")
    assert not run.path.exists()
    run = make(tmp_path)
    with pytest.raises(ValueError, match="ours"), run.removed_if_no_room():
        raise ValueError("a bug of ours, to be looked at")
    assert run.path.exists()
    save(run, 0)
    with pytest.raises(OSError, match="No space"), run.removed_if_no_room():
        raise OSError(28, "No space left on device")
    assert run.newest_checkpoint()[0].step == 0
