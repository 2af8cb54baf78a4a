"""Kill rules: what must not go on. Pure functions over a run's own record, called by name with strict arguments.

    kill:
      - {rule: below, metric: val_change_acc, threshold: 0.60, after_epochs: 1}
      - {rule: not_decreasing, metric: loss/total, after_epochs: 0.05}
      - {rule: stale, minutes: 10}

Owns: when a rule fires, and how near it is. Must not: read files or clocks, or stop anything (the training loop and the
outside watcher do). To add a rule: one function here with `@_rule`; its keyword arguments become the keys of the file.

A rule gives the same verdict for the same rows, so nothing of it is kept between two looks, and a run that goes on
from a checkpoint is judged as if it had never stopped.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from statistics import fmean, median
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

VALIDATED = "val_"
"""Before the names of what is measured on held-out games; every other metric is one of training."""
WARM_UP_S = 300.0
"""Measured time before a projection may end a run: the first minutes are no measure of the others."""
NEIGHBOURS = 200
"""Newest values at least, where there are so many, whose differences tell the noise."""
FEWEST_INTERVALS = 3
"""Lines of pace that a projection needs."""
Row = Mapping[str, Any]
State = Literal["waiting", "ok", "fires"]
Weights = Literal["raw", "ema"]


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric. A value that was not finite is NaN."""

    step: int
    epoch: float
    value: float


