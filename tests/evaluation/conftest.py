"""Evaluation's tests read games from memory, not from a disk."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from memory_games import MemoryDataset, Oracle, read_from_memory


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Evaluation reads blocks from a `MemoryDataset`."""
    read_from_memory(monkeypatch)
    return SimpleNamespace(dataset=MemoryDataset, oracle=Oracle)
