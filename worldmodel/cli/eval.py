"""`worldmodel eval`: an honest measurement of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse

if TYPE_CHECKING:
    from worldmodel.evaluation.heldout import Judged
    from worldmodel.evaluation.result_file import Reproduction
    from worldmodel.evaluation.suite import Evaluation

_WAY = ("max_frames", "rollouts", "horizon", "long", "per_event", "counterfactuals", "seed", "ema")
"""Options that a release answers by itself."""
_RELEASED_REPORT = Path("released-report")


def eval(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="Run folder, or a release: an export with its weights and their evaluation.")
    ] = None,
    released: Annotated[
        bool, typer.Option("--released", help="The weights that come with the package, the way its model card did.")
    ] = False,
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
    unseen: Annotated[
        bool,
        typer.Option("--unseen", help="Judge on every game of the dataset that was not learned from, of any split."),
    ] = False,
    ema: Annotated[
        bool, typer.Option("--ema", help="Judge the running mean of the weights, if the run keeps one.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report (default: in the run; of a release: released-report)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a run on held-out games, one step ahead and in the closed loop, beside naive baselines.

    A release is measured the way it was before, and compared with what its model card says.
    """
    if unseen and allow_train:
        raise WrongUse("--unseen and --allow-train", "one of the two", "leave one of them out")
    if (run is None) is not released:
        raise WrongUse(
            "no run" if run is None else f"{run} and --released", "one of the two",
            "worldmodel eval RUN, or worldmodel eval --released --data DATASET",
        )  # fmt: skip
    from worldmodel.cli.measuring import dataset_for, settings_for
    from worldmodel.dataset.store import open_dataset
    from worldmodel.evaluation import subject
    from worldmodel.evaluation.result_file import RESULT_FILE, reproduction
    from worldmodel.evaluation.suite import evaluate
    from worldmodel.runs.atomic import refuse_foreign
    from worldmodel.runs.folder import RunFolder
    from worldmodel.training.device import choose_device

    output = Output(as_json)
    if out is not None:
        refuse_foreign(out, ours=RESULT_FILE, of="a report")
    split: Judged = "unseen" if unseen else "train" if allow_train else "val"
    folder = run or subject.released()
    before = None
    if (folder / subject.WEIGHTS_FILE).is_file():
        given = [name for name in _WAY if _is_given(context, name)]
        if given:
            raise WrongUse(
                f"--{given[0].replace('_', '-')} with a release", "no option of that kind",
                "leave it out: a release is measured the way that its numbers were",
            )  # fmt: skip
        if data is None:
            raise WrongUse("no --data", "a dataset to measure on", "ingest replays, and give the folder with --data")
        weights, before = subject.of_release(folder, out or _RELEASED_REPORT)
        dataset, settings = open_dataset(data), subject.settings_of(before)
    else:
        opened = RunFolder.open(folder)
        weights = subject.of_run(opened, ema=ema, split=split)
        weights = weights if out is None else replace(weights, report=out)
        dataset = dataset_for(opened, data)
        settings = settings_for(
            opened,
            max_frames=max_frames or None,
            num_rollouts=rollouts,
            horizon=horizon,
            num_long=long,
            num_per_event=per_event,
            num_forks=counterfactuals,
            seed=seed,
        )
    done = evaluate(weights, dataset, settings, split=split, allow_train=allow_train, device=choose_device(device))
    _tell(done, output)
    if before is None:
        output.result(done.summary)
        return
    again = reproduction(before, done.json)
    _tell_again(again, output)
    output.result(
        done.summary
        | {"same_data": again.is_same_data, "moved": sorted(again.moved), "num_reproduced": again.num_reproduced}
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _tell(done: Evaluation, output: Output) -> None:
    """What came out, for people."""
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


def _tell_again(again: Reproduction, output: Output) -> None:
    """Whether the numbers of a release are these."""
    if not again.is_same_data:
        output.say("not the games of the model card: its numbers are of others, and these are new ones")
    elif not again.moved:
        output.say(f"reproduced: all {again.num} numbers of the model card")
    else:
        output.say(f"reproduced: {again.num_reproduced} of {again.num} numbers of the model card; not these:")
        for name, (old, new) in again.moved.items():
            output.say(f"  {name}: {_shown(old)} there, {_shown(new)} here")


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
