"""`worldmodel synth`: generated matches as real .slp files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


def synth(
    games: Annotated[int, typer.Option(min=1, help="How many matches.")],
    out: Annotated[Path, typer.Option(help="Folder for the .slp files; a set that was interrupted goes on.")],
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 0,
    stocks: Annotated[int, typer.Option(min=1, max=99, help="Stocks of each player.")] = 4,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop a match after so many frames.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Generate matches of a small platform fighter, written as replays that any Slippi tool reads."""
    from worldmodel.replays.synth.game import Rules
    from worldmodel.replays.synth.generate import write_games
    from worldmodel.tracking.progress import progress

    output = Output(as_json)
    started = time.monotonic()
    rules = Rules(stocks=stocks) if max_frames is None else Rules(stocks=stocks, max_frames=max_frames)
    with progress("generating matches", games, unit="matches") as bar:
        new = write_games(out, games, seed, rules=rules, workers=workers, progress=bar.advance)
    seconds = time.monotonic() - started
    output.say(f"{out}: {games:,} matches, {new:,} of them new, in {seconds:.1f} s")
    output.say(f"next: worldmodel ingest {out} --out DATASET")
    output.result({"out": str(out), "games": games, "new": new, "seconds": round(seconds, 2)})
