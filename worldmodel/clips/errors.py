"""How far a dream is from the truth beside it, in a few numbers that a person reads at a glance.

Owns: these numbers, of one clip. Must not: judge a model (that is `evaluation`, over many games, with intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.clips.clip import Clip, Frames
from worldmodel.schema import LAYOUT, PLAYERS, column_name

HORIZONS = (10, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class ErrorAt:
    """The dream at one frame. None: the replay does not have that frame, or not the field.

    frames: since the start, 1 is the first dreamed frame. position: game units, the distance between a player's dreamed
    and true place, mean of both. percent: mean of both. same_action: players in the true action state, of 2.
    true_deaths, dreamed_deaths: of both players up to here.
    """

    frames: int
    position: float | None
    percent: float | None
    same_action: int | None
    true_deaths: int | None
    dreamed_deaths: int | None


def errors_of(clip: Clip, before: Frames, horizons: Sequence[int] = HORIZONS) -> list[ErrorAt]:
    """Errors of a clip at some frames and at its last one. before: the frame that the dream began from."""
    last = len(clip)
    chosen = [h for h in horizons if h < last] + [last]
    return [_error_at(clip, before, frames) for frames in chosen]


def _error_at(clip: Clip, before: Frames, frames: int) -> ErrorAt:
    dreamed = _deaths(clip.frames[:frames], before)
    truth = clip.truth
    if truth is None or len(truth) < frames:
        return ErrorAt(frames, None, None, None, None, dreamed)
    row = frames - 1
    across, up, percent, action = (
        [_difference(clip.frames, truth, role, player, row) for player in PLAYERS]
        for role in ("position_x", "position_y", "percent", "action_state")
    )
    return ErrorAt(
        frames,
        _mean([None if a is None or b is None else float(np.hypot(a, b)) for a, b in zip(across, up, strict=True)]),
        _mean(percent),
        None if None in action else sum(one == 0 for one in action),
        _deaths(truth[:frames], before),
        dreamed,
    )


def _difference(one: Frames, other: Frames, role: str, player: str, row: int) -> float | None:
    name = column_name(LAYOUT.the(role), player)
    if name not in one.columns or name not in other.columns:
        return None
    return abs(float(one.columns[name][row]) - float(other.columns[name][row]))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _deaths(frames: Frames, before: Frames) -> int | None:
    """How often a player's stocks fall."""
    total = 0
    for player in PLAYERS:
        name = column_name(LAYOUT.the("stocks"), player)
        if name not in frames.columns or name not in before.columns:
            return None
        stocks: NDArray[Any] = np.concatenate([before.columns[name][-1:], frames.columns[name]]).astype(np.int64)
        total += int((np.diff(stocks) < 0).sum())
    return total
