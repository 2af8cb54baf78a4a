"""What is measured: a run's weights, or those of a release, whose numbers anyone can make again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_result import SETTINGS, make_run, memory_dataset, tiny

from worldmodel.cli import main
from worldmodel.errors import WrongUse
from worldmodel.evaluation import suite
from worldmodel.evaluation.subject import RELEASED, RESULT_FILE, WEIGHTS_FILE, of_release, of_run, settings_of
from worldmodel.models.base import save_weights


@pytest.fixture
def release(in_memory: SimpleNamespace, tmp_path: Path) -> Path:
    """A run's weights and their evaluation."""
    run = make_run(tmp_path / "runs", tiny())
    suite.evaluate_run(run, memory_dataset(), SETTINGS, quiet=True)
    folder = tmp_path / "release"
    folder.mkdir()
    shutil.copy(run.newest_checkpoint()[0].weights, folder / WEIGHTS_FILE)
    shutil.copy(run.report / RESULT_FILE, folder)
    return folder


def test_a_release_measured_again_has_its_own_numbers(release: Path, tmp_path: Path) -> None:
    subject, before = of_release(release, tmp_path / "deep" / "report")
    assert settings_of(before) == SETTINGS
    again = suite.evaluate(subject, memory_dataset(), settings_of(before), quiet=True)
    assert again.json["headlines"] == before["headlines"]
    assert again.json["weights"] == before["weights"]
    assert (tmp_path / "deep" / "report" / "index.html").is_file()


def test_numbers_of_other_weights_are_refused(release: Path, tmp_path: Path) -> None:
    save_weights(tiny(), release / WEIGHTS_FILE)
    with pytest.raises(WrongUse, match=r"result\.json is of weights .* expected of those beside it"):
        of_release(release, tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, RESULT_FILE])
def test_half_a_release_is_none(release: Path, tmp_path: Path, name: str) -> None:
    (release / name).unlink()
    with pytest.raises(WrongUse, match=f"no {name} in"):
        of_release(release, tmp_path)


def test_a_run_says_what_it_was_trained_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny(), content_hash="abc", step=9)
    subject = of_run(run, ema=False)
    assert (subject.name, subject.step, subject.trained_on, subject.report) == (run.id, 9, "abc", run.report)
    with pytest.raises(WrongUse, match="no running mean"):
        of_run(run, ema=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no run; expected one of the two"),
        (("somewhere", "--released"), "somewhere and --released"),
        (("--released",), "no --data"),
        (("--released", "--rollouts", "5"), "--rollouts with a release"),
        (("--released", "--ema"), "--ema with a release"),
    ],
)
def test_wrong_use(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_what_ships_is_a_release(tmp_path: Path) -> None:
    subject, before = of_release(RELEASED, tmp_path)
    assert subject.sha256 == json.loads((RELEASED / "codec.json").read_text())["model"]["weights_sha256"]
    assert before["data"]["held_out"]
    assert before["settings"]["num_rollouts"] >= 1000
