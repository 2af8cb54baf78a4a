"""What the documents say is there, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worldmodel.cli import make_app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
APP = make_app()
VERBS = {command.name for command in [*APP.registered_commands, *APP.registered_groups]}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_verbs_exist(document: Path) -> None:
    for verb in re.findall(
        r"worldmodel ([a-z]+)\b(?=[^\n]*[`$])", " ".join(re.findall(r"`[^`\n]+`", document.read_text()))
    ):
        assert verb in VERBS, f"{document.name} speaks of worldmodel {verb}"


def test_every_verb_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert {verb for verb in VERBS if f"worldmodel {verb}" not in guide} == set()


def test_python_of_the_guide_runs(tmp_path: Path) -> None:
    """Every Python block of the guide, on a small generated dataset."""
    from worldmodel.dataset.ingest import ingest
    from worldmodel.replays.source import iter_sources
    from worldmodel.replays.synth.game import Rules
    from worldmodel.replays.synth.generate import write_games

    pytest.importorskip("duckdb")
    pytest.importorskip("polars")
    write_games(tmp_path / "replays", 2, 0, rules=Rules(stocks=4, max_frames=1850))
    ingest(iter_sources([tmp_path / "replays"]), tmp_path / "dataset", workers=1)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guide.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block.replace('"dataset"', repr(str(tmp_path / "dataset"))), "guide.md", "exec"), {})


def test_every_benchmark_is_listed() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "benchmarks").glob("*.py") if f"`{path.name}`" not in listed] == []
