"""Two runs on the same frames: paired, refused where they are not, and honest about what could have been seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from memory_games import naive, read_from_memory
from test_result import LENGTHS, SETTINGS, Page, make_run, memory_dataset, tiny

from worldmodel.errors import WrongUse
from worldmodel.evaluation import bootstrap, suite
from worldmodel.evaluation import compare as room
from worldmodel.evaluation.compare import Side
from worldmodel.evaluation.result_file import RESULT_FILE
from worldmodel.evaluation.subject import of_run
from worldmodel.evaluation.suite import Settings
from worldmodel.models.base import WorldModel
from worldmodel.runs.folder import RunFolder

FEW = replace(SETTINGS, num_rollouts=7, num_long=0, num_per_event=0, reference=False)
"""Where only the comparison's rules are at stake."""


def evaluated(root: Path, model: WorldModel, settings: Settings = FEW, **data: Any) -> RunFolder:
    root.mkdir(exist_ok=True)
    run = make_run(root, model)
    suite.evaluate(of_run(run), memory_dataset(**data), settings, quiet=True)
    return run


def side(root: Path, model: WorldModel, settings: Settings = FEW, **data: Any) -> Side:
    return room.read_side(evaluated(root, model, settings, **data).report)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """A: nothing moves. B: bodies keep their velocities. Evaluated once for all tests that only read them."""
    root = tmp_path_factory.mktemp("sides")
    with pytest.MonkeyPatch.context() as patch:
        read_from_memory(patch)
        yield (
            side(root / "a", naive("copy_last"), replace(SETTINGS, num_rollouts=28)),
            side(root / "b", naive("ballistic"), replace(SETTINGS, num_rollouts=28)),
        )


def test_differences_are_those_of_the_baselines_in_one_result(sides: tuple[Side, Side]) -> None:
    """The result of B already holds its difference to copy-last, as a baseline, on the same draws."""
    a, b = sides
    found = room.compare(a, b)
    rows = {row["name"]: row for row in found["measures"]}
    step = b.json["teacher_forced"]["differences"]["copy_last"]
    for name in ("pos_mae", "change_acc", "exact"):
        assert rows[f"step/{name}"]["difference"] == pytest.approx(step[name])
    curves = b.json["closed_loop"]["differences"]["copy_last"]
    for frames in (1, 20):
        gap = rows[f"uniform/pos_mae@{frames}"]["difference"]
        assert gap["value"] == pytest.approx(curves["pos_mae"]["value"][frames - 1])
        assert gap["low"] == pytest.approx(curves["pos_mae"]["low"][frames - 1])
    assert rows["uniform/pos_mae@20"]["a"]["value"] == a.json["closed_loop"]["models"]["model"]["pos_mae"]["value"][19]
    assert len(found["headlines"]) == len(a.json["headlines"])
    assert sum(found["counts"].values()) == sum(row["better"] != "neither" for row in found["measures"])


def test_swapping_the_runs_swaps_the_verdicts(sides: tuple[Side, Side]) -> None:
    one, other = room.compare(*sides)["measures"], room.compare(*sides[::-1])["measures"]
    mirrored = {"better": "worse", "worse": "better"}
    assert "worse" in {row["verdict"] for row in one}
    for row, back in zip(one, other, strict=True):
        assert back["verdict"] == mirrored.get(row["verdict"], row["verdict"]), row["name"]
        if row["difference"]["value"] is not None:
            assert back["difference"]["value"] == -row["difference"]["value"]
        assert back["smallest_detectable"] == pytest.approx(row["smallest_detectable"])


def test_a_run_does_not_differ_from_itself(sides: tuple[Side, Side]) -> None:
    found = room.compare(sides[1], sides[1])
    assert found["same_weights"]
    assert {row["verdict"] for row in found["measures"]} <= {"undecided", "unknown"}
    assert all(row["smallest_detectable"] is None for row in found["measures"])


@pytest.mark.parametrize(
    ("settings", "data", "told"),
    [
        (replace(FEW, seed=1), {}, "starts"),
        (replace(FEW, num_rollouts=5), {}, "setting num_rollouts 7 and 5"),
        (FEW, {"lengths": [*LENGTHS[:-1], 48]}, "starts"),
        (replace(FEW, max_frames=50), {}, "setting max_frames"),
    ],
)
def test_other_data_starts_or_settings_are_refused(
    in_memory: SimpleNamespace, tmp_path: Path, settings: Settings, data: dict[str, Any], told: str
) -> None:
    a = side(tmp_path / "a", naive("copy_last"))
    b = side(tmp_path / "b", naive("copy_last"), settings, **data)
    with pytest.raises(WrongUse, match=told) as refused:
        room.compare(a, b)
    assert "--data" in str(refused.value)


