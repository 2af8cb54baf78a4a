"""Who stands on what: bodies are put onto their surface, onto another, or into the air."""

from __future__ import annotations

import pytest
import torch
from frames_at_random import random_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.melee.stages import GEOMETRY, STANDING_LIFT
from worldmodel.nn.footing import REACH, REACH_ACROSS, Footing
from worldmodel.nn.frames import Context, State
from worldmodel.schema import CATEGORIES, LAYOUT, STAGE
from worldmodel.schema.laws import HELD

ACTION, GROUND = LAYOUT.category("action_state"), LAYOUT.category("ground")
X, Y = LAYOUT.number("position_x"), LAYOUT.number("position_y")
AIRBORNE = LAYOUT.flag("airborne")
WAIT, BATTLEFIELD = 14, GEOMETRY[31]
FLOOR, LEFT, RIGHT, TOP = BATTLEFIELD.ground, *(platform.ground for platform in BATTLEFIELD.platforms)
FOOTING = Footing()


def frame(ground: int, x: float, y: float, *, airborne: bool = False, action: int = WAIT) -> State:
    """p0 is there; p1 is in the air."""
    numbers = torch.zeros(1, 2, len(LAYOUT.numbers))
    numbers[0, 0, X], numbers[0, 0, Y] = x, y
    codes = torch.zeros(1, 2, len(CATEGORIES), dtype=torch.int64)
    codes[..., ACTION] = action + CATEGORIES[ACTION].offset
    codes[..., GROUND] = ground + CATEGORIES[GROUND].offset
    flags = torch.zeros(1, 2, len(LAYOUT.flag_bits), dtype=torch.bool)
    flags[0, :, AIRBORNE] = torch.tensor([airborne, True])
    return State(numbers, codes, flags)


def after(
    now: State, *, was: State | None = None, stage: int = 31, knows: bool = True
) -> tuple[float, float, int, bool]:
    """p0's x, y, ground and whether it is in the air, as the laws leave them; p1 is left alone."""
    present = torch.full((1, len(LAYOUT.flag_bits)), knows)
    context = Context(torch.tensor([stage + STAGE.offset]), present, present, present)
    before = frame(FLOOR, 0, 50, airborne=True) if was is None else was
    codes, numbers, flags = FOOTING(before, now.categories, now.numbers, now.flags, context)
    for one, other in ((codes, now.categories), (numbers, now.numbers), (flags, now.flags)):
        assert torch.equal(one[0, 1], other[0, 1])
    ground = int(codes[0, 0, GROUND]) - CATEGORIES[GROUND].offset
    return float(numbers[0, 0, X]), float(numbers[0, 0, Y]), ground, bool(flags[0, 0, AIRBORNE])


def height(platform: int) -> float:
    return float(torch.tensor(BATTLEFIELD.platforms[platform].height) + STANDING_LIFT)


@pytest.mark.parametrize("off", [-REACH + 0.1, -5.0, -0.01, 0.0, 0.01, 5.0, REACH - 0.1])
def test_who_stands_is_at_its_height(off: float) -> None:
    x, y, ground, airborne = after(frame(TOP, 3, height(2) + off))
    assert (x, ground, airborne) == (3, TOP, False)
    assert y == pytest.approx(height(2), abs=1e-5)


def test_the_last_digit_is_the_replays() -> None:
    near = height(2) + 0.0015
    assert after(frame(TOP, 3, near))[1] == float(torch.tensor(near))


def test_who_has_nothing_near_is_in_the_air() -> None:
    assert after(frame(TOP, 150, 80)) == (150, 80, TOP, True)
    assert after(frame(FLOOR, 0, 90)) == (0, 90, FLOOR, True)


def test_another_surface_that_is_near_is_the_one() -> None:
    x, y, ground, airborne = after(frame(FLOOR, 30, height(1) + 3))
    assert (x, ground, airborne) == (30, RIGHT, False)
    assert y == pytest.approx(height(1), abs=1e-5)


def test_past_an_end_one_is_put_back_or_in_the_air() -> None:
    end = BATTLEFIELD.platforms[0].left
    x, _, ground, airborne = after(frame(LEFT, end - REACH_ACROSS + 0.1, height(0)))
    assert (x, ground, airborne) == (pytest.approx(end), LEFT, False)
    assert after(frame(LEFT, end - REACH_ACROSS - 20, 60))[3]
    assert after(frame(LEFT, end - 0.1, height(0)))[0] == pytest.approx(end - 0.1), "bodies stand a little past it"


@pytest.mark.parametrize("action", [*sorted(HELD)[:3], 0, 12])
def test_the_held_and_the_dead_stand_nowhere(action: int) -> None:
    assert after(frame(FLOOR, 0, 90, action=action)) == (0, 90, FLOOR, False)


def test_in_the_air_one_may_be_anywhere() -> None:
    assert after(frame(TOP, 3, 56, airborne=True)) == (3, 56, TOP, True)


def test_who_stood_may_clip_into_it() -> None:
    low = height(2) - 2.0
    stood = frame(TOP, 3, height(2))
    assert after(frame(TOP, 3, low), was=stood)[1] == pytest.approx(low)
    assert after(frame(TOP, 3, low))[1] == pytest.approx(height(2), abs=1e-5), "nobody lands in it"


def test_what_moves_and_what_is_not_known_has_no_law() -> None:
    assert after(frame(0, -30, 5), stage=2) == (-30, 5, 0, False), "a platform of the Fountain"
    assert after(frame(35, 0, 5), stage=3) == (0, 5, 35, False), "a Stadium that may be another one"
    assert after(frame(5, 70, -9)) == (70, -9, 5, False), "an edge"
    assert after(frame(FLOOR, 0, 90), knows=False) == (0, 90, FLOOR, False), "a replay without the flag"
    assert after(frame(FLOOR, 0, 90), stage=1) == (0, 90, FLOOR, False)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000))
def test_what_is_lawful_stays(seed: int) -> None:
    states, _, within = random_frames(6, 30, seed=seed)
    following = states[:, 1:]
    codes, numbers, flags = FOOTING(states[:, :-1], following.categories, following.numbers, following.flags, within)
    assert torch.equal(codes, following.categories)
    assert torch.equal(numbers, following.numbers)
    assert torch.equal(flags, following.flags)
