"""What is measured: a run's weights, or those of a release, whose numbers anyone can make again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_result import SETTINGS, make_run, memory_dataset, tiny

from worldmodel.cli import main
from worldmodel.errors import WrongUse
from worldmodel.evaluation import suite
from worldmodel.evaluation.result_file import RESULT_FILE, read_result, reproduction
from worldmodel.evaluation.subject import RELEASED, WEIGHTS_FILE, of_release, of_run, settings_of
from worldmodel.models.base import save_weights


@pytest.fixture
def release(in_memory: SimpleNamespace, tmp_path: Path) -> Path:
    """A run's weights and their evaluation."""
    run = make_run(tmp_path / "runs", tiny())
    suite.evaluate(of_run(run), memory_dataset(), SETTINGS, quiet=True)
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is of version None"),
        ('{"result_version": 1}', "is of version 1"),
        ('{"result_version": 3, "run": "r", "weights": [], "data": {}}', "weights: Input should be"),
    ],
)
def test_a_release_whose_result_is_damaged_is_one_line(release: Path, tmp_path: Path, text: str, said: str) -> None:
    (release / RESULT_FILE).write_text(text)
    with pytest.raises(WrongUse, match=said) as told:
        of_release(release, tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "place",
    [
        "run", "weights", "weights.sha256", "weights.ema", "data.content_hash", "data.held_out", "data.split",
        "settings", "settings.num_rollouts", "starts.digest", "headlines", "headlines.0.name", "headlines.0.models",
        "headlines.0.models.model.value",
    ],
)  # fmt: skip
@pytest.mark.parametrize("becomes", ["gone", "another type"])
def test_a_result_that_lacks_what_is_read_is_one_line(release: Path, tmp_path: Path, place: str, becomes: str) -> None:
    whole = json.loads((release / RESULT_FILE).read_text())
    *way, last = place.split(".")
    at = whole
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if becomes == "gone":
        del at[last]
    else:
        at[last] = {"no": "such"} if isinstance(at[last], str) else "no such"
    (release / RESULT_FILE).write_text(json.dumps(whole))
    with pytest.raises(WrongUse, match=last) as told:
        settings_of(of_release(release, tmp_path)[1])
    assert "\n" not in str(told.value)


def test_what_came_out_again(release: Path) -> None:
    whole = read_result(release / RESULT_FILE)
    rows = whole["headlines"]
    assert reproduction(whole, whole).moved == {}
    assert reproduction(whole, whole).is_same_data

    def with_first(value: float | None) -> dict[str, Any]:
        model = rows[0]["models"]["model"] | {"value": value}
        return whole | {"headlines": [rows[0] | {"models": {"model": model}}, *rows[1:]]}

    value, name = 0.5, rows[0]["name"]
    then = with_first(value)
    assert reproduction(then, with_first(value * 1.00001)).moved == {}
    for other in (value * 1.01, None):
        again = reproduction(then, with_first(other))
        assert again.moved == {name: (value, other)}
        assert again.num_reproduced == again.num - 1
    gone = reproduction(then, then | {"headlines": rows[1:]})
    assert gone.moved == {name: (value, None)}, "a number that is no longer there did not come out again"
    assert not reproduction(then, then | {"data": then["data"] | {"split": "unseen"}}).is_same_data


def test_a_report_never_lands_among_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "runs", tiny())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    for out in ("mine", "mine/index.html"):
        assert main(["eval", str(run.path), "--out", str(tmp_path / out)]) == 2
        told = capsys.readouterr().err
        assert "holds something else" in told
        assert told.count("\n") == 1
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_games_that_are_not_held_out_have_reports_of_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny())
    assert of_run(run).report == run.report
    assert {of_run(run, split=split).report.name for split in ("val", "unseen", "train")} == {
        "report", "report-unseen", "report-train"
    }  # fmt: skip


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
