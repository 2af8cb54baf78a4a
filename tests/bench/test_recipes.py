"""The ladder of recipes: every rung is an experiment that loads, and the page says what is filed."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from worldmodel.training.config import load_experiment

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "benchmarks" / "recipes"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """search.py and page.py."""
    monkeypatch.setattr(sys, "path", [str(RECIPES), *sys.path])
    return importlib.import_module("search"), importlib.import_module("page")


def test_every_rung_is_another_experiment(scripts: tuple[ModuleType, ModuleType]) -> None:
    search, _ = scripts
    found = {}
    for name, rung in search.RUNGS.items():
        experiment = load_experiment(RECIPES / "card.yaml", overrides=search.overrides_of(name))
        if rung.on is not None:
            assert experiment != found[rung.on], f"{name} changes nothing"
        found[name] = experiment
    assert found["card"].scheduled_sampling is not None
    assert found["card"].model.heads == "card"


def test_the_page_is_of_the_filed_results(scripts: tuple[ModuleType, ModuleType]) -> None:
    """`docs/results.md` is written, not typed."""
    _, page = scripts
    file = sorted((ROOT / "benchmarks" / "results").glob("recipes_*.json"))[-1]
    told = json.loads(file.read_text(encoding="utf-8"))
    written = page.page(told, file.relative_to(ROOT).as_posix())
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == written
    for rung in told["rungs"].values():
        assert all(of["data"]["held_out"] for of in rung["seeds"].values())