@dataclass(slots=True)
class Record:
    """What a run wrote of itself, as plain rows; they may be appended to.

    status: of status.json. stale_s: seconds, by the reader's own clock, since the run last got on; None: not watched
    from outside. usd, usd_per_hour: budget and price, where the rule does not say its own.
    """

    metrics: list[Row] = field(default_factory=list)
    pace: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    status: Row = field(default_factory=dict)
    stale_s: float | None = None
    usd: float | None = None
    usd_per_hour: float | None = None
    _series: dict[tuple[str, str], tuple[int, list[Point]]] = field(default_factory=dict, repr=False)
    _num_finite: int = 0

    def series(self, metric: str, weights: str = "raw") -> list[Point]:
        """Every value of a metric so far, in the order of steps. Looks at each row once, however often it is asked."""
        num_seen, points = self._series.get((metric, weights), (0, []))
        kind = "val" if metric.startswith(VALIDATED) else "train"
        for row in self.metrics[num_seen:]:
            if row["kind"] != kind or row.get("weights", "raw") != (weights if kind == "val" else "raw"):
                continue
            value = math.nan if metric in row.get("non_finite", ()) else row.get(metric)
            if value is not None:
                points.append(Point(row["step"], row["epoch"], float(value)))
        self._series[metric, weights] = (len(self.metrics), points)
        return points

    def first_bad(self) -> tuple[int, list[str]] | None:
        """Step and names of the first row of training or validation with numbers that are not finite."""
        for row in self.metrics[self._num_finite :]:
            bad = row.get("non_finite") or [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)]
            if bad and row["kind"] != "naive":
                return row["step"], list(bad)
            self._num_finite += 1
        return None

    @property
    def step(self) -> int:
        """The last step that is written of."""
        return max((0, *(int(rows[-1].get("step", 0)) for rows in (self.metrics, self.pace, self.events) if rows)))

    @property
    def steps_per_epoch(self) -> float | None:
        """None before the first row that tells it."""
        for row in (*reversed(self.events), *reversed(self.metrics[-50:])):
            if row.get("steps_per_epoch"):
                return float(row["steps_per_epoch"])
            if row.get("epoch"):
                return float(row["step"] / row["epoch"])
        return None

    @property
    def spent_s(self) -> float:
        """Time that all processes of this run took, start and lost work included where the run kept count of it."""
        lost = sum(float(row.get("lost_s", 0)) for row in self.events if row["event"] == "resumed")
        paced = sum(float(row["elapsed_s"]) for row in self.pace)
        return max(float(self.status.get("spent_s") or 0), lost + paced)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says. nearness: 0 far from firing, 1 fires; unit of value and threshold: of the rule.

    at_step: where it fired, else the last step it knows of.
    """

    rule: str
    state: State
    value: float | None
    threshold: float | None
    at_step: int
    reason: str
    nearness: float

    def as_json(self) -> dict[str, Any]:
        """Strict JSON: what is not finite is null."""
        plain = asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}


RULES: dict[str, Callable[..., Verdict]] = {}
"""Every rule, by the name of its function."""


def _rule(function: Callable[..., Verdict]) -> Callable[..., Verdict]:
    RULES[function.__name__] = function
    return function


# ---- metrics -----------------------------------------------------------------------------------------------------


@_rule
def below(
    record: Record, *, metric: str, threshold: float, after_epochs: NonNegativeFloat = 1.0, weights: Weights = "raw"
) -> Verdict:
    """A metric is below a threshold in any row from `after_epochs` on: for what is better when higher."""
    return _limit("below", record, metric, threshold, after_epochs, weights)


@_rule
def above(
    record: Record, *, metric: str, threshold: float, after_epochs: NonNegativeFloat = 0.0, weights: Weights = "raw"
) -> Verdict:
    """A metric is above a threshold in any row from `after_epochs` on: for what is better when lower."""
    return _limit("above", record, metric, threshold, after_epochs, weights)


def _limit(name: str, record: Record, metric: str, threshold: float, after: float, weights: str) -> Verdict:
    points = record.series(metric, weights)
    first = bisect_left(points, after - 1e-9, key=_epoch)
    if first == len(points):
        return _waits(name, record, f"no {metric} yet from epoch {after:g} on", threshold=threshold)
    for point in islice(points, first, None):
        is_well = point.value >= threshold if name == "below" else point.value <= threshold
        if not is_well:
            said = "not a finite number" if math.isnan(point.value) else f"{point.value:.4g}, {name} {threshold:g}"
            return Verdict(
                name, "fires", point.value, threshold, point.step, f"{metric} is {said} (epoch {point.epoch:.3g})", 1.0
            )
    last = points[-1]
    return Verdict(
        name, "ok", last.value, threshold, last.step, f"{metric} {last.value:.4g}, fires {name} {threshold:g}",
        _near(last.value, threshold),
    )  # fmt: skip


@_rule
def not_decreasing(
    record: Record,
    *,
    metric: str = "loss/total",
    after_epochs: PositiveFloat = 0.05,
    by: Annotated[float, Field(ge=0, lt=1)] = 0.01,
    noise: NonNegativeFloat = 2.0,
    weights: Weights = "raw",
) -> Verdict:
    """A metric is not lower than at the beginning, although `after_epochs` have passed.

    Compared are the mean of the first third of the first `after_epochs` and the mean of the last third of the newest
    `after_epochs`. It fires if the drop, even with `noise` standard errors added in the run's favour, is less than
    `by` of the beginning. A plateau below the beginning is no reason to fire, a return to the beginning is. The
    noise is taken from the differences of neighbours (their median), which a steady fall only makes greater.
    """
    points = record.series(metric, weights)
    if not points or points[-1].epoch < after_epochs - 1e-9:
        return _waits("not_decreasing", record, f"judged from epoch {after_epochs:g} on")
    end = points[-1].epoch
    head = points[: max(1, bisect_right(points, after_epochs, key=_epoch))]
    begins = min(bisect_left(points, end - after_epochs, key=_epoch), len(points) - NEIGHBOURS)
    tail = points[max(len(head), begins) :]
    looked_at = [*head, *tail]
    if any(math.isnan(point.value) for point in looked_at):
        bad = next(point for point in looked_at if math.isnan(point.value))
        return Verdict("not_decreasing", "fires", bad.value, None, bad.step, f"{metric} is not a finite number", 1.0)
    first = [p.value for p in head if p.epoch <= after_epochs / 3] or [head[0].value]
    last = [p.value for p in looked_at if p.epoch > end - after_epochs / 3]
    if len(points) < len(first) + len(last) or len(points) < 2:
        return _waits("not_decreasing", record, f"{len(points)} values of {metric} are too few to compare")
    begin, now = fmean(first), fmean(last)
    steps = [abs(b.value - a.value) for a, b in pairwise(looked_at)]
    # The median, so that one leap is not taken for noise; 1.05 makes it the deviation of a normal distribution. Two
    # values alone say nothing of noise: a fixed sample, measured twice, has little.
    deviation = 1.05 * median(steps) if len(steps) > 1 else 0.0
    error = deviation * math.sqrt(1 / len(first) + 1 / len(last))
    drop, needed = begin - now, by * abs(begin)
    fires = drop + noise * error < needed
    verb = "is not" if fires else "fires if not"
    reason = f"{metric} {begin:.4g} at first, {now:.4g} now (noise {noise * error:.2g}); {verb} {needed:.2g} lower"
    nearness = 1.0 if fires else min(0.99, max(0.0, 1 - drop / max(abs(begin), 1e-12)))
    return Verdict("not_decreasing", "fires" if fires else "ok", now, begin - needed, points[-1].step, reason, nearness)


@_rule
def non_finite(record: Record) -> Verdict:
    """A loss, a gradient or a metric is NaN or infinite."""
    for row in record.events:
        if row["event"] == "non_finite":
            return _fires("non_finite", int(row["step"]), str(row.get("message", "a loss or gradient is not finite")))
    if (found := record.first_bad()) is not None:
        return _fires("non_finite", found[0], f"{', '.join(found[1][:3])} not finite")
    return Verdict("non_finite", "ok", None, None, record.step, "every number is finite", 0.0)


# ---- the machine -------------------------------------------------------------------------------------------------


@_rule
def out_of_memory(record: Record, *, limit_gb: PositiveFloat | None = None) -> Verdict:
    """A process of the run had no memory left, or, with `limit_gb`, takes more than that."""
    for row in record.events:
        if row["event"] == "out_of_memory" or row.get("out_of_memory"):
            return _fires("out_of_memory", int(row.get("step", 0)), str(row.get("message", "no memory left")))
    used = max((float(row["memory_gb"]) for row in record.pace), default=None)
    if limit_gb is None or used is None:
        return Verdict("out_of_memory", "ok", used, limit_gb, record.step, "no process ran out of memory", 0.0)
    fires = used > limit_gb
    reason = f"{used:.3g} GB of memory, fires above {limit_gb:g}"
    near = 1.0 if fires else used / limit_gb
    return Verdict("out_of_memory", "fires" if fires else "ok", used, limit_gb, record.step, reason, near)


@_rule
def epoch_longer_than(record: Record, *, hours: PositiveFloat, projected: bool = True) -> Verdict:
    """An epoch takes, or at the median pace of late will take, more than so many hours of stepping and measuring.

    Times are the intervals that the run wrote down, so that waiting for a machine and jumps of clocks do not count.
    """
    name, per_epoch = "epoch_longer_than", record.steps_per_epoch
    if per_epoch is None or not record.pace:
        return _waits(name, record, "no pace yet", threshold=hours)
    rows = record.pace
    epoch = (rows[-1]["step"] - 1) // per_epoch
    spent_s, warm_s, rates = 0.0, 0.0, list[float]()
    for place in range(len(rows) - 1, -1, -1):
        row, before = rows[place], rows[place - 1]["step"] if place else 0
        if row["step"] <= epoch * per_epoch and warm_s >= WARM_UP_S and len(rates) >= 30:
            break
        if (num := row["step"] - before) > 0:
            rates.append(row["elapsed_s"] / num)
            warm_s += row["elapsed_s"]
            spent_s += row["elapsed_s"] * max(0.0, row["step"] - max(before, epoch * per_epoch)) / num
    step = rows[-1]["step"]
    if spent_s > 3600 * hours:
        return _fires(name, step, f"epoch {epoch + 1:.0f} has taken {_time(spent_s)}", spent_s / 3600, hours)
    if not projected or len(rates) < FEWEST_INTERVALS or warm_s < WARM_UP_S:
        value = spent_s / 3600
        return Verdict(
            name, "ok", value, hours, step, f"{_time(spent_s)} of epoch {epoch + 1:.0f} so far", value / hours
        )
    left = (epoch + 1) * per_epoch - step
    value = (spent_s + left * median(rates[:30])) / 3600
    reason = f"epoch {epoch + 1:.0f} will take {_time(3600 * value)} at this pace, fires above {hours:g} h"
    return Verdict(name, "fires" if value > hours else "ok", value, hours, step, reason, min(1.0, value / hours))


@_rule
def over_budget(
    record: Record,
    *,
    usd: PositiveFloat | None = None,
    usd_per_hour: NonNegativeFloat | None = None,
    projected: bool = True,
) -> Verdict:
    """The run has cost, or even at the fast pace of its last minutes will cost, more than its budget."""
    usd = record.usd if usd is None else usd
    price = record.usd_per_hour if usd_per_hour is None else usd_per_hour
    if usd is None or price is None:
        return _waits("over_budget", record, "no budget" if usd is None else "no price per hour", threshold=usd)
    if not record.spent_s:
        return _waits("over_budget", record, "no time was counted yet", threshold=usd)
    spent = record.spent_s / 3600 * price
    if spent > usd:
        return _fires("over_budget", record.step, f"${spent:.2f} are spent, of ${usd:g}", spent, usd)
    left_s = record.pace[-1].get("eta_low_s") if record.pace else None
    is_warm = sum(row["elapsed_s"] for row in record.pace[-200:]) >= WARM_UP_S
    if not projected or left_s is None or not is_warm:
        return Verdict("over_budget", "ok", spent, usd, record.step, f"${spent:.2f} spent of ${usd:g}", spent / usd)
    total = spent + left_s / 3600 * price
    reason = f"${spent:.2f} spent, at least ${total:.2f} in the end, of ${usd:g}"
    state: State = "fires" if total > usd else "ok"
    return Verdict("over_budget", state, total, usd, record.step, reason, min(1.0, total / usd))


@_rule
def stale(record: Record, *, minutes: PositiveFloat = 10.0) -> Verdict:
    """The run has not got on for so many minutes by the clock of who watches it. Judged by the outside watcher only."""
    if record.stale_s is None:
        return _waits("stale", record, "judged by the outside watcher", threshold=minutes)
    value = record.stale_s / 60
    reason = f"got on {_time(record.stale_s)} ago, fires after {minutes:g} min"
    fires = value > minutes
    near = 1.0 if fires else value / minutes
    return Verdict("stale", "fires" if fires else "ok", value, minutes, record.step, reason, near)


def _waits(name: str, record: Record, reason: str, *, threshold: float | None = None) -> Verdict:
    return Verdict(name, "waiting", None, threshold, record.step, reason, 0.0)


def _fires(name: str, step: int, reason: str, value: float | None = None, threshold: float | None = None) -> Verdict:
    return Verdict(name, "fires", value, threshold, step, reason, 1.0)


def _epoch(point: Point) -> float:
    return point.epoch


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _near(value: float, threshold: float) -> float:
    """1 at the threshold, less the farther the value is from it, measured by the greater of the two."""
    return max(0.0, 1 - abs(value - threshold) / max(abs(value), abs(threshold), 1e-12))
