"""Who is dead: each law by itself, and the count of dead rows."""

from __future__ import annotations

import pytest
import torch
from frames_at_random import random_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldmodel.melee.stages import GEOMETRY
from worldmodel.nn.frames import Context, State
from worldmodel.nn.mortality import Mortality
from worldmodel.schema import CATEGORIES, LAYOUT, STAGE
from worldmodel.schema.laws import AT_DEATH, AT_RETURN, AWAY, DEAD, HELD, REBIRTH

ACTION = LAYOUT.category("action_state")
X, Y, STOCKS, AGE, PERCENT = (
    LAYOUT.number(role) for role in ("position_x", "position_y", "stocks", "state_age", "percent")
)
WAIT, FLIES, BATTLEFIELD, NO_STAGE = 14, 90, 31, 1
MORTALITY = Mortality()


def frame(action: int, *, x: float = 0, y: float = 10, stocks: float = 3, age: float = 7, percent: float = 50) -> State:
    """A frame in which p0 is so, with other numbers that are not 0, and p1 stands."""
    numbers = torch.full((1, 2, len(LAYOUT.numbers)), 2.0)
    for place, value in ((X, x), (Y, y), (STOCKS, stocks), (AGE, age), (PERCENT, percent)):
        numbers[0, 0, place] = value
    codes = torch.zeros(1, 2, len(CATEGORIES), dtype=torch.int64)
    codes[0, :, ACTION] = torch.tensor([action, WAIT]) + CATEGORIES[ACTION].offset
    return State(numbers, codes, torch.zeros(1, 2, len(LAYOUT.flag_bits), dtype=torch.bool))


def context(stage: int = BATTLEFIELD) -> Context:
    nothing = torch.ones(1, 1, dtype=torch.bool)
    return Context(torch.tensor([stage + STAGE.offset]), nothing, nothing, nothing)


def after(was: State, now: State, *, stage: int = BATTLEFIELD, count: float | None = None) -> tuple[int, Tensor]:
    """p0's action state and numbers, as the laws leave them; p1 is left alone."""
    dead_rows = None if count is None else torch.tensor([[count, 1.0]])
    codes, numbers = MORTALITY(was, now.categories, now.numbers, context(stage), dead_rows)
    assert torch.equal(numbers[0, 1], now.numbers[0, 1])
    assert torch.equal(codes[0, 1], now.categories[0, 1])
    return int(codes[0, 0, ACTION]) - CATEGORIES[ACTION].offset, numbers[0, 0]


@pytest.mark.parametrize("stage", list(GEOMETRY))
@pytest.mark.parametrize("side", ["left", "right", "bottom"])
def test_who_leaves_the_stage_is_dead(stage: int, side: str) -> None:
    zones, where = GEOMETRY[stage], {"left": 1, "right": 2, "bottom": 0}
    edge = getattr(zones, side)

    def at(distance: float) -> State:
        place = edge + distance * (1 if side == "right" else -1)
        return frame(FLIES, **({"y": place} if side == "bottom" else {"x": place}))

    state, _ = after(frame(FLIES), at(-0.01), stage=stage)
    assert state == FLIES
    state, numbers = after(frame(FLIES), at(0.01), stage=stage)
    assert state == where[side]
    assert numbers[STOCKS] == 2
    assert {role: float(numbers[LAYOUT.number(role)]) for role in AT_DEATH} == AT_DEATH
    assert numbers[PERCENT] == 50
    assert numbers[[X, Y]].tolist() == at(0.01).numbers[0, 0, [X, Y]].tolist(), "where it went is where it is"


@pytest.mark.parametrize("held", sorted(HELD)[::7])
def test_who_is_held_may_be_anywhere(held: int) -> None:
    state, numbers = after(frame(held), frame(held, y=-150))
    assert (state, numbers[STOCKS]) == (held, 3)


@pytest.mark.parametrize("death", DEAD)
def test_nobody_dies_inside(death: int) -> None:
    state, numbers = after(frame(FLIES), frame(death, stocks=2, age=-1))
    assert (state, numbers[STOCKS], numbers[AGE]) == (FLIES, 3, 7)


@pytest.mark.parametrize("death", [4, 6])
def test_above_the_top_one_may_die_and_may_live(death: int) -> None:
    high = GEOMETRY[BATTLEFIELD].top + 1
    assert after(frame(FLIES), frame(FLIES, y=high))[0] == FLIES
    state, numbers = after(frame(FLIES), frame(death, y=high))
    assert (state, numbers[STOCKS]) == (death, 3), "the stock goes later"


