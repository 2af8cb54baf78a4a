"""`worldmodel train`: an experiment on a dataset, into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.begin import experiment_and_changes
from worldmodel.cli.output import Json, Output
from worldmodel.errors import StoppedByRule


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
    time_limit: Annotated[
        str | None, typer.Option(help="When this process will be killed, from now: 8h, 1h30m, 3600s. It saves before.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    rules: Annotated[Path | None, typer.Option(help="File of kill rules; kept in the run.")] = None,
    track: Annotated[
        str | None, typer.Option(help="Mirror to W&B: off, optional, required (default: as before, else off).")
    ] = None,
    track_project: Annotated[str | None, typer.Option(help="Project over there.")] = None,
    track_entity: Annotated[str | None, typer.Option(help="Team or person over there.")] = None,
    into: Annotated[Path | None, typer.Option(hidden=True, help="Folder that a launcher made for this run.")] = None,
    as_json: Json = False,
) -> None:
    """Train a world model. Stopped by a signal or the time limit it saves first (exit code 3); `--resume RUN` goes on.

    On many devices: torchrun --nproc-per-node N -m worldmodel train ...
    """
    config, changes = experiment_and_changes(
        "train", config, overrides, resumes=resume is not None, has_data=data is not None
    )
    from worldmodel.training.loop import FINISHED
    from worldmodel.training.run import resume_training, run_training
    from worldmodel.training.stop import process_age_s, seconds_of
    from worldmodel.training.team import is_lead
    from worldmodel.training.tracker import Track

    tracked = Track(track, track_project, track_entity)

    # The limit is that of the process, part of which its start has used.
    time_limit_s = None if time_limit is None else seconds_of(time_limit) - process_age_s()
    if resume is not None:
        result = resume_training(
            resume,
            data=data,
            overrides=changes,
            epochs=epochs,
            device=device,
            time_limit_s=time_limit_s,
            rules=rules,
            track=tracked,
        )
    else:
        assert config is not None
        assert data is not None
        result = run_training(
            config,
            data,
            overrides=changes,
            epochs=epochs,
            runs=runs,
            name=name,
            device=device,
            time_limit_s=time_limit_s,
            rules=rules,
            into=into,
            track=tracked,
        )
    if not is_lead():
        return
    output = Output(as_json)
    output.say(
        f"{result.run.path}: {result.reason} at step {result.step:,} of {result.num_steps:,} "
        f"after {result.seconds:.1f} s, {result.num_parameters:,} parameters"
    )
    columns = {"model": result.metrics, **({"mean of weights": result.ema_metrics} if result.ema_metrics else {})}
    columns |= result.baselines
    rows = [(name, *(values.get(name) for values in columns.values())) for name in result.metrics]
    if rows:
        output.table(("validation", *columns), rows)
    if result.metrics:
        output.say(
            "better than all naive baselines on every metric"
            if not result.not_beaten
            else f"not better than a naive baseline on: {', '.join(result.not_beaten)}"
        )
    if result.reason == FINISHED:
        output.say(f"next: worldmodel eval {result.run.path}")
    output.result(result.as_json())
    if result.reason != FINISHED:
        why = f" ({result.why})" if result.why else ""
        raise StoppedByRule(
            f"stopped by {result.reason}{why} at step {result.step:,} of {result.num_steps:,}, which is saved; "
            f"worldmodel train --resume {result.run.path} goes on"
        )
