"""`worldmodel track ...`: the shared tracker that mirrors runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.cli.status import Run, Runs

RUNS = Path("runs")
track = typer.Typer(help="The shared tracker (W&B) that mirrors a run's own record.", no_args_is_help=True)


@track.callback()
def _group() -> None:
    """Keeps `sync` a word of its own."""


@track.command()
def sync(
    run: Run = None,
    runs: Runs = RUNS,
    project: Annotated[str | None, typer.Option(help="Project over there (default: as before).")] = None,
    entity: Annotated[str | None, typer.Option(help="Team or person over there (default: as before).")] = None,
    as_json: Json = False,
) -> None:
    """Send what the tracker does not have of a run: one that was offline, or whose tracker could not be reached."""
    from worldmodel.launch import board
    from worldmodel.runs.folder import RunFolder
    from worldmodel.training.tracker import Track
    from worldmodel.training.tracker import sync as sync_run

    output = Output(as_json)
    folder = RunFolder.open(board.find_run(run, runs).path)
    asked = Track("required", project, entity)
    known = sync_run(folder, asked, say=output.say)
    output.say(f"{folder.id}: all of it is at {known.get('url')}")
    output.result(known)
