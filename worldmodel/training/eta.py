"""How long a run will still take, with an interval.

Owns: the estimate from the pace so far. Must not: read clocks.

The estimate is steps left times the mean step of the last intervals (an interval lies between two log lines), plus
validations left times the last one's time. The interval is the same sum with the 10th and the 90th percentile of those
intervals' step times: the rest of the run goes as fast as its fast stretches of late, or as slow as its slow ones.
The first interval of a process, with its compilation and cold caches, says nothing: a run of an hour would begin with
two days. With fewer than three others there is no interval yet.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from worldmodel.tracking.progress import duration

__all__ = ["Eta", "duration"]

NUM_INTERVALS = 30
"""Intervals looked back on: five minutes of log lines."""
FEWEST = 3
"""Intervals that say something of how much they vary."""


@dataclass(slots=True)
class Eta:
    """Step times of late. `validation_s`: what the last validation took."""

    validation_s: float = 0.0
    _intervals: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=NUM_INTERVALS))
    _is_warm: bool = False

    def add(self, num_steps: int, step_s: float) -> None:
        """An interval of `num_steps` steps of `step_s` seconds in the mean."""
        if self._is_warm:
            self._intervals.append((num_steps, step_s))
        self._is_warm = True

    def left(self, num_steps: int, num_validations: int) -> dict[str, float | None]:
        """Seconds that are left for so many steps and validations: eta_s, eta_low_s, eta_high_s; None: not known."""
        if not self._intervals:
            return dict.fromkeys(("eta_s", "eta_low_s", "eta_high_s"))
        counts, times = (np.array(column, dtype=np.float64) for column in zip(*self._intervals, strict=True))
        mean = float((counts * times).sum() / counts.sum())
        low, high = (float(value) for value in np.percentile(times, (10, 90)))
        steps_s = {"eta_s": mean, "eta_low_s": min(low, mean), "eta_high_s": max(high, mean)}
        out: dict[str, float | None] = {
            name: num_steps * step_s + num_validations * self.validation_s for name, step_s in steps_s.items()
        }
        return out if len(times) >= FEWEST else out | dict.fromkeys(("eta_low_s", "eta_high_s"))
