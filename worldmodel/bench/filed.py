"""Results of the quick set that come with the package, one file a machine, and how another compares.

Owns: their form and their names. Must not: measure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.bench.ceilings import Ceilings
from worldmodel.bench.quick import Row

FOLDER = Path(__file__).parent / "filed"


@dataclass(frozen=True, slots=True)
class Filed:
    """One machine. name: hardware and date; per_s: case -> things per second."""

    name: str
    per_s: dict[str, float]


def read_filed(folder: Path = FOLDER) -> list[Filed]:
    """All of them, by name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        per_s = {case: row["per_s"] for case, row in told["cases"].items()}
        found.append(Filed(path.stem, per_s))
    return found


def as_json(
    device: str, *, compiled: bool, ceilings: Ceilings, rows: list[Row], about: dict[str, Any]
) -> dict[str, Any]:
    """A result in the form that is filed."""
    return {
        "benchmark": "quick",
        "device": device,
        "compiled": compiled,
        "machine": about,
        "gemm_gflops": round(ceilings.flops / 1e9, 1),
        "copy_gb_s": round(ceilings.copy_bytes / 1e9, 2),
        "cases": {
            row.case: {
                "unit": row.unit, "per_s": round(row.per_s, 1), "share": round(row.share, 4),
                "spread": round(row.spread, 2),
            }
            for row in rows
        },
    }  # fmt: skip
