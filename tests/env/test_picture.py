"""Pictures: proportions, colours, and what is beyond the border."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from frames_at_random import random_frames
from numpy.typing import NDArray

from worldmodel.env.picture import (
    BESIDE_STAGE,
    GROUND,
    HEIGHT,
    LIP,
    PLAYER_COLOURS,
    WHITE,
    WIDTH,
    Fighter,
    draw,
    fighters,
)
from worldmodel.melee.stages import GEOMETRY

FIGHTER = Fighter(x=0, y=0, right=True, group="standing", shield=60, percent=0, stocks=0, pale=False, frozen=False)
AWAY = replace(FIGHTER, group="dead")


def near(picture: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 6) -> NDArray[np.bool_]:
    """(height, width): pixels of a colour, the strip of percents and stocks left out."""
    wide = np.abs(picture.astype(int) - np.array(colour)).max(-1) <= tolerance
    wide[-60:] = False
    return wide


def columns(mask: NDArray[np.bool_]) -> tuple[float, float]:
    found = np.flatnonzero(mask.any(0))
    return float(found[0]), float(found[-1] + 1)


@pytest.mark.parametrize("stage", GEOMETRY)
def test_the_stage_has_its_proportions(stage: int) -> None:
    picture = draw((AWAY, AWAY), stage)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8
    scale = WIDTH / (2 * (GEOMETRY[stage].edge + BESIDE_STAGE))
    left, right = columns(near(picture, LIP) | near(picture, GROUND))
    ends = [GEOMETRY[stage].edge, *(platform.right for platform in GEOMETRY[stage].platforms)]
    assert right - left == pytest.approx(2 * max(ends) * scale, abs=5)
    for platform in GEOMETRY[stage].platforms:
        row = round(HEIGHT * 0.6 - platform.height * scale + 1)
        x = round(WIDTH / 2 + (platform.left + platform.right) / 2 * scale)
        assert near(picture, LIP, 30)[row - 1 : row + 3, x].any()


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (-50.0, 27.2), (60.0, 60.0)])
def test_a_fighter_is_where_it_is(x: float, y: float) -> None:
    picture = draw((AWAY, replace(FIGHTER, x=x, y=y)), 32)
    scale = WIDTH / (2 * (GEOMETRY[32].edge + BESIDE_STAGE))
    rows, found = np.nonzero(near(picture, PLAYER_COLOURS[1]))
    assert found.mean() == pytest.approx(WIDTH / 2 + x * scale, abs=4)
    assert rows.max() <= HEIGHT * 0.6 - y * scale
    assert rows.min() >= HEIGHT * 0.6 - (y + 15) * scale
    assert not near(picture, PLAYER_COLOURS[0]).any()


def test_facing_is_seen() -> None:
    right, left = (draw((AWAY, replace(FIGHTER, right=faces)), 32) for faces in (True, False))
    assert (right != left).any()
    # But for rounding, the one is the other in a mirror (percents apart).
    difference = np.abs(right[:-60].astype(int) - left[:-60, ::-1].astype(int))
    assert difference.max() <= 2


def test_who_is_beyond_the_border_is_marked_there() -> None:
    picture = draw((AWAY, replace(FIGHTER, x=-240.0, y=10.0)), 32)
    left, right = columns(near(picture, PLAYER_COLOURS[1], 40))
    assert left < 12
    assert right < 24


def test_shield_freeze_percent_and_stocks_are_seen() -> None:
    plain = draw((FIGHTER, AWAY), 32)
    for changed in ({"group": "shield"}, {"frozen": True}, {"percent": 140.0}, {"stocks": 3}, {"pale": True}):
        assert (draw((replace(FIGHTER, **changed), AWAY), 32) != plain).any(), changed  # type: ignore[arg-type]
    assert near(draw((replace(FIGHTER, frozen=True), AWAY), 32), WHITE).sum() > 50
    big, small = (draw((replace(FIGHTER, group="shield", shield=left), AWAY), 32) for left in (60.0, 10.0))
    assert (big != plain).any(-1).sum() > 2 * (small != plain).any(-1).sum()


def test_any_state_can_be_drawn() -> None:
    states, _, _ = random_frames(40, 1, seed=1)
    for world in range(40):
        draw(fighters(states[world, 0]), world % 33, width=160, height=120)
