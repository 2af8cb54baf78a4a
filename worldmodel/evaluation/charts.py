"""Pictures of the report as inline SVG: curves over the horizon, and two players' paths on a stage.

Owns: shapes and places. Must not: hold colours (they are classes of `report.css`, so that dark mode is one rule),
compute a number that the result does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from worldmodel.melee.stages import GEOMETRY, Stage

Point = tuple[float, float]

WIDTH, HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 34


def curves(
    lines: Mapping[str, Mapping[str, Any]],
    *,
    share: bool,
    label: str,
    at: Sequence[int] | None = None,
    axis: str = "frames dreamed",
) -> str:
    """Curves with intervals over horizons. lines: class of `report.css` -> {"value", "low", "high"}, holes as None.

    share: the axis is 0 .. 100 %. at: the horizons (None: 1, 2, ...). The first line is drawn last, on top. Values
    below 0 (of differences) get their own part of the axis.
    """
    longest = max(len(curve["value"]) for curve in lines.values())
    frames_at = list(at) if at is not None else list(range(1, longest + 1))
    last = frames_at[-1]
    known = [v for c in lines.values() for key in ("value", "low", "high") for v in c[key] if v is not None]
    signed = min(known, default=0.0) < 0
    if share and not signed:
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    elif signed:
        size = _ticks(max(known) - min(known))[1]
        ticks = [round(k * size, 10) for k in range(math.floor(min(known) / size), math.ceil(max(known) / size) + 1)]
    else:
        ticks = _ticks(max((v for c in lines.values() for k in ("value", "high") for v in c[k] if v), default=1.0))
    bottom, top = ticks[0], ticks[-1]

    def x(frames: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (frames - frames_at[0]) / max(last - frames_at[0], 1)

    def y(value: float) -> float:
        inside = min(max(value, bottom), top)
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (inside - bottom) / (top - bottom)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        text = f"{100 * tick:g}%" if share else f"{tick:g}"
        style = "grid zero" if signed and tick == 0 else "grid"
        parts.append(
            f'<line class="{style}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        )
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    step = next((size for size in (10, 20, 50, 100, 200) if last <= 8 * size), last)
    parts += [
        f'<text class="tick" x="{x(frames):.1f}" y="{HEIGHT - 17}" text-anchor="middle">{frames}</text>'
        for frames in sorted({frames_at[0], *range(step, last + 1, step)})
    ]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 2}" text-anchor="middle">{escape(axis)}</text>')
    for style, curve in reversed(list(lines.items())):
        band = zip(frames_at, curve["low"], curve["high"], strict=True)
        sure = [(k, low, high) for k, low, high in band if low is not None and high is not None]
        if len(sure) > 1:
            outline = [(x(k), y(high)) for k, _, high in sure] + [(x(k), y(low)) for k, low, _ in reversed(sure)]
            parts.append(f'<path class="band {style}" d="{_path(outline)}Z"/>')
        line = [(x(k), y(value)) for k, value in zip(frames_at, curve["value"], strict=True) if value is not None]
        if line:
            parts.append(f'<path class="line {style}" d="{_path(line)}"/>')
    parts.append("</svg>")
    return "".join(parts)


def _ticks(top: float) -> list[float]:
    """About four round steps from 0 that reach `top`."""
    if not top > 0:
        return [0.0, 1.0]
    rough = top / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough)
    return [round(step * k, 10) for k in range(math.ceil(top / step - 1e-9) + 1)]


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points)


def _strokes(points: Sequence[Point], longest: float) -> str:
    """A path that is lifted where a step is longer: nobody moved there, he was put there."""
    parts: list[list[Point]] = [[points[0]]]
    for before, now in pairwise(points):
        if math.dist(before, now) > longest:
            parts.append([])
        parts[-1].append(now)
    return "".join(_path(part) for part in parts)


# ---- a stage with two paths ------------------------------------------------------------------------------------------

Track = Sequence[Sequence[float | None]]
"""Positions (x, y) of one player, frame after frame; None where a number was none."""

JUMP_UNITS = 30.0
"""No body is this fast; one that comes back to life is put somewhere."""

_SCENE_WIDTH, _SCENE_HEIGHT = 400, 250


def stage_named(name: str) -> Stage | None:
    """Geometry by a stage's name; None for stages without one."""
    return next((stage for stage in GEOMETRY.values() if stage.name == name), None)


