"""`worldmodel watch`: a run, live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.status import Run, Runs

EVERY_S = 2.0


def watch(
    run: Run = None,
    runs: Runs = Path("runs"),
    once: Annotated[bool, typer.Option("--once", help="One frame, for a pipe.")] = False,
) -> None:
    """Curves, kill rules and how near they are, time left, age of the last checkpoint; Ctrl-C leaves the run alone."""
    import sys
    import time

    from rich.live import Live

    from worldmodel.cli.output import Output
    from worldmodel.launch import board
    from worldmodel.launch.look import see
    from worldmodel.launch.record import LiveRecord
    from worldmodel.launch.view import frame

    folder = board.find_run(run, runs)
    live = LiveRecord(folder)
    console = Output(False).console
    console.soft_wrap = False
    seen = see(folder, live=live)
    shown = frame(seen.sight, seen.record, seen.judged, now_s=time.monotonic(), closed=seen.closed)
    if once or not sys.stdout.isatty():
        console.print(shown)
        return
    with Live(shown, console=console, auto_refresh=False) as screen:
        while not seen.sight.is_over:
            time.sleep(EVERY_S)
            seen = see(folder, live=live)
            screen.update(
                frame(seen.sight, seen.record, seen.judged, now_s=time.monotonic(), closed=seen.closed), refresh=True
            )
