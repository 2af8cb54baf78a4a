"""`worldmodel export`: a run for other runtimes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


class Format(StrEnum):
    """What can be exported to."""

    onnx = "onnx"


def export(
    run: Annotated[Path, typer.Argument(help="Run folder (its newest whole checkpoint), or a weights file.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier export there is replaced.")],
    format: Annotated[Format, typer.Option(help="Format of the graph.")] = Format.onnx,
    int8: Annotated[bool, typer.Option("--int8", help="Also a graph with int8 weights.")] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Also a graph that is stored in float16, and computes as ever.")
    ] = False,
    sampling: Annotated[
        bool,
        typer.Option(
            "--sampling", help="The graphs take noise, so that a client can draw instead of take the likeliest."
        ),
    ] = False,
    ema: Annotated[bool, typer.Option("--ema", help="The running mean of the weights, if the run keeps one.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Dataset to compare on, its held-out games (default: matches made on the spot).")
    ] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts to compare.")] = 16,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Which stretches of which games.")] = 0,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Only a short comparison, which must hold; no rollouts, no speed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a run as a graph of one whole frame, with all that a client without Python needs, compared with the model.

    Fails, and writes nothing, if the float32 graph is not the model.
    """
    from worldmodel.export import folder

    output = Output(as_json)
    report = folder.export(
        run,
        out,
        data,
        folder.Options(
            int8=int8,
            half=half,
            sampling=sampling,
            ema=ema,
            report=not no_report,
            rollouts=rollouts,
            frames=frames,
            seed=seed,
        ),
        say=output.say,
    )
    output.say(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    output.result({"out": str(out), **report})