def test_runs_of_other_windows_are_compared_in_rollouts_alone(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    """Starts do not depend on how much a model is shown before them."""
    a = side(tmp_path / "a", naive("copy_last"))
    b = side(tmp_path / "b", naive("copy_last"), replace(FEW, length=6, burn_in=1))
    found = room.compare(a, b)
    assert "one step ahead is left out" in found["notes"][0]
    names = {row["name"] for row in found["measures"]}
    assert not any(name.startswith("step/") for name in names)
    assert "uniform/rc_5" in names


def test_losses_of_other_heads_are_left_out(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    from worldmodel.models.base import make_model

    card = make_model({"arch": "mlp", "heads": "card", "context_len": 2, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8})
    found = room.compare(side(tmp_path / "a", tiny()), side(tmp_path / "b", card))
    assert any(note.startswith("losses are left out") for note in found["notes"])
    names = {row["name"] for row in found["measures"]}
    assert "step/pos_mae" in names
    assert not any(name.startswith("step/loss/") for name in names)


def test_torn_and_foreign_results_are_refused_in_one_line(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "a", naive("copy_last"))
    path = run.report / RESULT_FILE
    whole = path.read_text()
    for text, told in (
        ("garbage", "no JSON"),
        ("[]", "version None"),
        (json.dumps(json.loads(whole) | {"result_version": 1}), "version 1"),
        (json.dumps({key: value for key, value in json.loads(whole).items() if key != "files"}), "names no sums"),
    ):
        path.write_text(text)
        with pytest.raises(WrongUse, match=told):
            room.read_side(run.report)
    path.write_text(whole)
    (run.report / suite.SUMS_FILE).unlink()
    with pytest.raises(WrongUse, match="sums"):
        room.read_side(run.report)
    path.unlink()
    with pytest.raises(WrongUse, match=r"no .*result\.json"):
        room.read_side(run.report)


def test_the_page_says_what_the_json_says(sides: tuple[Side, Side], tmp_path: Path) -> None:
    found = room.compare(*sides)
    data, html = room.write(found, tmp_path)
    stored = json.loads(data.read_text())
    assert stored == json.loads(json.dumps(found, allow_nan=False))
    rows = {row["name"]: row for row in stored["measures"]}
    page = Page(html.read_text())
    assert page.open == []
    assert not page.outside
    assert len(page.values) >= 4 * len(stored["headlines"])
    for cell in page.values:
        row = rows[cell["data-measure"]]
        expected = {
            "a": row["a"]["value"],
            "b": row["b"]["value"],
            "difference": row["difference"]["value"],
            "detectable": row["smallest_detectable"],
        }[cell["data-side"]]
        assert json.loads(cell["data-value"]) == expected


def test_the_smallest_detectable_effect_is_seen_about_as_often_as_it_says() -> None:
    """Many evaluations of 200 games whose true difference is the one that the formula names: 80 % see it."""
    generator = np.random.default_rng(0)
    num_games, num_trials, noise = 200, 300, 0.3
    effect = room._Z * noise / np.sqrt(num_games)
    ones = np.ones((num_games, num_trials))
    hard = generator.normal(0, 5, (num_games, 1))  # what makes a game hard for both
    a = hard + np.zeros_like(ones)
    b = a + effect + generator.normal(0, noise, ones.shape)
    seen = [gap.low is not None and gap.low > 0 for gap in bootstrap.difference((b, ones), (a, ones), seed=1)]
    assert np.mean(seen) == pytest.approx(room.POWER, abs=0.07)
    spread = bootstrap.spread((b, ones), (a, ones), seed=1)
    assert room._Z * spread.mean() == pytest.approx(effect, rel=0.05)


def test_flushing_subnormals_ends_with_the_evaluation(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    tiny_number = torch.tensor(1e-39)
    side(tmp_path / "a", naive("copy_last"))
    assert (tiny_number * 1.0).item() != 0
