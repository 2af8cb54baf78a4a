"""The tables that come with the packs of real replays."""

from __future__ import annotations

import csv
from pathlib import Path

PACKS = Path(__file__).parents[3] / "shared" / "replays"


def index(pack: str) -> list[dict[str, str]]:
    """Rows of a pack's table, by file name."""
    with (PACKS / f"{pack}.csv").open(encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["name"])
