"""`worldmodel eval`: an honest measurement of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


def eval(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[Path | None, typer.Option(help="Dataset (default: the one that the run was trained on).")] = None,
    max_frames: Annotated[
        int, typer.Option(min=0, help="Held-out frames to judge one step ahead, a seeded choice; 0 for all.")
    ] = 200_000,
    rollouts: Annotated[int, typer.Option(min=1, help="Start frames of closed-loop rollouts.")] = 1_000,
    horizon: Annotated[int, typer.Option(min=1, help="Frames of a rollout.")] = 60,
    long: Annotated[int, typer.Option(min=0, help="Start frames of rollouts of 600 frames.")] = 100,
    per_event: Annotated[int, typer.Option(min=0, help="Start frames before each kind of event.")] = 100,
    counterfactuals: Annotated[
        int | None, typer.Option(min=0, help="Forked moments of the simulator (default: 200 if the data is its own).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which frames, which starts, which resamples.")] = 0,
    allow_train: Annotated[
        bool, typer.Option("--allow-train", help="Judge on the training games instead; the result says so loudly.")
    ] = False,
    ema: Annotated[
        bool, typer.Option("--ema", help="Judge the running mean of the weights, if the run keeps one.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    as_json: Json = False,
) -> None:
    """Measure a run on held-out games, one step ahead and in the closed loop, beside naive baselines."""
    from worldmodel.cli.measuring import dataset_for, settings_for
    from worldmodel.evaluation.suite import evaluate_run
    from worldmodel.runs.folder import RunFolder
    from worldmodel.training.device import choose_device

    output = Output(as_json)
    folder = RunFolder.open(run)
    settings = settings_for(
        folder,
        max_frames=max_frames or None,
        num_rollouts=rollouts,
        horizon=horizon,
        num_long=long,
        num_per_event=per_event,
        num_forks=counterfactuals,
        seed=seed,
    )
    done = evaluate_run(
        folder,
        dataset_for(folder, data),
        settings,
        split="train" if allow_train else "val",
        allow_train=allow_train,
        ema=ema,
        device=choose_device(device),
    )
    summary = done.summary
    for warning in summary["warnings"]:
        output.say(f"WARNING {warning}")
    for canary in summary["canaries"]:
        output.say(f"SUSPICIOUS {canary}")
    headlines = summary["headlines"]
    naive = list(headlines[0]["baselines"]) if headlines else []
    output.table(
        (f"{summary['num_games']} held-out games", "unit", "model", "95 % interval", *naive, "verdict"),
        [
            (
                line["name"],
                line["unit"],
                line["value"],
                "" if line["low"] is None else f"{line['low']:.4g} .. {line['high']:.4g}",
                *(line["baselines"][name] for name in naive),
                line["verdict"],
            )
            for line in headlines
        ],
    )
    if summary["tier"] is not None:
        reached, missed = summary["tier"]["reached"], summary["tier"]["missed"]
        output.say(f"tier: {reached or 'none'}" + (f"; the next one fails on {', '.join(missed)}" if missed else ""))
    output.say(f"report: {summary['report']}")
    output.result(summary)
