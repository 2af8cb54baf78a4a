"""`worldmodel demo`: the main job on an embedded default, from generated replays to a report with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output

GAMES = 48
EXPERIMENT = "demo"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("worldmodel-demo"),
    games: Annotated[int, typer.Option(min=12, help="Matches to generate.")] = GAMES,
    as_json: Json = False,
) -> int:
    """Generate matches, ingest them, train a small model, measure it: the main job with no data and no GPU."""
    from worldmodel.cli import main

    output = Output(as_json)
    replays, dataset, runs = str(out / "replays"), str(out / "dataset"), out / "runs"
    steps = (
        ["synth", "--games", str(games), "--out", replays],
        ["ingest", replays, "--out", dataset],
        ["stats", dataset],
        ["train", EXPERIMENT, "--data", dataset, "--runs", str(runs)],
    )
    for step in steps:
        output.say(f"\n$ worldmodel {' '.join(step)}")
        if code := main(step):
            return code
    newest = max(runs.iterdir(), key=lambda run: run.stat().st_mtime)
    output.say(f"\n$ worldmodel eval {newest}")
    if code := main(["eval", str(newest)]):
        return code
    output.result({"replays": replays, "dataset": dataset, "run": str(newest), "report": str(newest / "report")})
    return 0
