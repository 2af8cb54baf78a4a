"""Closed-loop part of a result: from the ledger's numbers to plain JSON.

Owns: its shape in `result.json`. Must not: run a model, draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldmodel.evaluation.closed_loop import COHERENCE_FRAMES, CURVES, TRUTH, ClosedLoop
from worldmodel.evaluation.dreams import EVENT_COUNTS, IMPOSSIBLE
from worldmodel.evaluation.examples import examples
from worldmodel.evaluation.heldout import Games
from worldmodel.evaluation.measures import (
    CONDITIONED,
    LONG,
    REFERENCE,
    START_CURVE,
    SURVIVALS,
    UNIFORM,
    contestants,
    points,
)
from worldmodel.evaluation.starts import Starts
from worldmodel.evaluation.sums import MODEL, Numbers
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.schema.events import EVENTS

Json = dict[str, Any]


def rollouts(loops: Mapping[str, ClosedLoop], numbers: Numbers, games: Games) -> Json | None:
    """The part of the result, None without uniform rollouts."""
    uniform = loops.get(UNIFORM)
    if uniform is None:
        return None
    long, conditioned, reference = (loops.get(name) for name in (LONG, CONDITIONED, REFERENCE))
    return {
        "num_rollouts": len(uniform.starts),
        "num_games": len(np.unique(uniform.starts.at[:, 0])),
        "history_frames": uniform.history + 1,
        "horizon_frames": uniform.horizon,
        **_curve_json(numbers, uniform, UNIFORM, range(1, uniform.horizon + 1)),
        "coherence": _coherence_json(numbers, uniform, UNIFORM),
        "reference_coherence": None if reference is None else _coherence_json(numbers, reference, REFERENCE),
        "impossible": {
            name: {kind: numbers.of[name][f"impossible/{kind}"].value for kind in ("any", *IMPOSSIBLE)}
            for name in contestants(uniform)
        },
        "contradictions": [
            {"name": name, "doc": rule.doc, **numbers.json(f"contradiction/{name}")}
            for name, rule in CONTRADICTIONS.items()
        ],
        "events": _event_json(numbers, uniform, conditioned),
        "long": None if long is None else _long_json(numbers, long),
        "examples": examples(uniform, games),
    }


def starts_json(digest: str, lists: Mapping[str, Starts]) -> Json:
    """What the lists of starts are, without listing them."""
    return {
        "digest": digest,
        "lists": {
            name: {
                "num_starts": len(starts),
                "num_games": len(np.unique(starts.at[:, 0])),
                "horizon_frames": starts.horizon,
            }
            for name, starts in lists.items()
        },
    }


def _curve_json(numbers: Numbers, loop: ClosedLoop, where: str, at: Sequence[int]) -> Json:
    """{"models": {model: {curve: lists}}, "differences": ...}."""
    names = list(contestants(loop))
    tables = {
        "models": {n: numbers.of[n] for n in names},
        "differences": {n: numbers.against[n] for n in names if n != MODEL},
    }
    return {
        key: {
            model: {curve: _lists([found[f"{where}/{curve}@{frames}"] for frames in at]) for curve in CURVES}
            for model, found in table.items()
        }
        for key, table in tables.items()
    }


def _lists(estimates: Sequence[Any]) -> Json:
    return {
        **{key: [getattr(e, key) for e in estimates] for key in ("value", "low", "high")},
        "reason": next((e.reason for e in estimates if e.reason), None),
    }


def _coherence_json(numbers: Numbers, loop: ClosedLoop, where: str) -> list[Json]:
    return [
        {"frames": frames, "num_rollouts": len(loop.starts), **numbers.json(f"{where}/rc_{frames}")}
        for frames in COHERENCE_FRAMES
        if frames <= loop.horizon
    ]


def _event_json(numbers: Numbers, uniform: ClosedLoop, conditioned: ClosedLoop | None) -> list[Json]:
    true = uniform.models[TRUTH].events[..., EVENT_COUNTS.index("true_all")].sum(0)
    rows = []
    for e, (name, event) in enumerate(EVENTS.items()):
        row: Json = {"name": name, "doc": event.doc, "num_true": int(true[e])}
        for what in ("recall", "precision", "false_per_minute", "per_minute"):
            row[what] = numbers.json(f"event/{name}/{what}")
        row["num_starts"] = 0 if conditioned is None else int((conditioned.starts.event[:, 0] == e).sum())
        row["start_recall"] = None if conditioned is None else numbers.json(f"start/{name}/recall")
        row["start_error"] = (
            None if conditioned is None else numbers.json(f"start/{name}/{START_CURVE}@{conditioned.horizon}")
        )
        rows.append(row)
    return rows


def _long_json(numbers: Numbers, loop: ClosedLoop) -> Json:
    at = points(loop.horizon)
    survival = {}
    for kind, what in SURVIVALS.items():
        names = [n for n in numbers.of if f"survival/{kind}" in numbers.of[n]]
        survival[kind] = {
            "doc": what,
            "mean_frames": numbers.json(f"survival/{kind}"),
            "models": {n: _lists([numbers.of[n][f"survival/{kind}@{frames}"] for frames in at]) for n in names},
        }
    return {
        "num_rollouts": len(loop.starts),
        "horizon_frames": loop.horizon,
        "points": list(at),
        **_curve_json(numbers, loop, LONG, at),
        "survival": survival,
    }
