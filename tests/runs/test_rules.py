"""Every kill rule has a run that it stops and a run that it must not stop, and says why.

`records/` holds what three real little trainings wrote: a healthy one with noisy rows (eight windows a step), one that
does not learn (learning rate 1e-9), and one that exploded (learning rate 3).
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.errors import WrongUse
from worldmodel.runs.rulebook import SPECS, Rulebook, check_metrics, read_rules
from worldmodel.runs.rules import RULES, Record, Verdict
from worldmodel.runs.strict import ConfigError

HERE = Path(__file__).parent / "records"


def record(name: str, **more: Any) -> Record:
    rows = {
        file: [json.loads(line) for line in (HERE / name / f"{file}.jsonl").read_text().splitlines()]
        for file in ("metrics", "pace")
    }
    return Record(rows["metrics"], rows["pace"], **more)


def paced(seconds: list[float], *, steps: int = 10, per_epoch: int = 1000, **last: Any) -> Record:
    """A run of intervals of `steps` steps that took so long."""
    pace: list[dict[str, Any]] = [
        {"kind": "pace", "step": (i + 1) * steps, "elapsed_s": s, "memory_gb": 2.0, "eta_low_s": None}
        for i, s in enumerate(seconds)
    ]
    pace[-1] |= last
    return Record([], list(pace), [{"event": "started", "step": 0, "steps_per_epoch": per_epoch}])


def ended(event: str, **more: Any) -> Record:
    healthy = record("healthy")
    healthy.events.append({"event": event, "step": 7, **more})
    return healthy


def climbing() -> Record:
    """The healthy run, backwards."""
    on = record("healthy")
    rows = [row for row in on.metrics if row["kind"] == "train"]
    losses = [row["loss/total"] for row in reversed(rows)]
    return Record([{**row, "loss/total": loss} for row, loss in zip(rows, losses, strict=True)])


HOUR = 3600.0
CASES: list[tuple[str, dict[str, Any], Record, Record]] = [
    # rule, arguments, a run that it stops, a run that it must not stop
    ("below", {"metric": "val_action_state_acc", "threshold": 0.8}, record("diverging"), record("healthy")),
    ("above", {"metric": "loss/total", "threshold": 10.0}, record("diverging"), record("healthy")),
    ("above", {"metric": "val_pos_mae", "threshold": 0.8}, record("diverging"), record("healthy")),
    ("not_decreasing", {"metric": "val_loss/total", "after_epochs": 0.5}, record("flat"), record("healthy")),
    ("not_decreasing", {"metric": "loss/total", "after_epochs": 0.3}, climbing(), record("healthy")),
    ("non_finite", {}, ended("non_finite", message="loss not finite at step 7"), record("diverging")),
    ("out_of_memory", {}, ended("out_of_memory", message="CUDA out of memory"), record("healthy")),
    ("out_of_memory", {}, ended("exited", signal="SIGKILL", out_of_memory=True), ended("exited", signal="SIGKILL")),
    ("out_of_memory", {"limit_gb": 1.5}, paced([1.0]), record("healthy")),
    # 100 intervals an epoch: at 50 s each 1.4 h, at 100 s each 2.8 h.
    ("epoch_longer_than", {"hours": 2.0}, paced([100.0] * 5), paced([50.0] * 5)),
    ("epoch_longer_than", {"hours": 2.0, "projected": False}, paced([100.0] * 80), paced([100.0] * 70)),
    # Two slow intervals (a compilation, a busy disk) are not a slow run.
    ("epoch_longer_than", {"hours": 2.0}, paced([50.0] * 3 + [7200.0]), paced([900.0, 50.0, 900.0, 50.0, 50.0])),
    # The second epoch is judged by its own time.
    ("epoch_longer_than", {"hours": 1.5}, paced([60.0] * 100), paced([50.0] * 150)),
    ("over_budget", {"usd": 5.0, "usd_per_hour": 2.0}, paced([HOUR] * 3), paced([HOUR] * 2)),
    ("over_budget", {"usd": 5.0, "usd_per_hour": 2.0}, paced([HOUR], eta_low_s=5401), paced([HOUR], eta_low_s=5399)),
    ("stale", {"minutes": 10.0}, record("healthy", stale_s=601.0), record("healthy", stale_s=599.0)),
]  # fmt: skip


def judge(name: str, on: Record, **arguments: Any) -> Verdict:
    return SPECS[name].model_validate({"rule": name, **arguments}).judge(on)


@pytest.mark.parametrize(("name", "arguments", "stopped", "left_alone"), CASES)
def test_a_rule_stops_one_run_and_not_another(
    name: str, arguments: dict[str, Any], stopped: Record, left_alone: Record
) -> None:
    fires = judge(name, stopped, **arguments)
    assert (fires.rule, fires.state, fires.nearness) == (name, "fires", 1.0)
    assert fires.reason
    well = judge(name, left_alone, **arguments)
    assert well.state == "ok", well.reason
    assert 0 <= well.nearness < 1
    json.dumps(fires.as_json(), allow_nan=False)


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(RULES) == set(SPECS)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"non_finite", "out_of_memory"}))
def test_a_run_that_has_written_nothing_waits(name: str) -> None:
    given_ = {"below": {"metric": "val_x", "threshold": 1}, "above": {"metric": "x", "threshold": 1}}
    arguments = given_.get(name, {"hours": 1} if name == "epoch_longer_than" else {})
    assert judge(name, Record(), **arguments).state == "waiting"


def test_not_before_its_time() -> None:
    """The card: below 60 % after epoch 1, whatever it was before."""
    early = Record([{"kind": "val", "step": 9, "epoch": 0.9, "val_a": 0.1}])
    assert judge("below", early, metric="val_a", threshold=0.6).state == "waiting"
    early.metrics.append({"kind": "val", "step": 10, "epoch": 1.0, "val_a": 0.7})
    assert judge("below", early, metric="val_a", threshold=0.6).state == "ok"
    early.metrics.append({"kind": "val", "step": 20, "epoch": 2.0, "val_a": 0.59})
    found = judge("below", early, metric="val_a", threshold=0.6)
    assert (found.state, found.at_step, found.value) == ("fires", 20, 0.59)


def test_a_plateau_is_no_reason_and_a_return_is() -> None:
    falling = [3.0, 2.0, 1.5, 1.2, 1.1, 1.05] + [1.0] * 60
    rows = [{"kind": "train", "step": i, "epoch": i / 20, "loss/total": v} for i, v in enumerate(falling)]
    for length in range(2, len(rows)):
        assert judge("not_decreasing", Record(list(rows[:length])), after_epochs=0.1).state != "fires"
    last = rows[-1]["step"]
    rows += [{"kind": "train", "step": last + i, "epoch": (last + i) / 20, "loss/total": 3.1} for i in range(1, 6)]
    assert judge("not_decreasing", Record(list(rows)), after_epochs=0.1).state == "fires"


def test_the_mean_of_weights_is_judged_apart() -> None:
    rows = [
        {"kind": "val", "step": 5, "epoch": 1.0, "weights": weights, "val_a": value}
        for weights, value in (("raw", 0.5), ("ema", 0.7))
    ]
    assert judge("below", Record(list(rows)), metric="val_a", threshold=0.6).state == "fires"
    assert judge("below", Record(list(rows)), metric="val_a", threshold=0.6, weights="ema").state == "ok"


@pytest.mark.parametrize("bad", [{"val_a": None, "non_finite": ["val_a"]}, {"val_a": math.nan}])
def test_what_is_no_number_is_on_no_side_of_a_threshold(bad: dict[str, Any]) -> None:
    """From the file or fresh from the loop: it fires, rather than wait for ever."""
    on = Record([{"kind": "val", "step": 5, "epoch": 1.0, **bad}])
    for name in ("below", "above"):
        assert judge(name, on, metric="val_a", threshold=0.5).state == "fires"
    assert judge("non_finite", on).state == "fires"


def test_time_lost_by_a_kill_is_paid_for() -> None:
    on = paced([HOUR])
    assert judge("over_budget", on, usd=3, usd_per_hour=2, projected=False).state == "ok"
    on.events.append({"event": "resumed", "step": 10, "lost_s": HOUR})
    assert judge("over_budget", on, usd=3, usd_per_hour=2, projected=False).state == "fires"


# ---- properties --------------------------------------------------------------------------------------------------

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(values, st.floats(-1e6, 1e6), st.integers(0, 30))
def test_thresholds(series: list[float], threshold: float, after: int) -> None:
    rows = [{"kind": "train", "step": i, "epoch": float(i), "x": v} for i, v in enumerate(series)]
    judged = [v for i, v in enumerate(series) if i >= after]
    for name, is_wrong in (("below", lambda v: v < threshold), ("above", lambda v: v > threshold)):
        verdict = judge(name, Record(list(rows)), metric="x", threshold=threshold, after_epochs=after)
        expected = "waiting" if not judged else "fires" if any(map(is_wrong, judged)) else "ok"
        assert verdict.state == expected
        assert 0 <= verdict.nearness <= 1
        assert (verdict.nearness == 1) >= (verdict.state == "fires")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted({"below", "above", "not_decreasing", "non_finite"})))
def test_looking_often_or_once_is_the_same(seed: int, name: str) -> None:
    """Rules keep nothing: a record that grew row by row, as in the loop, is judged like one read from the file."""
    pick = random.Random(seed)
    rows = [
        {"kind": "train", "step": i, "epoch": i / 10, "x": pick.choice([1.0, 2.0, 3.0, pick.random(), math.nan])}
        for i in range(pick.randrange(1, 30))
    ]
    arguments: dict[str, Any] = {} if name == "non_finite" else {"metric": "x"}
    arguments |= {"threshold": 1.5, "after_epochs": 0.5} if name in ("below", "above") else {}
    grown = Record()
    for index, row in enumerate(rows):
        grown.metrics.append(row)
        once = judge(name, Record(list(rows[: index + 1])), **arguments).as_json()
        assert judge(name, grown, **arguments).as_json() == once


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 0.95), st.floats(0, 0.15), st.floats(0.05, 0.5))
def test_a_healthy_noisy_run_is_never_killed(seed: int, drop: float, noise: float, after: float) -> None:
    """Loss falls by at least 30 % within the time given, under noise of up to 15 % of it: at no step does it fire."""
    pick = random.Random(seed)
    rows = []
    for i in range(120):
        epoch = (i + 1) / 100
        fallen = 1 - drop * min(1.0, epoch / after)
        rows.append({"kind": "train", "step": i, "epoch": epoch, "x": fallen + pick.uniform(-noise, noise)})
    on = Record()
    for row in rows:
        on.metrics.append(row)
        assert judge("not_decreasing", on, metric="x", after_epochs=after).state != "fires"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.3, 5), st.floats(0, 0.1), st.floats(1e-6, 1e6))
def test_a_run_that_climbs_is_killed_in_any_unit(seed: int, rise: float, noise: float, unit: float) -> None:
    pick = random.Random(seed)
    rows = [
        {
            "kind": "train",
            "step": i,
            "epoch": (i + 1) / 100,
            "x": unit * (1 + (rise - 1) * i / 100 + pick.uniform(-noise, noise)),
        }
        for i in range(100)
    ]  # fmt: skip
    assert judge("not_decreasing", Record(list(rows)), metric="x", after_epochs=0.3).state == "fires"


@given(st.lists(st.floats(0.1, 5000), min_size=1, max_size=20), st.floats(0.1, 50))
def test_cost_is_time_times_price(seconds: list[float], price: float) -> None:
    verdict = judge("over_budget", paced(seconds), usd=20, usd_per_hour=price, projected=False)
    assert verdict.value == pytest.approx(sum(seconds) / 3600 * price)
    assert (verdict.state == "fires") == (verdict.value > 20)


# ---- the file ----------------------------------------------------------------------------------------------------

CARD = """
kill:
  - {rule: below, metric: val_change_acc, threshold: 0.60, after_epochs: 1}
  - {rule: not_decreasing, metric: val_loss/total, after_epochs: 0.05, fallback: true}
  - {rule: non_finite}
  - {rule: above, metric: loss/total, threshold: 10}
  - {rule: epoch_longer_than, hours: 8}
  - {rule: over_budget}
  - {rule: stale, minutes: 10}
