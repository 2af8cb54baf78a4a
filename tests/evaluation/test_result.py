"""From sums to verdicts, canaries, and a page that says exactly what the JSON says."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from memory_games import MemoryDataset, Oracle, naive

from worldmodel.dynamics.objective import GROUPS
from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout, result, suite
from worldmodel.evaluation import page as page_room
from worldmodel.evaluation.bootstrap import Estimate
from worldmodel.evaluation.metrics import METRICS
from worldmodel.evaluation.result_file import RESULT_FILE
from worldmodel.evaluation.subject import of_run
from worldmodel.evaluation.suite import Settings
from worldmodel.models.base import WorldModel, make_model, save_weights
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.schema import LAYOUT
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.schema.events import EVENTS

SETTINGS = Settings(
    length=8,
    burn_in=3,
    weights=dict.fromkeys(GROUPS, 1.0),
    num_rollouts=14,
    horizon=20,
    num_long=7,
    long_horizon=30,
    num_per_event=4,
    earliest=3,
)
LENGTHS = [60, 50, 70, 44, 52, 61, 47]


def make_run(root: Path, model: WorldModel, *, content_hash: str | None = "c0ffee", step: int = 7) -> RunFolder:
    run = RunFolder.create(root, experiment="test")
    atomic.write_text(run.config, "experiment: test\n")
    atomic.write_json(run.provenance, {"dataset": {"content_hash": content_hash}})
    with run.new_checkpoint(step, {}) as checkpoint:
        save_weights(model, checkpoint.weights)
    return run


def memory_dataset(lengths: list[int] = LENGTHS) -> Any:
    dataset = MemoryDataset(lengths)
    dataset.manifest = SimpleNamespace(store_hash=LAYOUT.store_hash)  # type: ignore[attr-defined]
    return dataset


def evaluated(model: WorldModel, dataset: Any) -> dict[str, Any]:
    return suite.evaluate_model(model, dataset, heldout.choose_games(dataset), SETTINGS, quiet=True).json


def tiny() -> WorldModel:
    return make_model({"arch": "mlp", "context_len": 2, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8})


# ---- verdicts ----


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("better", "against", "expected"),
    [
        ("lower", [between(-2, -1), between(-3, -0.1)], "beats"),
        ("lower", [between(-2, -1), between(-3, 0.1)], "undecided"),
        ("lower", [between(-2, -1), between(0.1, 0.2)], "loses"),
        ("higher", [between(0.1, 0.2)], "beats"),
        ("higher", [between(-0.2, -0.1), between(0.1, 0.2)], "loses"),
        ("higher", [between(0.0, 0.2)], "undecided"),
        ("higher", [between(0.1, 0.2), Estimate(0.5, None, None, "4 games")], "unknown"),
        ("higher", [], "unknown"),
    ],
)
def test_a_verdict_needs_the_whole_interval_against_every_baseline(
    better: str, against: list[Estimate], expected: str
) -> None:
    assert result.verdict(better, against) == expected


# ---- the whole, on games in memory ----


def test_the_oracle_beats_every_baseline(in_memory: SimpleNamespace) -> None:
    dataset = memory_dataset()
    found = evaluated(Oracle(dataset), dataset)
    beaten = {row["name"]: row["verdict"] for row in found["headlines"]}
    assert set(beaten.values()) == {"beats"}, beaten
    impossible = found["closed_loop"]["impossible"]["model"]
    assert found["tiers"]["reached"] == "indistinguishable"
    assert found["tiers"]["next"] is None
    for event in found["closed_loop"]["events"]:
        if event["recall"]["models"]["model"]["value"] is not None:
            assert event["recall"]["models"]["model"]["value"] == event["precision"]["models"]["model"]["value"] == 1
            assert event["start_recall"]["models"]["model"]["value"] == (1 if event["num_starts"] else None)
        rates = event["per_minute"]["models"]
        assert rates["model"] == rates["truth"]
    for row in found["closed_loop"]["contradictions"]:
        assert row["models"]["model"] == row["models"]["truth"]
    assert found["closed_loop"]["long"]["survival"]["near"]["mean_frames"]["models"]["model"]["value"] == 30
    assert set(impossible.values()) == {0.0}
    json.dumps(found, allow_nan=False)


def test_a_baseline_does_not_beat_itself_and_a_frozen_field_is_told(in_memory: SimpleNamespace) -> None:
    dataset = memory_dataset()
    found = evaluated(naive("copy_last"), dataset)
    assert "beats" not in {row["verdict"] for row in found["headlines"]}
    canaries = result.canaries(found["teacher_forced"], found["closed_loop"])
    told = [text for text in canaries if text.startswith("equal to the last digit to copy_last:")]
    assert len(told) == 1
    assert "pos_mae" in told[0]
    assert "velocity_mae" not in told[0], "velocities are frozen in both baselines, so they are told with both"
    both = [text for text in canaries if text.startswith("equal to the last digit to ballistic and copy_last:")]
    assert "velocity_mae" in both[0]
    assert "in rollouts, pos_mae is that of copy_last: is the field frozen?" in canaries


def test_an_exact_zero_where_baselines_err_is_told() -> None:
    def estimates(value: float) -> dict[str, Any]:
        return {metric.name: result.as_json(Estimate(0.25, None, None)) for metric in METRICS} | {
            "velocity_mae": result.as_json(Estimate(value, None, None))
        }

    def canaries(value: float, other: float) -> list[str]:
        step = {"models": {"model": estimates(value), "copy_last": estimates(other)}}
        return [text for text in result.canaries(step, None) if "velocity_mae" in text]

    assert canaries(0.0, 0.5) == ["velocity_mae is exactly 0, while a baseline's is not"]
    assert canaries(0.0, 0.0) == []
    assert canaries(0.4, 0.5) == []
    assert len(canaries(0.5, 0.5)) == 1


def test_stages_and_characters_add_up(in_memory: SimpleNamespace) -> None:
    """Each table's rows, weighted by their counts, give the overall number."""
    dataset = memory_dataset()
    found = evaluated(naive("ballistic"), dataset)
    step = found["teacher_forced"]
    overall = step["models"]["model"]["pos_mae"]["value"]
    for key in ("by_stage", "by_character"):
        rows = step[key]
        total = sum(row["num_player_frames"] for row in rows)
        assert total == 2 * step["num_frames"]
        mean = sum(row["num_player_frames"] * row["models"]["model"]["pos_mae"] for row in rows) / total
        assert mean == pytest.approx(overall)
    assert sum(row["num_games"] for row in step["by_stage"]) == len(LENGTHS)


