"""What the benchmark scripts share: a table for people, JSON last, replays. Timing: `worldmodel.bench`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from worldmodel.bench.clock import machine

SHARED_REPLAYS = Path(__file__).resolve().parents[2] / "shared" / "replays"


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
