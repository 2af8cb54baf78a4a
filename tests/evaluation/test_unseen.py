"""Games that were not learned from: all of a new dataset, and what is left of an old one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_result import SETTINGS, make_run, tiny

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout, suite
from worldmodel.evaluation.subject import of_run
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.runs.folder import RunFolder

QUICK = replace(SETTINGS, num_rollouts=6, num_long=0, num_per_event=0, reference=False, num_forks=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("unseen")
    write_games(folder / "replays", 8, 3, rules=Rules(max_frames=200))
    ingest(iter_sources([folder / "replays"]), folder / "dataset", filters=(), min_frames=1, workers=1)
    return open_dataset(folder / "dataset")


def run_that_learned(root: Path, marks: list[str] | None) -> RunFolder:
    run = make_run(root, tiny())
    if marks is not None:
        run.games.write_text("".join(f"{mark}\n" for mark in marks))
    return run


def test_all_but_what_was_learned(dataset: Dataset, tmp_path: Path) -> None:
    marks = heldout.marks(dataset, dataset.rows())
    assert len(set(marks)) == dataset.num_games
    found = suite.evaluate(of_run(run_that_learned(tmp_path, marks[:3])), dataset, QUICK, split="unseen", quiet=True)
    told = found.json["data"]
    assert (told["num_games"], told["split"], told["held_out"]) == (dataset.num_games - 3, "unseen", True)
    assert found.json["warnings"] == []


def test_nothing_is_left(dataset: Dataset, tmp_path: Path) -> None:
    run = run_that_learned(tmp_path, heldout.marks(dataset, dataset.rows()))
    with pytest.raises(WrongUse, match=r"all 8 games .* were learned from"):
        suite.evaluate(of_run(run), dataset, QUICK, split="unseen", quiet=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no line"),
        ("some words\n", "has a line 'some words'"),
        ("0123456789abcdef\n0123\n", "'0123'"),
    ],
)
def test_what_was_learned_is_known_whole_or_not_at_all(tmp_path: Path, text: str, said: str) -> None:
    run = make_run(tmp_path, tiny())
    run.games.write_text(text)
    with pytest.raises(WrongUse, match=said):
        of_run(run)


def test_a_run_that_does_not_tell(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="do not tell which games they learned from"):
        suite.evaluate(of_run(run_that_learned(tmp_path, None)), dataset, QUICK, split="unseen", quiet=True)
