"""Evaluation's tests read games from memory, not from a disk."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from memory_games import MemoryDataset, Oracle

from worldmodel.evaluation import closed_loop, starts, teacher_forced


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Evaluation reads blocks from a `MemoryDataset`."""
    for module in (teacher_forced, closed_loop):
        monkeypatch.setattr(module, "load_block", lambda dataset, games: dataset.load(games))
    monkeypatch.setattr(starts, "events_of", lambda game: game.events())
    return SimpleNamespace(dataset=MemoryDataset, oracle=Oracle)
