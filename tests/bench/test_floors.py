"""The table of floors: written from what is filed, and honest about what is not."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def floors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return importlib.import_module("floors")


def test_the_page_is_of_the_filed_lines(floors: ModuleType) -> None:
    """`docs/floors.md` is written, not typed."""
    assert (ROOT / "docs" / "floors.md").read_text(encoding="utf-8") == floors.page(list(floors.filed())) + "\n"


def test_every_floor_of_this_hardware_is_filed(floors: ModuleType) -> None:
    """Whether it is kept, the page says: a slow hour of the machine is no failure of a test."""
    lines = list(floors.filed())
    for floor in floors.FLOORS:
        line = floors.newest(floor, lines)
        assert line is not None or floor.hardware != "cpu", floor.what


def test_every_script_is_there(floors: ModuleType) -> None:
    for floor in floors.FLOORS:
        name = floor.script.split()[0]
        assert name == "`worldmodel" or (ROOT / "benchmarks" / name).is_file(), name


def test_what_is_lost_or_missing_is_told(floors: ModuleType, tmp_path: Path) -> None:
    store = next(floor for floor in floors.FLOORS if floor.benchmark == "store")
    for day, num in (("20261101", 130), ("20261102", 150)):
        told = json.dumps({"benchmark": "store", "bytes_per_frame": num, "packed_bytes_per_frame": 13})
        (tmp_path / f"store_cpu9_{day}.md").write_text(f"```\n{told}\n```\n")
    lines = list(floors.filed(tmp_path))
    assert floors.newest(store, lines).date == "2026-11-02", "the newest counts"
    assert "| at most 140 | 150 | **not kept** |" in floors.page(lines)
    assert "nothing is filed" in floors.page(lines)
    assert floors.newest(replace(store, hardware="h200"), lines) is None
