"""Rounds of cases in turn, and what a machine is called.

Owns: how anything is timed. Must not: know what is timed.

Rules: all cases of a comparison run in one process, in turn, several rounds; the median ratio is the claim. A ratio is
told with the spread of both sides, because a busy machine can halve either.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of a case: CPU seconds of this process, and wall seconds."""

    cpu_s: list[float]
    wall_s: list[float]

    @property
    def median_cpu_s(self) -> float:
        return statistics.median(self.cpu_s)

    @property
    def median_wall_s(self) -> float:
        return statistics.median(self.wall_s)

    @property
    def spread(self) -> float:
        """Slowest over fastest round, CPU seconds."""
        return max(self.cpu_s) / max(min(self.cpu_s), 1e-9)


def interleave(cases: dict[str, Callable[[], object]], *, rounds: int = 5) -> dict[str, Timing]:
    """Run every case once untimed, then `rounds` rounds of all cases in turn."""
    for case in cases.values():
        case()
    timings = {name: Timing([], []) for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            cpu, wall = time.process_time(), time.perf_counter()
            case()
            timings[name].cpu_s.append(time.process_time() - cpu)
            timings[name].wall_s.append(time.perf_counter() - wall)
    return timings


def median_ratio(over: list[float], under: list[float]) -> float:
    """Median over rounds of over/under, paired by round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def machine() -> dict[str, Any]:
    """The machine in words that matter for speed."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
    }
