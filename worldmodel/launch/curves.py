"""The curves of a run as one SVG picture beside its card: what fell, what rose, where it was stopped.

Owns: shapes and places; colours that read on light and dark pages. Must not: read a file, or change a value but by
taking the mean of neighbours where there are more points than the picture has columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import fmean

from worldmodel.launch.outcome import Outcome, best_step
from worldmodel.runs.card import Card
from worldmodel.runs.rules import VALIDATED, Point, Record

WIDTH, HEIGHT, GAP = 440, 236, 20
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 34
COLUMNS = 2
MOST_POINTS = 240
"""Of a line; more are taken together."""
LOG_FROM = 30.0
"""Greatest over least value from which on an axis is logarithmic."""
TRAIN, TOTAL = "loss/total", f"{VALIDATED}loss/total"
WITHOUT_TARGETS = ("val_change_acc", "val_pos_mae")
GROUND = 8.0

STYLE = """
svg{--ink:#1f2328;--dim:#656d76;--grid:#d8dee4;--paper:#ffffff;--a:#0969da;--b:#bc4c00;--goal:#1a7f37;--end:#cf222e}
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--dim:#8d96a0;--grid:#30363d;--paper:#0d1117;--a:#58a6ff;
--b:#f0883e;--goal:#3fb950;--end:#ff7b72}}
text{font:11px system-ui,sans-serif;fill:var(--dim)} .title{font-size:13px;font-weight:600;fill:var(--ink)}
.paper{fill:var(--paper)} .grid{stroke:var(--grid)} .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.fine{stroke-width:1.1;opacity:.75} .a{stroke:var(--a)} .b{stroke:var(--b)} .fa{fill:var(--a)} .fb{fill:var(--b)}
.goal{stroke:var(--goal);stroke-dasharray:5 3} .was{stroke:var(--dim);stroke-dasharray:2 3}
.kill{stroke:var(--end);stroke-dasharray:5 3} .life{stroke:var(--dim);stroke-dasharray:1 3} .end{stroke:var(--end)}
.tgoal{fill:var(--goal)} .tkill,.tend{fill:var(--end)}
""".strip()


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line with its word. kind: "goal", "was" or "kill"."""

    kind: str
    value: float
    word: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: up to two lines over epochs."""

    title: str
    lines: Sequence[tuple[str, Sequence[Point]]]
    levels: Sequence[Level] = ()
    is_share: bool = False
    marks: Sequence[tuple[str, float, str]] = field(default_factory=tuple)


def draw(outcome: Outcome, record: Record, card: Card) -> str:
    """The picture of a run: its losses, and each of its targets with what it was to reach and what would have ended it.

    The same record gives the same bytes.
    """
    per_epoch = outcome.steps_per_epoch or 1.0
    marks = [("life", life.from_step / per_epoch, "") for life in outcome.lives[1:]]
    if outcome.state not in ("finished", "not ended"):
        marks.append(("end", outcome.step / per_epoch, outcome.state))
    best = best_step(record)
    losses = record.series(TRAIN), record.series(TOTAL)
    both = (("training", losses[0]), ("held out", losses[1]))
    panels = [Panel("loss", both, _near(_levels(card, TOTAL), [*losses[0], *losses[1]]), marks=marks)]
    for metric in [target.metric for target in card.targets] or list(WITHOUT_TARGETS):
        points = record.series(metric)
        if metric == TOTAL or not points:
            continue
        levels = _near(_levels(card, metric), points)
        panels.append(Panel(metric, (("held out", points),), levels, metric.endswith("_acc"), marks))
    panels = [panel for panel in panels if any(points for _, points in panel.lines)]
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, max(1, len(panels)))
    width, height = columns * (WIDTH + GAP) - GAP, rows * (HEIGHT + GAP) - GAP
    label = escape(f"Curves of {outcome.run}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-GROUND:g} {-GROUND:g} {width + 2 * GROUND:g} '
        f'{height + 2 * GROUND:g}" width="{width + 2 * GROUND:g}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x="{-GROUND:g}" y="{-GROUND:g}" width="{width + 2 * GROUND:g}" '
        f'height="{height + 2 * GROUND:g}" rx="6"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % COLUMNS * (WIDTH + GAP), number // COLUMNS * (HEIGHT + GAP)
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel, per_epoch, outcome, best), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _levels(card: Card, metric: str) -> list[Level]:
    """What the card says of a metric: where it was, where it is to get to, what ends the run."""
    levels = []
    for target in card.targets:
        if target.metric == metric:
            levels.append(Level("goal", target.target, "target"))
            levels += [Level("was", target.baseline, "baseline")] if target.baseline is not None else []
    for rule in card.kill:
        if rule.arguments.get("metric") == metric and rule.arguments.get("threshold") is not None:
            levels.append(Level("kill", float(rule.arguments["threshold"]), "kill"))
    return levels


def _near(levels: Sequence[Level], points: Sequence[Point]) -> list[Level]:
    """Those that leave the curve at least a third of the picture's height."""
    values = [point.value for point in points if math.isfinite(point.value)]
    if not values:
        return []
    low, high = min(values), max(values)
    room = 2 * ((high - low) or abs(high) or 1.0)
    return [level for level in levels if low - room <= level.value <= high + room]


def _panel(panel: Panel, per_epoch: float, outcome: Outcome, best: int | None) -> list[str]:
    lines = [(word, _thin([p for p in points if math.isfinite(p.value)])) for word, points in panel.lines]
    shown = [point.value for _, points in lines for point in points] + [level.value for level in panel.levels]
    is_log = min(shown) > 0 and max(shown) > LOG_FROM * min(shown)
    ticks = _log_ticks(min(shown), max(shown)) if is_log else _ticks(min(shown), max(shown))
    low, high = ticks[0], ticks[-1]
    last = max(max(point.step for _, points in lines for point in points), outcome.num_steps or 0, 1) / per_epoch

    def x(epoch: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(1.0, epoch / last)

    def y(value: float) -> float:
        share = (math.log(value / low) / math.log(high / low)) if is_log else (value - low) / (high - low)
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share

    parts = [f'<text class="title" x="{_LEFT}" y="16">{escape(panel.title)}</text>']
    at = float(WIDTH - _RIGHT)
    if len(lines) > 1:
        for place, (word, points) in reversed(list(enumerate(lines))):
            if points:
                parts.append(f'<text x="{at:.1f}" y="16" text-anchor="end">{escape(word)}</text>')
                at -= 5.8 * len(word) + 9
                parts.append(f'<circle class="f{"ab"[place]}" cx="{at:.1f}" cy="12" r="4"/>')
                at -= 16
    for tick in ticks:
        text = f"{100 * tick:.4g}%" if panel.is_share else f"{tick:.4g}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    parts += [
        f'<text x="{x(tick):.1f}" y="{HEIGHT - 18}" text-anchor="middle">{tick:.4g}</text>'
        for tick in _ticks(0.0, last)
        if tick <= last * 1.001
    ]
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">epochs</text>')
    for kind, epoch, word in panel.marks:
        parts.append(
            f'<line class="{kind}" x1="{x(epoch):.1f}" x2="{x(epoch):.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        )
        if word:
            anchor = "end" if epoch > last / 2 else "start"
            off = -5 if anchor == "end" else 5
            parts.append(
                f'<text class="t{kind}" x="{x(epoch) + off:.1f}" y="{HEIGHT - _BOTTOM - 5}" text-anchor="{anchor}">'
                f"{escape(word)}</text>"
            )
    for level in panel.levels:
        parts.append(
            f'<line class="{level.kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
            f'y1="{y(level.value):.1f}" y2="{y(level.value):.1f}"/>'
        )
        parts.append(
            f'<text class="t{level.kind}" x="{WIDTH - _RIGHT}" y="{y(level.value) - 4:.1f}" text-anchor="end">'
            f"{level.word}</text>"
        )
    for place, (_, points) in enumerate(lines):
        colour = "ab"[place] if len(lines) > 1 else "b"  # what is held out has one colour in all of them
        path = " ".join(f"{x(point.step / per_epoch):.1f},{y(point.value):.1f}" for point in points)
        if len(points) > 1:
            fine = " fine" if place == 0 and len(lines) > 1 else ""
            parts.append(f'<polyline class="line {colour}{fine}" points="{path}"/>')
        for point in points:
            is_best = point.step == best and panel.lines[place][1] and len(points) <= MOST_POINTS
            if len(points) == 1 or (is_best and (place == 1 or len(lines) == 1)):
                parts.append(
                    f'<circle class="f{colour}" cx="{x(point.step / per_epoch):.1f}" cy="{y(point.value):.1f}" r="4"/>'
                )
    return parts


def _thin(points: Sequence[Point]) -> list[Point]:
    """At most MOST_POINTS: neighbours become their mean, at the step of the last."""
    if len(points) <= MOST_POINTS:
        return list(points)
    out = []
    for place in range(MOST_POINTS):
        part = points[place * len(points) // MOST_POINTS : (place + 1) * len(points) // MOST_POINTS]
        out.append(Point(part[-1].step, part[-1].epoch, fmean(point.value for point in part)))
    return out


def _ticks(low: float, high: float) -> list[float]:
    """About four round steps that hold both ends."""
    if not high > low:
        low, high = low - 0.5 * abs(low or 1.0), high + 0.5 * abs(high or 1.0)
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough)
    return [round(step * k, 10) for k in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that hold both ends; with a 3 between them where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**k for k in range(first, last + 1)]
    if len(powers) > 3:
        return powers
    threes = sorted([*powers, *(3 * power for power in powers[:-1])])
    inside = [tick for tick in threes if low * 0.999 <= tick <= high * 1.001]
    below, above = max(t for t in threes if t <= low * 1.001), min(t for t in threes if t >= high * 0.999)
    return sorted({below, *inside, above})
