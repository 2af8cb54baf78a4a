"""The page that goes with weights says what a run's folder knows, and nothing of other weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldmodel.export.model_card import model_card
from worldmodel.runs.folder import RunFolder

ABOUT: dict[str, Any] = {
    "run": "night", "step": 1200, "ema": True, "arch": "mamba2", "heads": "residual", "num_parameters": 4321,
    "weights_sha256": "a" * 64,
}  # fmt: skip
REPORT: dict[str, Any] = {"files": {"float32": {"file": "step.onnx"}}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = {"num_games": 231, "num_frames": 2_000_000, "content_hash": "abc"}
    known = {
        "dataset": data,
        "code": {"version": "0.1.0", "git_sha": "f00", "dirty": False},
        "versions": {"torch": "2"},
    }
    (tmp_path / "run.json").write_text(json.dumps(known))
    (tmp_path / "config.yaml").write_text("training:\n  epochs: 8\n")
    return tmp_path


def evaluated(sha256: str, split: str = "val") -> dict[str, Any]:
    def value(number: float | None) -> dict[str, Any]:
        spread = (None, None) if number is None else (number - 1, number + 1)
        return {"value": number, "low": spread[0], "high": spread[1], "reason": None if number else "no velocities"}

    row = {"name": "pos_mae", "unit": "game units", "models": {"model": value(2.5), "ballistic": value(None)}}
    data = {"num_games": 19, "num_frames": 157_432, "split": split, "held_out": split == "val"}
    return {"weights": {"sha256": sha256}, "data": data, "headlines": [row]}


def test_all_that_is_known(run: Path) -> None:
    page = model_card(ABOUT, REPORT, ["float32 is the model"], RunFolder.open(run), evaluated(ABOUT["weights_sha256"]))
    for part in ("231 games, 2,000,000 frames", "commit `f00`", "epochs: 8", "running mean", "- float32 is the model"):
        assert part in page
    assert "| pos_mae | game units | 2.50 (1.50 .. 3.50) | no velocities |" in page


@pytest.mark.parametrize(
    ("sha256", "split", "said"),
    [
        (None, "val", "Not evaluated"),
        ("b" * 64, "val", "of other weights"),
        (ABOUT["weights_sha256"], "train", "of train games"),
    ],
)
def test_no_number_of_other_weights_or_of_games_that_were_learned(
    run: Path, sha256: str | None, split: str, said: str
) -> None:
    page = model_card(ABOUT, REPORT, [], RunFolder.open(run), None if sha256 is None else evaluated(sha256, split))
    assert said in page
    assert "pos_mae" not in page


def test_weights_alone() -> None:
    page = model_card({**ABOUT, "run": None, "step": None, "ema": False}, REPORT, [])
    assert "From a weights file;" in page
    assert "## Training" not in page
