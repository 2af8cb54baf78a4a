"""Tiers: all limits of a column, or not reached; the number that fails is told."""

from __future__ import annotations

import pytest

from worldmodel.evaluation import tiers
from worldmodel.evaluation.metrics import METRIC_AT, METRICS
from worldmodel.evaluation.tiers import LIMITS, NAMES


def just_inside(tier: int, *, but: int | None = None) -> dict[tuple[str, int], float]:
    """Values that keep every limit of a tier by a hair; one of them may miss it by a hair."""
    values = {}
    for index, limit in enumerate(LIMITS):
        side = -1 if METRICS[METRIC_AT[limit.curve]].better == "lower" else 1
        values[limit.curve, limit.frames] = limit.limits[tier] + side * (1e-6 if index != but else -1e-6)
    return values


@pytest.mark.parametrize("tier", range(3))
def test_a_tier_is_reached_by_keeping_every_limit(tier: int) -> None:
    values = just_inside(tier)
    found = tiers.judge(lambda curve, frames: values[curve, frames], 60)
    assert found is not None
    assert found["reached"] == NAMES[tier]
    assert found["next"] == (NAMES[tier + 1] if tier < 2 else None)


@pytest.mark.parametrize("but", range(len(LIMITS)))
def test_one_missed_limit_is_enough_and_is_told(but: int) -> None:
    values = just_inside(0, but=but)
    found = tiers.judge(lambda curve, frames: values[curve, frames], 60)
    assert found is not None
    assert found["reached"] is None
    assert [index for index, row in enumerate(found["limits"]) if not row["kept"]["watchable"]] == [but]


def test_a_missing_value_keeps_no_limit_and_a_short_horizon_has_no_tiers() -> None:
    found = tiers.judge(lambda curve, frames: None, 60)
    assert found is not None
    assert found["reached"] is None
    assert tiers.judge(lambda curve, frames: 0.0, 19) is None
