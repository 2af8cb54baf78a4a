"""`worldmodel stats`: what is in a dataset, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output

SHOWN = 12
"""Longest list of a coverage table."""


def stats(
    dataset: Annotated[Path, typer.Argument(help="Folder of a dataset.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compare the checksum of every file first.")] = False,
    as_json: Json = False,
) -> int:
    """Report coverage and per-field statistics; exit 1 if a column is constant or not finite and should not be."""
    from worldmodel.dataset.stats import statistics
    from worldmodel.dataset.store import open_dataset
    from worldmodel.tracking.progress import progress

    output = Output(as_json)
    opened = open_dataset(dataset, verify=verify)
    with progress("reading frames", opened.num_frames, unit="frames") as bar:
        found = statistics(opened, progress=bar.advance)
    output.say(f"{dataset}: {found.num_games:,} games, {found.num_frames:,} frames, content {opened.content_hash[:16]}")
    for aspect, counts in found.coverage.items():
        shown = list(counts.items())[:SHOWN]
        more = f" ... {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
        output.say(f"{aspect.replace('_', ' ')}: " + ", ".join(f"{name} {count:,}" for name, count in shown) + more)
    rows = [
        (
            column.name,
            column.num_games_missing,
            column.minimum,
            column.mean,
            column.maximum,
            column.num_not_finite or "",
            column.num_outside or "",
            "constant" if column.is_constant else "",
        )
        for column in found.columns
    ]
    output.say()
    output.table(("column", "games without", "min", "mean", "max", "not finite", "outside codec", ""), rows)
    for problem in found.problems:
        output.say(f"PROBLEM {problem}")
    output.say(f"{len(found.problems)} problems" if found.problems else "no problems")
    output.result({"dataset": str(dataset), "content_hash": opened.content_hash, **found.as_json()})
    return 1 if found.problems else 0
