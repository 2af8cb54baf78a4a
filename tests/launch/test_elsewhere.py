"""What of a run is elsewhere is shown with its age, and loudly while it is not there: checkpoints, the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from worldmodel.launch.board import Sight
from worldmodel.launch.view import frame
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rules import Record


def shown(tmp_path: Path, progress_s: float | None = 1.0, **status: Any) -> str:
    console = Console(width=140, record=True, color_system=None)
    sight = Sight(RunFolder(tmp_path / "r"), "running", "training", progress_s, {"step": 5, "num_steps": 10, **status})
    console.print(frame(sight, Record(), [], now_s=100.0))
    return console.export_text()


def test_the_last_published_checkpoint_has_an_age(tmp_path: Path) -> None:
    last = {"step": 4, "name": "step-000000004", "at": "2026-01-01T00:00:00.000+00:00", "at_s": 40.0}
    text = shown(tmp_path, published=last | {"failures": 0, "problem": None})
    assert "published" in text
    assert "step-000000004, 1 min 00 s ago" in text
    afar = shown(tmp_path, None, published=last, heartbeat={"at_s": 50.0})
    assert "step-000000004, 10 s before its last word" in afar  # by that machine's clock alone
    text = shown(tmp_path, published=last | {"failures": 2, "problem": "OSError: no route"})
    assert "2 failures: OSError: no route" in text
    never = {"step": None, "name": None, "at": None, "at_s": None, "failures": 1, "problem": "OSError: no route"}
    assert "NOTHING YET; 1 failure: OSError: no route" in shown(tmp_path, published=never)


def test_the_tracker_has_a_state(tmp_path: Path) -> None:
    live = {"policy": "required", "state": "live", "failures": 0, "url": "http://tracker/r"}
    assert "live (required)  http://tracker/r" in shown(tmp_path, tracker=live)
    failed = {"policy": "optional", "state": "failed", "failures": 3, "message": "no route"}
    assert "failed (optional)  3 failures: no route" in shown(tmp_path, tracker=failed)
