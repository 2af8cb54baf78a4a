"""A tiny dataset of generated games, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 games of at most 300 frames, some of them held out."""
    replays = tmp_path_factory.mktemp("replays")
    for name, data in generate(24, 1, rules=Rules(max_frames=300)):
        (replays / name).write_bytes(data)
    out = tmp_path_factory.mktemp("data") / "dataset"
    ingest(iter_sources([replays]), out, filters=(), min_frames=1, workers=1)
    return out


@pytest.fixture
def dataset(dataset_path: Path) -> Dataset:
    return open_dataset(dataset_path)
