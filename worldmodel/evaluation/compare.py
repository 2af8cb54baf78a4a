"""Two runs on the same frames: paired differences, verdicts, and what size of difference could have been seen.

Owns: when two results may be compared, the comparison, its files. Must not: evaluate a run, define a metric.

A difference is B minus A, each of the same games on the same draws: what makes a game hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import WrongUse
from worldmodel.evaluation import bootstrap, compare_page, sums
from worldmodel.evaluation.bootstrap import Estimate
from worldmodel.evaluation.metrics import LOSS_PREFIX
from worldmodel.evaluation.result import STEP
from worldmodel.evaluation.result_file import RESULT_FILE, Json, read_result
from worldmodel.evaluation.suite import FORKS_FILE, SUMS_FILE
from worldmodel.evaluation.sums import Ledger, Measure
from worldmodel.runs import atomic

COMPARE_VERSION = 1
"""Raised when a reader of older comparisons would misread a new one. 1 (2026-11): first."""

POWER = 0.8
_Z = 1.959964 + 0.841621
"""Normal quantiles of a two-sided 5 % test and of POWER: a true difference of so many standard errors is seen so."""

_WINDOWS = ("length", "burn_in", "history")
"""Settings that belong to a run: a model is shown as many frames as it was trained on."""


@dataclass(frozen=True, slots=True)
class Side:
    """A run's result with its sums."""

    name: str
    json: Json
    ledger: Ledger
    forks: Ledger | None


def read_side(report: Path) -> Side:
    """What an evaluation left in a report folder. Raises WrongUse if it is missing, of another version, or torn."""
    path = report / RESULT_FILE
    value = read_result(path)
    if not isinstance(value.get("files"), dict) or SUMS_FILE not in value["files"]:
        raise WrongUse(
            f"{path} names no sums", f"a result with {SUMS_FILE} beside it", "evaluate again: worldmodel eval RUN"
        )
    ledgers = {name: sums.read(report / name, sha256=sha256) for name, sha256 in value["files"].items()}
    return Side(value["run"], value, ledgers[SUMS_FILE], ledgers.get(FORKS_FILE))


def differences_of(a: Json, b: Json) -> list[str]:
    """What keeps two results from being compared, in words; empty if nothing does."""

    def conditions(value: Json) -> Json:
        own = {key: kept for key, kept in value["settings"].items() if key not in (*_WINDOWS, "weights")}
        return {
            "data": value["data"]["content_hash"],
            "split": value["data"]["split"],
            "starts": value["starts"]["digest"],
        } | {f"setting {key}": kept for key, kept in own.items()}

    one, other = conditions(a), conditions(b)
    return [
        f"{key} {one.get(key)!r} and {other.get(key)!r}"
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]


def compare(a: Side, b: Side) -> Json:
    """The comparison as JSON. Raises WrongUse for results of other data, starts or settings."""
    found = differences_of(a.json, b.json)
    if found or a.ledger.games != b.ledger.games:
        raise WrongUse(
            f"results that differ in {'; '.join(found) or 'their games'}",
            "two results of the same data, starts and settings",
            "give --data DATASET to evaluate both runs in the same way",
        )
    notes, left_out = _left_out(a.json, b.json)
    seed = int(a.json["settings"]["seed"])
    rows = _rows(a.ledger, b.ledger, seed, left_out)
    if a.forks is not None and b.forks is not None and a.forks.games == b.forks.games:
        rows += _rows(a.forks, b.forks, seed, ())
    by_name = {row["name"]: row for row in rows}
    headlines = [
        {"label": row["name"], "where": row["where"], **by_name[row["measure"]]}
        for row in a.json["headlines"]
        if row["measure"] in by_name
    ]
    judged = [row["verdict"] for row in rows if row["better"] != "neither"]
    return {
        "compare_version": COMPARE_VERSION,
        "a": _about(a),
        "b": _about(b),
        "data": {key: a.json["data"][key] for key in ("name", "content_hash", "split", "held_out", "num_games")},
        "starts": a.json["starts"],
        "settings": {key: a.json["settings"][key] for key in ("seed", "level", "num_resamples")} | {"power": POWER},
        "same_weights": a.json["weights"]["sha256"] == b.json["weights"]["sha256"],
        "notes": notes,
        "counts": {kind: judged.count(kind) for kind in ("better", "worse", "undecided", "unknown")},
        "headlines": headlines,
        "measures": rows,
    }


