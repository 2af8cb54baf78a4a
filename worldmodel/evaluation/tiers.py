"""Three levels of use that the reference system set for its rollouts, and which of them a model reaches.

Owns: the thresholds. Must not: compute an error. They say what a rollout is good for: to look at, to train an agent in,
or to be taken for the game. The reference's best model reached none of them on position or on action states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worldmodel.evaluation.metrics import METRIC_AT, METRICS
from worldmodel.schema import LAYOUT

_ACTION = f"{LAYOUT.the('action_state').name}_acc"
_PERCENT = f"{LAYOUT.the('percent').name}_mae"

NAMES = ("watchable", "trainable", "indistinguishable")
"""Lowest first. A tier is reached if all its limits are kept."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that must be better than each tier's limit, `frames` into uniform rollouts. limits: as in NAMES."""

    curve: str
    frames: int
    limits: tuple[float, float, float]


LIMITS: tuple[Limit, ...] = (
    Limit("pos_mae", 10, (3.0, 2.0, 1.0)),
    Limit("pos_mae", 20, (6.0, 4.0, 2.0)),
    Limit(_ACTION, 10, (0.85, 0.90, 0.95)),
    Limit(_ACTION, 20, (0.70, 0.80, 0.90)),
    Limit(_PERCENT, 10, (3.0, 1.5, 0.5)),
    Limit(_PERCENT, 20, (6.0, 3.0, 1.0)),
    Limit("velocity_mae", 10, (0.15, 0.08, 0.03)),
)


def judge(value_of: Callable[[str, int], float | None], horizon: int) -> dict[str, Any] | None:
    """Which tier is reached: {"reached": name or None, "next": name or None, "limits": rows}.

    value_of: (curve, frames) -> value. A missing value keeps no limit. None if the horizon is too short for the table.
    """
    if horizon < max(limit.frames for limit in LIMITS):
        return None
    rows: list[dict[str, Any]] = []
    for limit in LIMITS:
        value, metric = value_of(limit.curve, limit.frames), METRICS[METRIC_AT[limit.curve]]
        kept = [
            value is not None and (value < bound if metric.better == "lower" else value > bound)
            for bound in limit.limits
        ]
        rows.append(
            {
                "curve": limit.curve,
                "frames": limit.frames,
                "unit": metric.unit,
                "better": metric.better,
                "value": value,
                "limits": dict(zip(NAMES, limit.limits, strict=True)),
                "kept": dict(zip(NAMES, kept, strict=True)),
            }
        )
    reached = [name for name in NAMES if all(row["kept"][name] for row in rows)]
    missed = [name for name in NAMES if name not in reached]
    return {"reached": reached[-1] if reached else None, "next": missed[0] if missed else None, "limits": rows}
