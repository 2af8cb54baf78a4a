"""`worldmodel runs`: all runs and how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of run folders.")] = Path("runs"),
    running: Annotated[bool, typer.Option("--running", help="Only those that have not ended.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Of the newest; 0 for all.")] = 40,
    as_json: Json = False,
) -> None:
    """Every run with its true state. A run whose process is gone is closed here, and says so."""
    from worldmodel.launch import board
    from worldmodel.launch.view import runs_table

    output = Output(as_json)
    found = [board.look(run) for run in board.all_runs(folder)]
    if running:
        found = [sight for sight in found if not sight.is_over]
    if not found:
        output.say(f"no {'running ' if running else ''}runs in {folder}")
    else:
        output.console.print(runs_table(found[: lines or None]))
        if lines and len(found) > lines:
            output.say(f"and {len(found) - lines:,} older ones (-n 0 shows all)")
    output.result({"runs": [sight.as_json() for sight in found]})
