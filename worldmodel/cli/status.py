"""`worldmodel status`: how a run stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output

Run = Annotated[str | None, typer.Argument(help="Run folder, or its name (default: the newest).")]
Runs = Annotated[Path, typer.Option(help="Folder of run folders.")]


def status(run: Run = None, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """How a run stands: by its process and its heartbeat, not by what a file once said."""
    import time

    from worldmodel.launch import board
    from worldmodel.launch.look import see
    from worldmodel.launch.view import frame

    seen = see(board.find_run(run, runs))
    output = Output(as_json)
    output.console.soft_wrap = False
    output.console.print(frame(seen.sight, seen.record, seen.judged, now_s=time.monotonic(), closed=seen.closed))
    closed = {} if seen.closed is None else {"closed": seen.closed.model_dump(mode="json")}
    output.result(seen.sight.as_json() | closed)