def test_stocks_go_with_deaths_alone() -> None:
    assert after(frame(FLIES), frame(FLIES, stocks=2))[1][STOCKS] == 3
    assert after(frame(0, y=-200), frame(0, y=-200, stocks=2))[1][STOCKS] == 3
    assert after(frame(4), frame(4, stocks=2))[1][STOCKS] == 2, "nobody counted"
    assert after(frame(FLIES, stocks=0), frame(FLIES, x=500, stocks=0))[1][STOCKS] == 0


@pytest.mark.parametrize("death", AWAY)
def test_the_dead_come_back_in_time(death: int) -> None:
    """Neither earlier, nor later; and the stock goes in its row."""
    away = AWAY[death]
    for rows in range(1, away.rows):
        for said in (death, REBIRTH, WAIT):
            state, numbers = after(frame(death, y=300), frame(said, y=300), count=1.0 + rows)
            assert state == death
            assert (numbers[STOCKS] == 2) == (away.stock == rows)
    for said in (death, REBIRTH, WAIT):
        state, _ = after(frame(death, y=300), frame(said, y=300), count=1.0 + away.rows)
        assert state == away.then


def test_nobody_knows_how_long_who_was_dead_before() -> None:
    assert after(frame(0, y=-200), frame(REBIRTH), count=-5.0)[0] == REBIRTH
    assert after(frame(0, y=-200), frame(0, y=-200), count=-5.0)[0] == 0
    assert after(frame(0, y=-200), frame(0, y=-200), count=-60.0)[0] == REBIRTH
    assert after(frame(0, y=-200), frame(WAIT), count=-5.0)[0] == 0, "and by no other way"


def test_without_a_stock_one_stays_dead() -> None:
    assert after(frame(0, y=-200, stocks=0), frame(0, y=-200, stocks=0), count=100.0)[0] == 0


@pytest.mark.parametrize("stage", list(GEOMETRY))
def test_who_comes_back_is_where_all_do(stage: int) -> None:
    (here, _), height = GEOMETRY[stage].returns
    state, numbers = after(frame(0, x=-500, y=-300), frame(0, x=-500, y=-300), stage=stage, count=61.0)
    assert state == REBIRTH
    assert numbers[X] == pytest.approx(here)
    assert numbers[Y] == pytest.approx(height)
    assert {role: float(numbers[LAYOUT.number(role)]) for role in AT_RETURN} == AT_RETURN
    _, numbers = after(frame(0, y=-300), frame(REBIRTH, x=16, y=height + 1e-5), stage=stage, count=61.0)
    assert numbers[X] == 16, "another place of return"
    assert numbers[Y] == torch.tensor(height + 1e-5), "the last bit is the replay's"


def test_nobody_else_comes_back() -> None:
    state, numbers = after(frame(FLIES), frame(REBIRTH, age=0))
    assert (state, numbers[AGE]) == (FLIES, 7)
    assert after(frame(REBIRTH), frame(REBIRTH))[0] == REBIRTH


def test_a_stage_without_geometry_kills_by_the_models_word() -> None:
    assert after(frame(FLIES), frame(FLIES, x=900), stage=NO_STAGE)[0] == FLIES
    state, numbers = after(frame(FLIES), frame(1, x=900), stage=NO_STAGE)
    assert (state, numbers[STOCKS]) == (1, 2)
    assert after(frame(1, x=900), frame(1, x=901), stage=NO_STAGE)[1][X] == 901, "a stage that scrolls takes them along"
    state, numbers = after(frame(1, x=900), frame(REBIRTH, x=3, y=4), stage=NO_STAGE, count=61.0)
    assert (state, *numbers[[X, Y]].tolist()) == (REBIRTH, 3, 4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 40))
def test_a_history_is_counted_as_row_by_row(seed: int, rows: int) -> None:
    states, _, _ = random_frames(4, 41, seed=seed)
    count = MORTALITY.nothing_seen(4)
    assert not count.any(), "a client begins with zeros"
    for t in range(rows):
        count = MORTALITY.count(count, states[:, t])
    assert torch.equal(count, MORTALITY.count_rows(states[:, :rows]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000))
def test_what_is_lawful_stays(seed: int) -> None:
    """The laws leave alone what they made themselves."""
    states, _, within = random_frames(6, 30, seed=seed)
    codes, numbers = MORTALITY(states[:, :-1], states.categories[:, 1:], states.numbers[:, 1:], within)
    assert torch.equal(codes, states.categories[:, 1:])
    assert torch.equal(numbers, states.numbers[:, 1:])
