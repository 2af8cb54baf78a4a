"""The mission's dataset by its counts, made once; and a small real one."""

from __future__ import annotations

from pathlib import Path

import pytest
from mission import mission_lengths, write_counts

from worldmodel.cards.data import DataFacts, data_facts


@pytest.fixture(scope="session")
def mission_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_counts(tmp_path_factory.mktemp("mission") / "dataset", *mission_lengths())


@pytest.fixture(scope="session")
def mission_data(mission_dataset: Path) -> DataFacts:
    return data_facts(mission_dataset)
