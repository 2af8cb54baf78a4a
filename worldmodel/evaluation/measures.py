"""Which measures rollouts give: from what they came to, into the ledger.

Owns: names, units and sums of closed-loop measures. Must not: run a model, estimate, judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.evaluation.closed_loop import (
    COHERENCE_FRAMES,
    CURVE_METRICS,
    CURVES,
    LONG_POINTS,
    TRUTH,
    ClosedLoop,
    Rollouts,
)
from worldmodel.evaluation.dreams import EVENT_COUNTS, FAR_UNITS, IMPOSSIBLE, WINDOW_FRAMES
from worldmodel.evaluation.metrics import METRIC_AT, METRICS
from worldmodel.evaluation.starts import LEAD_FRAMES
from worldmodel.evaluation.sums import Ledger, Measure, Sums
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.schema.events import EVENTS

UNIFORM, LONG, CONDITIONED, REFERENCE = "uniform", "long", "events", "reference"
"""Names of the lists of starts."""

FRAMES_PER_MINUTE = 3600

SURVIVALS = {
    "possible": "no impossible state so far",
    "consistent": "no contradiction so far",
    "near": f"no player farther than {FAR_UNITS:g} units from where he is in truth so far",
}

START_CURVE = "pos_distance"


def enter(ledger: Ledger, loops: Mapping[str, ClosedLoop]) -> None:
    """Add every measure of the rollouts that there are. loops: by the name of their starts."""
    num_games = len(ledger.games)
    if uniform := loops.get(UNIFORM):
        _curves(ledger, uniform, UNIFORM, range(1, uniform.horizon + 1))
        _coherence(ledger, uniform, UNIFORM)
        _events(ledger, uniform)
        _shares(ledger, uniform)
    if long := loops.get(LONG):
        _curves(ledger, long, LONG, points(long.horizon))
        _survival(ledger, long)
    if conditioned := loops.get(CONDITIONED):
        _conditioned(ledger, conditioned, num_games)
    if reference := loops.get(REFERENCE):
        _coherence(ledger, reference, REFERENCE)


def points(horizon: int) -> tuple[int, ...]:
    """Horizons of long rollouts that are kept."""
    return tuple(frames for frames in LONG_POINTS if frames <= horizon)


def contestants(loop: ClosedLoop) -> dict[str, Rollouts]:
    return {name: run for name, run in loop.models.items() if name != TRUTH}


def _curves(ledger: Ledger, loop: ClosedLoop, where: str, at: Sequence[int]) -> None:
    rows = [frames - 1 for frames in at]
    for m, metric in enumerate(CURVE_METRICS):
        measures = [
            Measure(f"{where}/{metric.name}@{frames}", metric.unit, metric.better, metric.definition) for frames in at
        ]
        ledger.add_many(
            measures,
            {name: (r.numerator[:, rows, m], r.denominator[:, rows, m]) for name, r in contestants(loop).items()},
        )


def _coherence(ledger: Ledger, loop: ClosedLoop, where: str) -> None:
    unit = METRICS[METRIC_AT["pos_mae"]].unit
    for frames in COHERENCE_FRAMES:
        if frames <= loop.horizon:
            measure = Measure(f"{where}/rc_{frames}", unit, "lower", f"mean of pos_mae over frames 1 to {frames}")
            ledger.add(measure, {name: run.coherence(frames) for name, run in contestants(loop).items()})


def _per_game(loop: ClosedLoop, num_games: int, values_S: Any) -> NDArray[np.float64]:
    sums = np.zeros(num_games)
    np.add.at(sums, loop.starts.at[:, 0], values_S)
    return sums


def _events(ledger: Ledger, loop: ClosedLoop) -> None:
    num_games = len(ledger.games)
    at = {name: index for index, name in enumerate(EVENT_COUNTS)}
    scored = max(0, loop.horizon - WINDOW_FRAMES) / FRAMES_PER_MINUTE
    for e, event in enumerate(EVENTS):
        knows = loop.knows_events[:, e]

        def count(run: Rollouts, what: str, e: int = e) -> NDArray[np.float64]:
            return _per_game(loop, num_games, run.events[:, e, at[what]])

        minutes = _per_game(loop, num_games, knows * scored)
        all_minutes = _per_game(loop, num_games, knows * (loop.horizon / FRAMES_PER_MINUTE))
        runs = contestants(loop)
        near = f"within {WINDOW_FRAMES} frames"
        ledger.add(
            Measure(f"event/{event}/recall", "share", "higher", f"true events that are dreamed {near}"),
            {name: (count(run, "found"), count(run, "true")) for name, run in runs.items()},
        )
        ledger.add(
            Measure(f"event/{event}/precision", "share", "higher", f"dreamed events that are true {near}"),
            {name: (count(run, "right"), count(run, "dreamed")) for name, run in runs.items()},
        )
        ledger.add(
            Measure(f"event/{event}/false_per_minute", "per minute", "lower", f"dreamed events, none true {near}"),
            {name: (count(run, "dreamed") - count(run, "right"), minutes) for name, run in runs.items()},
        )
        ledger.add(
            Measure(f"event/{event}/per_minute", "per minute", "neither", "events of both players"),
            {name: (count(run, "dreamed_all"), all_minutes) for name, run in loop.models.items()},
        )


def _shares(ledger: Ledger, loop: ClosedLoop) -> None:
    num_games = len(ledger.games)
    for k, (name, rule) in enumerate(CONTRADICTIONS.items()):
        ledger.add(
            Measure(f"contradiction/{name}", "share", "lower", f"player-frames: {rule.doc}"),
            {
                model: (_per_game(loop, num_games, r.contradictions[:, k]), _per_game(loop, num_games, r.known[:, k]))
                for model, r in loop.models.items()
            },
        )
    ones = _per_game(loop, num_games, np.ones(len(loop.starts)))
    for i, kind in enumerate(IMPOSSIBLE):
        ledger.add(
            Measure(f"impossible/{kind}", "share", "lower", "rollouts with an impossible state of this kind"),
            {name: (_per_game(loop, num_games, r.impossible[:, i]), ones) for name, r in contestants(loop).items()},
        )
    ledger.add(
        Measure("impossible/any", "share", "lower", "rollouts with an impossible state"),
        {name: (_per_game(loop, num_games, r.impossible.any(1)), ones) for name, r in contestants(loop).items()},
    )


def _survival(ledger: Ledger, loop: ClosedLoop) -> None:
    num_games = len(ledger.games)
    ones = _per_game(loop, num_games, np.ones(len(loop.starts)))
    for kind, what in SURVIVALS.items():
        runs = loop.models if kind == "consistent" else contestants(loop)
        lasted = {name: getattr(run, kind) for name, run in runs.items()}
        for frames in points(loop.horizon):
            ledger.add(
                Measure(f"survival/{kind}@{frames}", "share", "higher", f"rollouts with {what}"),
                {name: (_per_game(loop, num_games, last >= frames), ones) for name, last in lasted.items()},
            )
        mean = f"frames with {what}, at most {loop.horizon}; mean over rollouts"
        sums: Sums = {name: (_per_game(loop, num_games, last), ones) for name, last in lasted.items()}
        ledger.add(Measure(f"survival/{kind}", "frames", "higher", mean), sums)


def _conditioned(ledger: Ledger, loop: ClosedLoop, num_games: int) -> None:
    runs = contestants(loop)
    metric = METRICS[METRIC_AT[START_CURVE]]
    at = CURVES.index(START_CURVE)
    group = loop.starts.event[:, 0] * num_games + loop.starts.at[:, 0]
    size = len(EVENTS) * num_games
    ones = np.bincount(group, minlength=size).astype(float).reshape(-1, num_games)
    for e, event in enumerate(EVENTS):
        produced = {
            name: np.bincount(group, weights=run.produced.astype(float), minlength=size).reshape(-1, num_games)[e]
            for name, run in runs.items()
        }
        what = f"the event that comes {LEAD_FRAMES} frames after the start is dreamed within {WINDOW_FRAMES} frames"
        ledger.add(
            Measure(f"start/{event}/recall", "share", "higher", what), {n: (p, ones[e]) for n, p in produced.items()}
        )
        rows = slice(e * num_games, (e + 1) * num_games)
        ledger.add(
            Measure(f"start/{event}/{START_CURVE}@{loop.horizon}", metric.unit, metric.better, metric.definition),
            {name: (r.numerator[rows, -1, at], r.denominator[rows, -1, at]) for name, r in runs.items()},
        )
