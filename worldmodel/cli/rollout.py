"""`worldmodel rollout`: a dream from a frame of a replay, as a clip."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output

_HISTORY = 64
"""Frames shown to the model of a weights file, which does not say how it was trained."""


def rollout(
    run: Annotated[Path, typer.Argument(help="Run folder (its newest whole checkpoint), or a weights file.")],
    replay: Annotated[
        str, typer.Option(help="Where to begin: a .slp file, ARCHIVE:MEMBER, DATASET:GAME (number or id), a clip.")
    ],
    start: Annotated[
        int, typer.Option(help="Last true frame, in Slippi's numbers: -123 is the first of a match, 0 when it starts.")
    ] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Frames to dream.")] = 600,
    pads: Annotated[
        str,
        typer.Option(help="Who holds the pads: true, a policy (neutral, random ...), or a replay or clip, FILE@FRAME."),
    ] = "true",
    history: Annotated[
        int | None, typer.Option(min=0, help="True frames shown before the start (default: a training sample's).")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Draw instead of taking the likeliest; 1 as the model believes.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of draws and of random pads.")] = 0,
    out: Annotated[Path, typer.Option(help="Writes OUT.json for the viewer and OUT.arrow.")] = Path("rollout"),
    ema: Annotated[bool, typer.Option("--ema", help="The running mean of a run's weights, if it keeps one.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    as_json: Json = False,
) -> None:
    """Dream on from a frame of a replay, and write the dream beside the truth."""
    from worldmodel.clips.clip import Meta
    from worldmodel.clips.errors import errors_of
    from worldmodel.clips.files import write_clip
    from worldmodel.dynamics.chosen import choose_model
    from worldmodel.dynamics.dream import TRUE_PADS, Plan, dreams
    from worldmodel.dynamics.recording import open_recording
    from worldmodel.dynamics.world import World
    from worldmodel.errors import WrongUse
    from worldmodel.training.config import load_experiment
    from worldmodel.training.device import choose_device

    if temperature is not None and temperature <= 0:
        raise WrongUse(f"temperature {temperature}", "more than 0", "leave it out for the likeliest")
    if not out.parent.is_dir():
        raise WrongUse(f"no folder {out.parent}", "a folder to write to", "make it first")
    output = Output(as_json)
    chosen = choose_model(run, ema=ema, device=choose_device(device))
    recording = open_recording(replay)
    if history is None:
        history = _HISTORY if chosen.folder is None else load_experiment(chosen.folder.config).data.length
    plan = Plan([start], frames, history, pads, seed)
    world = World(chosen.model, temperature=temperature, seed=seed)
    meta = Meta(kind="dream", run=chosen.run, weights_sha256=chosen.sha256)
    (clip,) = dreams(world, recording, plan, meta)
    files = [out.with_name(f"{out.name}{suffix}") for suffix in (".json", ".arrow")]
    for file in files:
        write_clip(clip, file)

    for problem in chosen.problems:
        output.say(f"WARNING {problem}")
    if recording.split == "train":
        output.say(f"{recording.name} is a game that models are trained on")
    row = recording.row_of(start)
    errors = errors_of(clip, recording.frames[row : row + 1])
    if pads == TRUE_PADS:
        output.table(
            ("frames", "position error, units", "percent error", "same action, of 2", "deaths true", "dreamed"),
            [tuple(asdict(error).values()) for error in errors],
            title=f"{recording.name} from frame {start}",
        )
    else:
        output.say(f"other pads than the replay's ({pads}): no error; {errors[-1].dreamed_deaths} deaths dreamed")
    output.say(f"clip: {files[0]} ({files[0].stat().st_size:,} bytes), {files[1]}")
    output.result(
        {
            "clip": str(files[0]),
            "arrow": str(files[1]),
            "num_frames": len(clip),
            "num_truth_frames": 0 if clip.truth is None else len(clip.truth),
            "meta": asdict(clip.meta),
            "errors": [asdict(error) for error in errors] if pads == TRUE_PADS else None,
        }
    )
