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
    out: Annotated[Path | None, typer.Option(help="Folder to write; an earlier export there is replaced.")] = None,
    web: Annotated[
        Path | None,
        typer.Option(help="Folder for a static site in which the model is played; an earlier one is replaced."),
    ] = None,
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
    release: Annotated[
        bool,
        typer.Option(
            "--release", help="Weights and graph in float16, and an evaluation that `eval FOLDER` makes again."
        ),
    ] = False,
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

    Fails, and writes nothing, if the float32 graph is not the model. A site takes noise (--sampling) always, and has
    the smallest of the graphs that were asked for.
    """
    import tempfile

    from worldmodel.errors import WrongUse
    from worldmodel.export import folder
    from worldmodel.training.device import choose_device
    from worldmodel.web import site

    if out is None and web is None:
        raise WrongUse("neither --out nor --web", "where to write", "--out FOLDER for files, --web FOLDER for a site")
    output = Output(as_json)
    options = folder.Options(
        int8=int8,
        half=half,
        sampling=sampling or web is not None,
        ema=ema,
        release=release,
        report=not no_report,
        rollouts=rollouts,
        frames=frames,
        seed=seed,
        device=str(choose_device(None)),
    )
    with tempfile.TemporaryDirectory(prefix="worldmodel-export-") as aside:
        to = out or Path(aside) / "export"
        report = folder.export(run, to, data, options, say=output.say)
        if out is not None:
            output.say(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
        if web is not None:
            report = report | {"web": {"folder": str(web), **site.build(to, web)}}
            output.say(f"{web}: {report['web']['files']} files, {report['web']['bytes']:,} bytes, for any static host")
    output.result({"out": None if out is None else str(out), **report})
