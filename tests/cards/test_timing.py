"""The formula of a run's time against counting by hand, and an interval that knows what the past was worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import measured, plan_for, steps
from mission import NewCard

from worldmodel.cards.data import DataFacts, data_facts
from worldmodel.cards.facts import Facts, facts_of
from worldmodel.cards.timing import Course, Speeds, StepTime, Timing, interval_of, loads_of
from worldmodel.training.config import Experiment, find_experiment, load_experiment
from worldmodel.training.disturbance import make_disturbances
from worldmodel.training.loop import make_state

ONE = StepTime(1.0, 1.0, 1.0)


@pytest.fixture
def data(small_dataset: object) -> DataFacts:
    return data_facts(str(small_dataset))


def tiny(*overrides: str) -> Experiment:
    return load_experiment(find_experiment("tiny"), overrides=overrides)


def facts(data: DataFacts, *overrides: str) -> Facts:
    return facts_of(tiny(*overrides), data)


def test_every_part_counts_once(data: DataFacts) -> None:
    found = facts(data, "training.epochs=2", "training.val_every_fraction=0.5", "training.checkpoint_every_min=1000")
    speeds = Speeds(ONE, ONE, start_s=7.0, source="x", validation_s=11.0, stall_s=13.0, is_plan=True)
    num = found.num_steps.value
    assert Course.of(found).total_s(speeds) == 7 + num + 2 * 2 * 11 + (1 + 2) * 13
    timing = Timing(found, speeds, 3600.0, 5.0)
    assert timing.total_s == timing.usd == Course.of(found).total_s(speeds)
    assert timing.epoch_s == (num + 44 + 39) / 2
    half = Course(found.experiment, found.steps_per_epoch.value, num, num // 2)
    assert half.total_s(speeds) == 7 + num // 2 + 2 * 11 + 2 * 13


def test_checkpoints_by_the_clock(data: DataFacts) -> None:
    found = facts(data, "training.epochs=1", "training.checkpoint_every_min=1")
    speeds = Speeds(ONE, ONE, 0.0, "x", stall_s=1.0)
    num = found.num_steps.value
    assert Course.of(found).training_s(speeds, 1.0) == num + 2 + num // 60


def test_reading_may_be_what_takes_the_time(data: DataFacts) -> None:
    found = facts(data, "training.epochs=1", "training.val_windows=0")
    num = found.num_steps.value
    quick = Speeds(ONE, ONE, 0.0, "x", block_s=num / 8, num_blocks=4)
    slow = Speeds(ONE, ONE, 0.0, "x", block_s=num, num_blocks=4)
    assert Course.of(found).training_s(quick, 1.0) == num, "it goes on beside the steps"
    assert Course.of(found).training_s(slow, 1.0) == 4 * num


def test_steps_are_as_heavy_as_the_schedule_makes_them(data: DataFacts) -> None:
    heavy = StepTime(3.0, 2.0, 5.0)
    plain, noisy = facts(data), facts(data, "scheduled_sampling={}", "training.epochs=4")
    speeds = Speeds(ONE, heavy, 0.0, "x")
    assert Course.of(plain).step(speeds) == ONE
    step = Course.of(noisy).step(speeds)
    assert step.mean_s == pytest.approx(1 + 2 * 0.75, rel=0.01), "off in the first of four epochs"
    assert (step.low_s, step.high_s) == pytest.approx((1 + 0.75, 1 + 4 * 0.75), rel=0.01)
    own = tiny("self_forcing={every: 4, max_frames: 8, begin: 0.5, reach: 0.5}")
    loads = loads_of(own, 1000, 1000)
    assert (min(loads), max(loads), sum(loads) / len(loads)) == (0.0, 1.0, 0.5)
    early = Course(own, 1000, 1000, 500)
    assert early.step(speeds).mean_s == 1.0, "a run that was stopped half way had light steps alone"


def test_a_load_is_what_disturbances_do(data: DataFacts) -> None:
    """Where it is 0 a batch is shown as it is; where it is not, something may act."""
    experiment = tiny("self_forcing={every: 1, max_frames: 4, begin: 0.3, reach: 0.9}")
    device = make_state(experiment, "cpu").model.like.device  # type: ignore[arg-type]
    (own,) = make_disturbances(experiment, 100, 100, device)
    loads = loads_of(experiment, 100, 100)
    assert [load * 4 for load in loads] == [own.num_frames(step) for step in range(100)]  # type: ignore[attr-defined]


# ---- intervals ---------------------------------------------------------------------------------------------------


def test_without_a_past_the_factor_is_used() -> None:
    assert interval_of((), 5.0) == (1.0, 5.0)


@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=9), st.floats(1, 10))
def test_the_past_is_in_the_interval(ratios: list[float], factor: float) -> None:
    low, high = interval_of(ratios, factor)
    assert low <= min(ratios)
    assert max(ratios) <= high
    assert low <= 1 <= high
    longer = interval_of([*ratios, 1.0], factor)
    assert longer[1] <= high, "a run that went as planned makes nobody more pessimistic"


def test_few_runs_say_little() -> None:
    uppers = [interval_of([1.0] * num, 5.0)[1] for num in range(5)]
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[0] == 5.0
    assert 2 < uppers[1] < 2.5, "one run that went as planned does not make a plan certain"
    assert uppers[4] < 1.5


def test_consistently_off_by_three_to_five(data: DataFacts) -> None:
    """The mission's team: their estimates would have become theirs times four, with 3 to 5 as the interval."""
    speeds = Speeds(ONE, ONE, 0.0, "x", stall_s=0.1, is_plan=True)
    raw, timing = (Timing(facts(data), speeds, None, 5.0, ratios) for ratios in ((), (3.0, 4.0, 5.0)))
    assert timing.total_s == pytest.approx(4 * raw.total_s)
    assert timing.pessimistic_s == pytest.approx(5 * raw.total_s)
    assert timing.low_s <= timing.total_s <= timing.pessimistic_s


def test_the_interval_holds_the_spread_of_steps(card: NewCard) -> None:
    plan = plan_for(
        card(), measured=measured(light=steps(1.0, 2.0, 3.0), heavy=steps(1.0, 2.0, 3.0)), ratios=[1.0] * 99
    )
    assert plan.speeds is not None
    timing = Timing(card(name="other").facts, plan.speeds, None, 5.0, tuple(plan.ratios))
    course = timing.course
    assert timing.step == StepTime(2.0, pytest.approx(1.2), pytest.approx(2.8))  # type: ignore[arg-type]
    assert timing.low_s == pytest.approx(plan.speeds.start_s + course.training_s(plan.speeds, 1.2))
    assert timing.pessimistic_s == pytest.approx(
        (plan.speeds.start_s + course.training_s(plan.speeds, 2.8)) * 5 ** (1 / 100)
    )


def test_a_guess_has_the_factor_alone(data: DataFacts) -> None:
    timing = Timing(facts(data), Speeds(ONE, ONE, 10.0, "x"), 2.0, 5.0)
    assert timing.low_s == timing.total_s
    assert timing.pessimistic_s == 5 * timing.total_s