def scene(name: str, tracks: Sequence[Track], ghosts: Sequence[Track], around: Sequence[Track], *, label: str) -> str:
    """Paths of both players on their stage. ghosts: drawn faintly below. around: what the picture must show.

    Start: a ring. A dot every 20 frames, a larger one at the end. Paths outside the picture are cut.
    """
    stage = stage_named(name)
    left, right, low, high = _frame(stage, around)
    scale = _SCENE_WIDTH / (right - left)

    def at(point: Sequence[float | None]) -> Point | None:
        px, py = point
        return None if px is None or py is None else ((px - left) * scale, (high - py) * scale)

    parts = [
        f'<svg class="scene" viewBox="0 0 {_SCENE_WIDTH} {_SCENE_HEIGHT}" role="img" aria-label="{escape(label)}">'
    ]
    if stage is not None:
        parts += _ground(stage, left, high, low, scale)
    for kind, group in (("ghost", ghosts), ("path", tracks)):
        for player, track in enumerate(group):
            points = [place for place in map(at, track) if place is not None]
            if not points:
                continue
            parts.append(f'<path class="{kind} p{player}" d="{_strokes(points, JUMP_UNITS * scale)}"/>')
            if kind == "path":
                parts += [
                    f'<circle class="dot p{player}" cx="{px:.1f}" cy="{py:.1f}" r="2.4"/>'
                    for px, py in points[20:-1:20]
                ]
                parts.append(f'<circle class="start p{player}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="5"/>')
                parts.append(f'<circle class="dot p{player}" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="5"/>')
    parts.append("</svg>")
    return "".join(parts)


def _frame(stage: Stage | None, around: Sequence[Track]) -> tuple[float, float, float, float]:
    """left, right, bottom, top of the picture: stage and paths, with a margin, in the picture's proportions."""
    xs = [p[0] for track in around for p in track if p[0] is not None and p[1] is not None]
    ys = [p[1] for track in around for p in track if p[0] is not None and p[1] is not None]
    if stage is not None:
        # Beyond the blast zones nothing is alive; a path that goes there is cut.
        xs = [min(max(v, stage.left), stage.right) for v in xs] + [-stage.edge, stage.edge]
        ys = [min(max(v, stage.bottom), stage.top) for v in ys] + [-25.0, 60.0]
    xs, ys = xs or [-60.0, 60.0], ys or [-20.0, 60.0]
    left, right, low, high = min(xs) - 12, max(xs) + 12, min(ys) - 10, max(ys) + 12
    wanted = _SCENE_WIDTH / _SCENE_HEIGHT
    missing_width = wanted * (high - low) - (right - left)
    if missing_width > 0:
        return left - missing_width / 2, right + missing_width / 2, low, high
    missing_height = (right - left) / wanted - (high - low)
    return left, right, low - missing_height / 2, high + missing_height / 2


def _ground(stage: Stage, left: float, high: float, low: float, scale: float) -> list[str]:
    def at(px: float, py: float) -> Point:
        return (px - left) * scale, (high - py) * scale

    top = [
        (-stage.edge, stage.edge_height),
        (-stage.flat, stage.floor),
        (stage.flat, stage.floor),
        (stage.edge, stage.edge_height),
    ]
    depth = max(low - 5, -45.0)
    body = [at(*p) for p in top] + [at(stage.edge * 0.72, depth), at(-stage.edge * 0.72, depth)]
    parts = [f'<path class="body" d="{_path(body)}Z"/>', f'<path class="floor" d="{_path([at(*p) for p in top])}"/>']
    parts += [
        f'<path class="floor" d="{_path([at(p.left, p.height), at(p.right, p.height)])}"/>' for p in stage.platforms
    ]
    return parts
