"""The short form of a scripted night (`benchmarks/night.py` has all of it): real trainings, really hurt."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from night_grounds import Grounds, make_dataset
from nights import SCENARIOS, Row, play

from worldmodel.runs.folder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and /proc of Linux"),
]
SHORT = (
    "kill -9 of launcher and supervisor, then of the worker",
    "writing fails for a while as on a full disk",
    "the loss is no number; the card has a fallback",
    "a step hangs",
    "one of a team of two is killed",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("night"))


def test_a_short_night(data: Path, tmp_path: Path) -> None:
    """Nothing is lost beyond the interval of checkpoints, and the reason on each card is the true one."""
    assert set(SHORT) <= SCENARIOS.keys()
    first = play("left alone", Grounds(tmp_path / "reference", data), None)
    assert first.state == "as it must be", first
    reference = RunFolder(tmp_path / "reference/runs/night")

    def one(numbered: tuple[int, str]) -> Row:
        number, name = numbered
        return play(name, Grounds(tmp_path / str(number), data), reference)

    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(one, enumerate(SHORT)))
    assert [row for row in rows if row.state != "as it must be"] == []
