"""What the benchmark scripts share: interleaved rounds, the machine in words, a table for people and JSON last.

Rules: all cases of a comparison run in one process, in turn, several rounds; the median ratio is the claim. A ratio is
printed with the spread of both sides, because a busy machine can halve either.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED_REPLAYS = Path(__file__).resolve().parents[2] / "shared" / "replays"


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


def table(header: list[str], rows: list[list[object]]) -> None:
    """Print a plain table."""
    cells = [header] + [[f"{v:,.4g}" if isinstance(v, float) else f"{v}" for v in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for index, row in enumerate(cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if index == 0:
            print("  ".join("-" * width for width in widths))


def finish(name: str, result: dict[str, Any]) -> None:
    """Print the JSON line, always the last."""
    print(json.dumps({"benchmark": name, "machine": machine(), **result}, allow_nan=False))


def replay_folder(argument: str | None) -> Path:
    """Folder of .slp files to measure on: the argument, or the workshop's training pack, unpacked."""
    if argument:
        return Path(argument)
    if not SHARED_REPLAYS.exists():
        sys.exit("no replays at hand: give a folder of .slp files with --replays")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from conftest import RealReplays

    return RealReplays(SHARED_REPLAYS) / "train"


def parser(description: str) -> argparse.ArgumentParser:
    """Argument parser with what every benchmark takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=5, help="timed rounds per case")
    made.add_argument("--replays", help="folder of .slp files")
    return made
