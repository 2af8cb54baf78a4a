"""A disk without room: the reason of an end comes onto it all the same, in the room that was kept or later."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_worker import events

from worldmodel.launch import last_words
from worldmodel.launch.last_words import LastWords
from worldmodel.runs import atomic
from worldmodel.runs.folder import BALLAST_BYTES, RunFolder
from worldmodel.runs.status import read_status
from worldmodel.tracking.jsonl import JsonlWriter


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, experiment="x", name="run")


@pytest.fixture
def fill(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, bool]]:
    """Nothing can be written while the ballast lies there, or `is_full` says so."""
    state = {"is_full": False}
    write_row, write_text = JsonlWriter.write, atomic.write_text

    def no_room() -> None:
        if run.ballast.exists() or state["is_full"]:
            raise OSError(errno.ENOSPC, "No space left on device")

    def row(self: JsonlWriter, row: Mapping[str, Any]) -> None:
        no_room()
        write_row(self, row)

    def text(path: Path, text: str) -> None:
        no_room()
        write_text(path, text)

    def begin() -> dict[str, bool]:
        monkeypatch.setattr(JsonlWriter, "write", row)
        monkeypatch.setattr(atomic, "write_text", text)
        return state

    return begin


def test_ballast(run: RunFolder) -> None:
    run.take_ballast()
    assert run.ballast.stat().st_size == BALLAST_BYTES
    run.take_ballast()
    assert run.drop_ballast()
    assert not run.drop_ballast()


def test_the_room_that_was_kept(run: RunFolder, fill: Callable[[], dict[str, bool]]) -> None:
    run.take_ballast()
    fill()
    words = LastWords(run, lambda text: None)
    words.event("exited", code=1)
    words.event("ended", reason="x")
    words.end("x")
    assert words.is_said
    assert events(run) == ["exited", "ended"]
    assert (read_status(run) or {})["reason"] == "x"


def test_patience(run: RunFolder, fill: Callable[[], dict[str, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody makes room after a while: all is said, in its order."""
    state = fill()
    state["is_full"] = True
    said: list[str] = []
    words = LastWords(run, said.append)
    words.event("exited", code=1)
    words.event("ended", reason="x")
    words.end("x")
    assert not words.is_said
    assert "could not be written yet: [Errno 28]" in said[0]
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        state["is_full"] = len(slept) < 3

    monkeypatch.setattr(last_words.time, "sleep", sleep)
    words.insist(until=lambda: False)
    assert words.is_said
    assert len(slept) == 3
    assert events(run) == ["exited", "ended"]


def test_somebody_has_had_enough(run: RunFolder, fill: Callable[[], dict[str, bool]]) -> None:
    fill()["is_full"] = True
    words = LastWords(run, lambda text: None)
    words.end("x")
    words.insist(until=lambda: True)
    assert not words.is_said


def test_an_end_that_is_told_already_is_not_written_again(run: RunFolder) -> None:
    run.status.write_text('{"phase": "ended", "reason": "finished"}')
    before = run.status.stat().st_mtime_ns
    LastWords(run, lambda text: None).end("finished")
    assert run.status.stat().st_mtime_ns == before
