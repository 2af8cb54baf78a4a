"""`worldmodel plan`: what a training would do, without doing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


def plan(
    config: Annotated[str, typer.Argument(help="Experiment file, or the name of one that comes along.")],
    data: Annotated[Path, typer.Option(help="Folder of a dataset.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it: training.lr=3e-4")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in total, over the experiment's.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    as_json: Json = False,
) -> None:
    """Say what a training would do: steps, order and tier of the data, learning rate, disturbances, validation."""
    from worldmodel.dataset.store import open_dataset
    from worldmodel.training.config import find_experiment, load_experiment
    from worldmodel.training.device import choose_device
    from worldmodel.training.plan import describe, make_plan

    output = Output(as_json)
    experiment = load_experiment(find_experiment(config), overrides=overrides or ()).with_epochs(epochs)
    decided = make_plan(experiment, open_dataset(data), choose_device(device))
    for line in describe(decided):
        output.say(line)
    output.result(
        {
            "steps_per_epoch": decided.steps_per_epoch,
            "num_steps": decided.num_steps,
            "num_windows": decided.batches.windows.num_windows,
            "targets_per_step": decided.targets_per_step,
            "tier": decided.batches.tier.name,
            "num_blocks": decided.batches.tier.num_blocks,
            "block_bytes": decided.batches.tier.block_bytes,
            "schedule": decided.schedule.table(),
        }
    )
