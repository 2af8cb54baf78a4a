"""Models for the environment's tests: a small one that dreams nonsense, and one of which the future is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fading import Fading

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.models.base import WorldModel, make_model
from worldmodel.models.copy_last import Config
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games


@pytest.fixture(scope="session")
def fading() -> WorldModel:
    return Fading(Config())


@pytest.fixture(scope="session")
def dreamer() -> WorldModel:
    """A Mamba-2 model that carries a state. Untrained, so hotter than one that knows anything."""
    torch.manual_seed(0)
    model = make_model({"arch": "mamba2", "d_model": 16, "n_layers": 2, "d_state": 8, "headdim": 8, "chunk_size": 16})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two synthetic matches."""
    folder = tmp_path_factory.mktemp("env")
    write_games(folder / "replays", 2, 0, rules=Rules(stocks=4, max_frames=1850))
    ingest(iter_sources([folder / "replays"]), Path(folder / "dataset"), workers=1)
    return open_dataset(folder / "dataset")
