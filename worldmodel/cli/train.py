"""`worldmodel train`: an experiment on a dataset, into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse


def train(
    config: Annotated[
        str | None, typer.Argument(help="Experiment file, or the name of one that comes along (tiny, demo ...).")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it: training.lr=3e-4")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a dataset.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in total, over the experiment's.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run (default: experiment and date).")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder instead of a new one.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    as_json: Json = False,
) -> None:
    """Train a world model. Stopped by a signal it saves first; `--resume RUN` goes on."""
    if resume is not None and (config or overrides):
        raise WrongUse(
            f"--resume with {config or overrides}", "one of the two", "a run keeps the experiment that it began with"
        )
    if resume is None and (config is None or data is None):
        raise WrongUse(
            "no experiment" if config is None else "no --data",
            "an experiment and a dataset",
            "worldmodel train CONFIG --data DATASET, or worldmodel train --resume RUN",
        )
    from worldmodel.training.run import resume_training, run_training

    output = Output(as_json)
    if resume is not None:
        result = resume_training(resume, data=data, epochs=epochs, device=device)
    else:
        assert config is not None
        assert data is not None
        result = run_training(
            config, data, overrides=overrides or (), epochs=epochs, runs=runs, name=name, device=device
        )
    output.say(
        f"{result.run.path}: {result.reason} at step {result.step:,} of {result.num_steps:,} "
        f"after {result.seconds:.1f} s, {result.num_parameters:,} parameters"
    )
    naive = list(result.baselines)
    rows = [
        (name, value, *(result.baselines[other].get(name) for other in naive)) for name, value in result.metrics.items()
    ]
    output.table(("validation", "model", *naive), rows)
    if result.metrics:
        output.say(
            "better than all naive baselines on every metric"
            if not result.not_beaten
            else f"not better than a naive baseline on: {', '.join(result.not_beaten)}"
        )
    output.say(f"next: worldmodel eval {result.run.path}")
    output.result(result.as_json())