def test_few_games_give_no_verdict(in_memory: SimpleNamespace) -> None:
    dataset = memory_dataset([60, 60])
    found = evaluated(Oracle(dataset), dataset)
    assert {row["verdict"] for row in found["headlines"]} == {"unknown"}
    assert "2 games" in found["headlines"][0]["models"]["model"]["reason"]


# ---- a run on disk ----


def test_a_run_is_evaluated_and_its_report_says_what_the_json_says(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    dataset = memory_dataset()
    run = make_run(tmp_path, tiny())
    found = suite.evaluate(of_run(run), dataset, SETTINGS, quiet=True)
    stored = json.loads((run.report / RESULT_FILE).read_text())
    assert stored == json.loads(json.dumps(found.json))
    assert stored["weights"]["sha256"] == run.newest_checkpoint()[0].meta["files"]["weights.safetensors"]
    assert stored["data"]["content_hash"] == "c0ffee"
    assert stored["data"]["is_the_training_dataset"] is True
    assert stored["data"]["held_out"] is True
    assert stored["warnings"] == []
    assert found.beats_baselines is False
    summary = json.loads(json.dumps(found.summary, allow_nan=False))
    assert [row["name"] for row in summary["headlines"]] == [row["name"] for row in stored["headlines"]]
    assert set(summary["headlines"][0]["baselines"]) == {"copy_last", "ballistic"}
    assert Path(summary["report"]).is_file()

    page = Page((run.report / suite.REPORT_FILE).read_text())
    assert page.open == [], "tags left open"
    assert not page.outside, "the page needs another host"
    step = stored["teacher_forced"]["models"]
    headlines = {row["name"]: row["models"] for row in stored["headlines"]}
    groups = {
        row["name"]: row["models"]["model"]
        for key in ("by_stage", "by_character")
        for row in stored["teacher_forced"][key]
    }
    events = {row["name"]: row for row in stored["closed_loop"]["events"]}
    contradictions = {row["name"]: row for row in stored["closed_loop"]["contradictions"]}
    limits = {f"{row['curve']}@{row['frames']}": row["value"] for row in stored["tiers"]["limits"]}
    counted = {"headline": 0, "metric": 0, "group": 0, "event": 0, "contradiction": 0, "tier": 0, "tile": 0}
    for cell in page.values:
        if "data-event" in cell:
            expected = events[cell["data-event"]][cell["data-what"]]["models"][cell["data-model"]]["value"]
            counted["event"] += 1
        elif "data-contradiction" in cell:
            expected = contradictions[cell["data-contradiction"]]["models"][cell["data-model"]]["value"]
            counted["contradiction"] += 1
        elif "data-tier" in cell:
            expected = limits[cell["data-tier"]]
            counted["tier"] += 1
        elif "data-tile" in cell:
            expected = tile(stored, cell["data-tile"])
            counted["tile"] += 1
        elif "data-headline" in cell:
            expected = headlines[cell["data-headline"]][cell["data-model"]]["value"]
            counted["headline"] += 1
        elif "data-group" in cell:
            expected = groups[cell["data-group"]][cell["data-metric"]]
            counted["group"] += 1
        else:
            expected = step[cell["data-model"]][cell["data-metric"]]["value"]
            counted["metric"] += 1
        assert json.loads(cell["data-value"]) == expected
    assert counted["headline"] == 3 * len(headlines)
    assert counted["metric"] == 3 * len(METRICS)
    assert counted["group"] == 6 * len(groups)
    assert counted["event"] == 8 * len(EVENTS)
    assert counted["contradiction"] == 4 * len(CONTRADICTIONS)
    assert counted["tier"] == len(limits)
    assert counted["tile"] >= 4
    assert page.svgs >= 8 + 2 * len(stored["closed_loop"]["examples"])


def tile(result: dict[str, Any], key: str) -> float:
    loop = result["closed_loop"]
    if key == "near":
        return loop["long"]["survival"]["near"]["mean_frames"]["models"]["model"]["value"]
    curve, _, frames = key.partition("@")
    if frames:
        return loop["models"]["model"][curve]["value"][int(frames) - 1]
    return next(row for row in loop["events"] if row["name"] == key)["recall"]["models"]["model"]["value"]


def test_what_is_shown_is_the_number_rounded(in_memory: SimpleNamespace) -> None:
    assert page_room.number(0.7671, "share") == "76.7\N{NO-BREAK SPACE}%"
    assert page_room.number(0.99987, "share") == "99.99\N{NO-BREAK SPACE}%"
    assert page_room.number(1.0, "share") == "100.0\N{NO-BREAK SPACE}%"
    assert page_room.number(0.51234, "game units") == "0.512"
    assert page_room.number(12345.6, "game units") == "12,300"
    assert page_room.number(0.0002, "share") == "0.02\N{NO-BREAK SPACE}%"
    assert page_room.number(0.0, "share") == "0\N{NO-BREAK SPACE}%"
    assert page_room.number(-0.0125, "points") == "-1.25\N{NO-BREAK SPACE}pp"
    assert page_room.number(0.26, "game units") == "0.260"
    assert page_room.number(104.6, "game units") == "105"
    assert page_room.number(0.0, "game units") == "0"
    assert page_room.number(None, "share") == "–"


def test_training_games_are_said_loudly(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    dataset = memory_dataset()
    run = make_run(tmp_path, tiny())
    with pytest.raises(WrongUse, match="held-out"):
        suite.evaluate(of_run(run), dataset, SETTINGS, split="train", quiet=True)
    assert not run.report.exists(), "a refusal writes nothing"
    found = suite.evaluate(of_run(run), dataset, SETTINGS, split="train", allow_train=True, quiet=True)
    assert found.json["warnings"][0].startswith("TRAINING GAMES")
    assert found.json["data"]["held_out"] is False
    assert "TRAINING GAMES" in (run.report / suite.REPORT_FILE).read_text()


def test_other_schemas_and_runs_without_weights_are_refused(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny())
    dataset = memory_dataset()
    dataset.manifest.store_hash = "other"
    with pytest.raises(WrongUse, match="stored by schema other"):
        suite.evaluate(of_run(run), dataset, SETTINGS, quiet=True)
    run.drop_checkpoints(set())
    with pytest.raises(WrongUse, match="no usable checkpoint"):
        suite.evaluate(of_run(run), memory_dataset(), SETTINGS, quiet=True)
    with pytest.raises(WrongUse, match="no folder"):
        suite.evaluate(of_run(tmp_path / "nothing"), memory_dataset(), SETTINGS, quiet=True)


def test_games_that_are_too_short_are_refused(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="has 6 frames"):
        suite.evaluate(of_run(make_run(tmp_path, tiny())), memory_dataset([5, 6]), SETTINGS, quiet=True)


def test_without_room_for_rollouts_there_are_none_and_the_page_says_so(
    in_memory: SimpleNamespace, tmp_path: Path
) -> None:
    run = make_run(tmp_path, tiny())
    found = suite.evaluate(of_run(run), memory_dataset([15] * 6), SETTINGS, quiet=True)
    assert found.json["tiers"] is None
    assert found.json["closed_loop"] is None
    assert "no game is long enough" in (run.report / suite.REPORT_FILE).read_text()


def test_numbers_that_did_not_move_with_the_weights_are_told(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    dataset = memory_dataset()
    run = make_run(tmp_path, tiny())
    first = suite.evaluate(of_run(run), dataset, SETTINGS, quiet=True).json
    again = suite.evaluate(of_run(run), dataset, SETTINGS, quiet=True).json
    assert not any("earlier result" in text for text in again["canaries"]), "the same weights may give the same numbers"
    stale = dict(first["weights"], sha256="another")
    atomic.write_json(run.report / RESULT_FILE, first | {"weights": stale})
    told = suite.evaluate(of_run(run), dataset, SETTINGS, quiet=True).json
    assert any("earlier result of other weights" in text for text in told["canaries"])


def test_the_same_evaluation_twice_gives_the_same_numbers(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny())
    keys = ("headlines", "teacher_forced", "closed_loop")
    one, other = (suite.evaluate(of_run(run), memory_dataset(), SETTINGS, quiet=True).json for _ in range(2))
    assert [one[key] for key in keys] == [other[key] for key in keys]


def test_losses_of_models_with_other_heads_are_not_compared(in_memory: SimpleNamespace) -> None:
    dataset = memory_dataset()
    card = make_model({"arch": "mlp", "heads": "card", "context_len": 2, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8})
    found = evaluated(card, dataset)
    models = found["teacher_forced"]["models"]
    assert models["model"]["loss/total"]["value"] is not None
    assert models["copy_last"]["loss/total"]["value"] is None
    assert "other heads" in models["copy_last"]["loss/total"]["reason"]


def test_a_model_that_gives_no_numbers_is_reported_not_hidden(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    import torch

    model = tiny()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    run = make_run(tmp_path, model)
    found = suite.evaluate(of_run(run), memory_dataset(), SETTINGS, quiet=True).json
    assert "loss/total is not finite" in found["canaries"]
    assert found["teacher_forced"]["models"]["model"]["loss/total"]["reason"] == "not finite"
    Page((run.report / suite.REPORT_FILE).read_text())


class Page(HTMLParser):
    """Cells with values, open tags and addresses of other hosts of a page."""

    VOID = frozenset({"meta", "br", "line", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.values: list[dict[str, str]] = []
        self.outside: list[str] = []
        self.svgs = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in self.VOID:
            self.open.append(tag)
        if "data-value" in given:
            self.values.append(given)
        self.svgs += tag == "svg"
        self.outside += [value for value in given.values() if "//" in value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def test_curves_have_the_horizon_and_intervals_hold_the_value(in_memory: SimpleNamespace) -> None:
    dataset = memory_dataset()
    found = evaluated(naive("ballistic"), dataset)
    loop = found["closed_loop"]
    for curve in loop["models"]["model"].values():
        values, low, high = (np.array(curve[key], dtype=float) for key in ("value", "low", "high"))
        assert len(values) == len(low) == len(high) == SETTINGS.horizon
        assert (low <= values + 1e-12).all()
        assert (values <= high + 1e-12).all()
    assert [row["frames"] for row in loop["coherence"]] == [5, 10, 20]


def test_a_short_horizon_has_no_number_for_a_longer_one(in_memory: SimpleNamespace, tmp_path: Path) -> None:
    settings = replace(SETTINGS, num_rollouts=7, horizon=6)
    found = suite.evaluate(of_run(make_run(tmp_path, tiny())), memory_dataset(), settings, quiet=True).json
    names = [row["name"] for row in found["headlines"]]
    assert [name for name in names if name.startswith("RC") and "reference" not in name] == ["RC 5"]
    assert "pos_distance@6" in names