def _about(side: Side) -> Json:
    keys = ("sha256", "step", "ema", "arch", "heads", "num_parameters", "codec_hash")
    return {"run": side.name, **{key: side.json["weights"][key] for key in keys}}


def _left_out(a: Json, b: Json) -> tuple[list[str], tuple[str, ...]]:
    """Notes for people, and prefixes of measures that are not compared."""
    notes: list[str] = []
    left_out: list[str] = []
    windows = [{key: value["settings"][key] for key in ("length", "burn_in")} for value in (a, b)]
    if windows[0] != windows[1]:
        notes.append(f"one step ahead is left out: windows of {windows[0]} and of {windows[1]} score other frames")
        left_out.append(f"{STEP}/")
    same = all(
        a[part][key] == b[part][key]
        for part, key in (("settings", "weights"), ("weights", "heads"), ("weights", "codec_hash"))
    )
    if not same:
        notes.append("losses are left out: the runs have other heads, codecs or loss weights")
        left_out.append(f"{STEP}/{LOSS_PREFIX}")
    return notes, tuple(left_out)


def _rows(a: Ledger, b: Ledger, seed: int, left_out: tuple[str, ...]) -> list[Json]:
    """A row per measure that both have."""
    sides = [ledger.model() for ledger in (a, b)]
    places = [{measure.name: index for index, measure in enumerate(measures)} for measures, _ in sides]
    shared = [m for m in sides[0][0] if m.name in places[1] and not m.name.startswith(left_out or ("\0",))]
    pairs = [
        (numerator[:, at], denominator[:, at])
        for (_, (numerator, denominator)), place in zip(sides, places, strict=True)
        for at in [[place[measure.name] for measure in shared]]
    ]
    values = [bootstrap.estimate(pair, seed=seed) for pair in pairs]
    gaps = bootstrap.difference(pairs[1], pairs[0], seed=seed)
    errors = bootstrap.spread(pairs[1], pairs[0], seed=seed)
    return [
        _row(measure, *parts)
        for measure, *parts in zip(shared, values[0], values[1], gaps, errors.tolist(), strict=True)
    ]


def _row(measure: Measure, a: Estimate, b: Estimate, gap: Estimate, error: float) -> Json:
    return {
        **asdict(measure),
        "a": asdict(a),
        "b": asdict(b),
        "difference": asdict(gap),
        # Where nothing varies from game to game (none of either has the event, say), nothing is known of what could.
        "smallest_detectable": None if np.isnan(error) or error == 0 else _Z * error,
        "verdict": _verdict(measure.better, gap),
    }


def _verdict(better: str, gap: Estimate) -> str:
    """Whether B is "better" or "worse" than A with the whole interval; "undecided" if it holds 0; "unknown" without an
    interval; "differs" or "undecided" for what has no good side."""
    if gap.low is None or gap.high is None:
        return "unknown"
    if gap.low <= 0 <= gap.high:
        return "undecided"
    if better == "neither":
        return "differs"
    return "better" if (gap.low > 0) == (better == "higher") else "worse"


def write(found: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """`compare-<B>.json` and `.html` in A's report folder, each whole or not at all."""
    stem = f"compare-{found['b']['run']}"
    data, page = folder / f"{stem}.json", folder / f"{stem}.html"
    atomic.write_json(data, found)
    atomic.write_text(page, compare_page.render(found))
    return data, page