usd: 25
usd_per_hour: 2.10
"""


def test_the_cards_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(CARD)
    book = read_rules(path)
    assert [rule.label for rule in book.kill][:3] == [
        "below val_change_acc 0.6",
        "not_decreasing val_loss/total",
        "non_finite",
    ]
    fired = book.fired(record("diverging"))
    assert fired is not None
    assert (fired[0].rule, fired[1].at_step) == ("below", 63)
    explodes = record("diverging")
    explodes.metrics = explodes.metrics[:20]
    found = book.fired(explodes)
    assert found is not None
    assert (found[0].rule, found[1].at_step) == ("above", 2)
    hung = record("healthy", stale_s=3600.0)
    assert Rulebook(kill=book.kill[2:6], usd=25, usd_per_hour=2.1).fired(hung) is None
    assert [found and found[0].rule for found in (book.fired(hung, outside=True),)] == ["stale"]
    assert Rulebook.model_validate(book.model_dump()) == book


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kill: [{rule: belov}]", "did you mean 'below'"),
        ("kill:\n  - {rule: below, metrik: val_x, threshold: 1, metric: x}", ":2:19: kill.0.metrik: unknown key"),
        ("kill: [{rule: stale, minutes: -1}]", "kill.0.minutes: wrong value -1"),
        ("kill: [{rule: below, metric: x}]", "kill.0.threshold: missing"),
        ("kill: [{rule: above, metric: x, threshold: '1'}]", "wrong value '1'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_rules(path)
    assert told in str(error.value)


def test_rules_that_could_never_fire_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("kill: [{rule: over_budget}]\nusd: 3\n")
    with pytest.raises(WrongUse, match="over_budget without usd_per_hour"):
        read_rules(path)
    rules = Rulebook.model_validate({"kill": [{"rule": "below", "metric": "val_chang_acc", "threshold": 1}]}).kill
    with pytest.raises(WrongUse, match="did you mean 'val_change_acc'"):
        check_metrics(rules, ["val_change_acc", "loss/total"])
