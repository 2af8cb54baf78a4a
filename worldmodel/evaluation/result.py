"""One step ahead as plain JSON, the headlines, verdicts and suspicions. No NaN in it.

Owns: what counts as beating a baseline, which numbers open a report. Must not: run a model, draw.

Every estimate is {"value", "low", "high", "reason"}: `reason` says why a value or an interval is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.evaluation.bootstrap import Estimate
from worldmodel.evaluation.dreams import FAR_UNITS
from worldmodel.evaluation.heldout import Games
from worldmodel.evaluation.measures import REFERENCE, UNIFORM
from worldmodel.evaluation.metrics import LOSS_PREFIX, METRIC_AT, METRICS, Metric, ratio
from worldmodel.evaluation.sums import MODEL, Ledger, Measure, Numbers
from worldmodel.evaluation.teacher_forced import TeacherForced
from worldmodel.schema import LAYOUT

STEP = "step"
"""Where a measure one step ahead was taken."""

Json = dict[str, Any]

_TABLE_METRICS = (
    "change_acc",
    f"{LAYOUT.the('action_state').name}_acc",
    "pos_mae",
    f"{LAYOUT.the('percent').name}_mae",
    "velocity_mae",
    "exact",
)
"""Columns of tables by stage and by character."""

HEADLINE_STEP = (*_TABLE_METRICS, "loss/total")
HEADLINE_CURVES = ("pos_distance", f"{LAYOUT.the('percent').name}_mae", f"{LAYOUT.the('action_state').name}_acc")
"""Closed-loop curves whose last horizon is a headline."""


def as_json(estimate: Estimate) -> Json:
    return asdict(estimate)


def verdict(better: str, against: Sequence[Estimate]) -> str:
    """ "beats" if the interval of model minus baseline lies on the better side of 0 for every baseline; "loses" if it
    lies on the other side for one; "undecided" if an interval holds 0; "unknown" without an interval."""
    if not against or any(e.low is None or e.high is None for e in against):
        return "unknown"
    sign = 1.0 if better == "higher" else -1.0
    sides = [sorted((sign * e.low, sign * e.high)) for e in against if e.low is not None and e.high is not None]
    if any(high < 0 for _, high in sides):
        return "loses"
    return "beats" if all(low > 0 for low, _ in sides) else "undecided"


# ---- one step ahead ------------------------------------------------------------------------------------------------


def enter_step(ledger: Ledger, found: TeacherForced, *, comparable_losses: bool = True) -> None:
    """Add every metric one step ahead to the ledger.

    comparable_losses: False where baselines have other heads than the model: their losses are then left out.
    """
    for m, metric in enumerate(METRICS):
        alone = not comparable_losses and metric.name.startswith(LOSS_PREFIX)
        sums = {name: values.per_game() for name, values in found.models.items() if name == MODEL or not alone}
        ledger.add(
            Measure(f"{STEP}/{metric.name}", metric.unit, metric.better, metric.definition),
            {name: (numerator[:, m], denominator[:, m]) for name, (numerator, denominator) in sums.items()},
        )


def one_step(found: TeacherForced, numbers: Numbers, games: Games) -> Json:
    """Teacher-forced part of the result."""
    other_heads = Estimate(None, None, None, "the baselines have other heads: losses cannot be compared")

    def named(values: Mapping[str, Estimate]) -> Json:
        return {metric.name: as_json(values.get(f"{STEP}/{metric.name}", other_heads)) for metric in METRICS}

    stages = np.array(games.stage)
    characters = np.array(games.character)
    return {
        "num_frames": found.num_frames,
        "num_possible_frames": found.num_possible,
        "models": {name: named(numbers.of[name]) for name in found.models},
        "differences": {name: named(numbers.against[name]) for name in found.models if name != MODEL},
        "by_stage": _groups(found, stages, lambda name: np.repeat((stages == name)[:, None], 2, 1)),
        "by_character": _groups(found, characters.ravel(), lambda name: characters == name),
    }


def _groups(found: TeacherForced, names: NDArray[np.str_], member_GP: Callable[[str], NDArray[np.bool_]]) -> list[Json]:
    """Rows of a table, most games first: metrics over the (game, player) pairs that belong to each name."""
    rows = []
    for name in sorted(set(names.tolist())):
        mask = member_GP(name)
        values: Json = {}
        for model, sums in found.models.items():
            numerator, denominator = sums.numerator[mask].sum(0), sums.denominator[mask].sum(0)
            values[model] = {m: ratio(numerator[METRIC_AT[m]], denominator[METRIC_AT[m]]) for m in _TABLE_METRICS}
        frames = next(iter(found.models.values())).denominator[mask][:, METRIC_AT["exact"]].sum()
        rows.append(
            {"name": name, "num_games": int(mask.any(1).sum()), "num_player_frames": int(frames), "models": values}
        )
    return sorted(rows, key=lambda row: (-row["num_games"], row["name"]))


# ---- judgement -----------------------------------------------------------------------------------------------------


def headlines(step: Json, loop: Json | None) -> list[Json]:
    """The numbers that the report opens with: value, baselines, verdict, and their name in the ledger."""
    rows = []
    for name in HEADLINE_STEP:
        models = {key: values[name] for key, values in step["models"].items()}
        differences = {key: values[name] for key, values in step["differences"].items()}
        metric = METRICS[METRIC_AT[name]]
        rows.append(_headline(name, f"{STEP}/{name}", metric, "next frame", models, differences))
    if loop is None:
        return rows
    pos = METRICS[METRIC_AT["pos_mae"]]
    for row in loop["coherence"]:
        label, where = f"RC {row['frames']}", f"mean of pos_mae over frames 1-{row['frames']} of rollouts"
        measure = f"{UNIFORM}/rc_{row['frames']}"
        rows.append(_headline(label, measure, pos, where, row["models"], row["differences"]))
    for row in loop["reference_coherence"] or ():
        label = f"RC {row['frames']}, reference's seeds"
        where = f"the same, from {row['num_rollouts']} starts drawn as the reference drew them"
        measure = f"{REFERENCE}/rc_{row['frames']}"
        rows.append(_headline(label, measure, pos, where, row["models"], row["differences"]))
    last = loop["horizon_frames"]
    for name in HEADLINE_CURVES:
        models = {key: _at(curves[name], last) for key, curves in loop["models"].items()}
        differences = {key: _at(curves[name], last) for key, curves in loop["differences"].items()}
        label, where = f"{name}@{last}", f"frame {last} of rollouts"
        rows.append(_headline(label, f"{UNIFORM}/{label}", METRICS[METRIC_AT[name]], where, models, differences))
    if loop["long"] is not None:
        near = loop["long"]["survival"]["near"]
        lasted = Metric("near", "frames", "higher", "rollouts", f"frames with {near['doc']}")
        where, values = "mean over long rollouts", near["mean_frames"]
        label = f"near by {FAR_UNITS:g} units"
        rows.append(_headline(label, "survival/near", lasted, where, values["models"], values["differences"]))
    return rows


def _at(curve: Json, frames: int) -> Json:
    """An estimate from curves, at a horizon."""
    return {key: curve[key][frames - 1] for key in ("value", "low", "high")} | {"reason": curve["reason"]}


def _headline(label: str, measure: str, metric: Metric, where: str, models: Json, differences: Json) -> Json:
    return {
        "name": label,
        "measure": measure,
        "metric": metric.name,
        "unit": metric.unit,
        "better": metric.better,
        "where": where,
        "models": models,
        "differences": differences,
        "verdict": verdict(metric.better, [Estimate(**value) for value in differences.values()]),
    }


def canaries(
    step: Json, loop: Json | None, previous: Mapping[str, Any] | None = None, *, sha256: str = ""
) -> list[str]:
    """Numbers too neat to be true: exact zeros and constants, copies of a baseline, copies of an earlier result."""
    found: list[str] = []
    frozen: dict[str, list[str]] = {}
    baselines = {name: values for name, values in step["models"].items() if name != MODEL}
    for metric in METRICS:
        own = step["models"][MODEL][metric.name]
        value = own["value"]
        if value is None:
            if own["reason"] == "not finite":
                found.append(f"{metric.name} is not finite")
            continue
        others = {name: values[metric.name]["value"] for name, values in baselines.items()}
        perfect = 0.0 if metric.better == "lower" else 1.0
        if value == perfect and any(other not in (None, perfect) for other in others.values()):
            found.append(f"{metric.name} is exactly {value:g}, while a baseline's is not")
        if value == 0.0 and metric.better == "higher" and any(other for other in others.values()):
            found.append(f"{metric.name} is exactly 0, while a baseline's is not")
        for name, other in others.items():
            if value == other and value not in (0.0, 1.0):
                frozen.setdefault(metric.name, []).append(name)
    for same in sorted(set(map(tuple, frozen.values()))):
        names = ", ".join(metric for metric, like in frozen.items() if tuple(like) == same)
        found.append(f"equal to the last digit to {' and '.join(same)}: {names}; does the model never change these?")
    if loop is not None:
        for name, curve in loop["models"][MODEL].items():
            values = curve["value"]
            if len(values) > 1 and None not in values and len(set(values)) == 1 and values[0] not in (0.0, 1.0):
                found.append(f"{name} is the same at every horizon of the rollouts")
            like = [other for other in loop["models"] if other != MODEL and loop["models"][other][name] == curve]
            if like and len(set(values)) > 1:
                found.append(f"in rollouts, {name} is that of {' and '.join(like)}: is the field frozen?")
        if loop["impossible"][MODEL]["any"]:
            found.append(f"{loop['impossible'][MODEL]['any']:.1%} of rollouts have an impossible state")
    if previous is not None and previous.get("weights", {}).get("sha256") not in (None, sha256):
        old = previous.get("teacher_forced", {}).get("models", {}).get(MODEL)
        if old == step["models"][MODEL]:
            found.append(
                "every number equals that of an earlier result of other weights: was the right model evaluated?"
            )
    return found
