"""The mission's dataset by its counts, made once; a small one; and folders for a team's cards and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mission import NewCard, WriteRun, mission_lengths, write_counts

from worldmodel.cards.data import DataFacts, data_facts
from worldmodel.cards.new import Wishes, new_card
from worldmodel.cards.view import Places, View
from worldmodel.runs import strict
from worldmodel.training.config import find_experiment, load_experiment


@pytest.fixture(scope="session")
def mission_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_counts(tmp_path_factory.mktemp("mission") / "dataset", *mission_lengths())


@pytest.fixture(scope="session")
def mission_data(mission_dataset: Path) -> DataFacts:
    return data_facts(mission_dataset)


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 games of 2,000 frames, four of them held out."""
    is_train = np.arange(40) % 10 > 0
    return write_counts(tmp_path_factory.mktemp("small") / "dataset", np.full(40, 2000), is_train)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "cards", tmp_path / "runs")


@pytest.fixture
def write_run(places: Places) -> WriteRun:
    """Write a run folder: write_run(name, *overrides of "tiny", data=content hash, values=held-out values ...)."""

    def write(
        name: str,
        *overrides: str,
        content_hash: str = "22" * 32,
        values: dict[str, float] | None = None,
        events: tuple[dict[str, Any], ...] = (),
        step_ms: float = 100.0,
        started_at: str = "2026-01-01T00:00:00+00:00",
    ) -> Path:
        run = places.runs / name
        (run / "checkpoints").mkdir(parents=True)
        experiment = load_experiment(find_experiment("tiny"), overrides=overrides)
        (run / "config.yaml").write_text(strict.dump(experiment))
        told = {
            "started_at": started_at,
            "code": {"version": "0.1.0", "git_sha": "0123456789abcdef", "dirty": False},
            "dataset": {"path": "/d", "content_hash": content_hash, "num_games": 40, "num_frames": 80_000},
            "machine": {"gpu": None},
        }
        (run / "run.json").write_text(json.dumps(told))
        values = {"val_change_acc": 0.6, "val_pos_mae": 0.3, "val_loss/total": 1.0} if values is None else values
        rows = {
            "metrics": [{"kind": "val", "step": 10, "epoch": 1.0, "weights": "raw", **values}] if values else [],
            "pace": [{"kind": "pace", "step": 10, "step_ms": step_ms, "elapsed_s": 1.0}],
            "events": [{"event": "started", "step": 0, "num_steps": 10}, *events],
        }
        for file, lines in rows.items():
            (run / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return write


@pytest.fixture
def card(places: Places, small_dataset: Path) -> NewCard:
    """Write a card of "tiny" on the small dataset: card(*overrides, name=..., **front matter)."""

    def make(*overrides: str, name: str = "night", config: str = "tiny", **more: Any) -> View:
        return new_card(config, small_dataset, places, overrides=overrides, wishes=Wishes(name=name, more=more))

    return make
