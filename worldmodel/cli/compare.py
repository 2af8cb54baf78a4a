"""`worldmodel compare`: two runs on the same frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse

if TYPE_CHECKING:
    from worldmodel.evaluation.compare import Side
    from worldmodel.evaluation.heldout import Judged
    from worldmodel.runs.folder import RunFolder

_CHOICES = (
    "max_frames", "num_rollouts", "horizon", "num_long", "long_horizon", "num_per_event", "reference", "num_forks",
    "earliest", "seed",
)  # fmt: skip
"""Settings of an evaluation that are not the run's own."""


def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder: the one to compare with.")],
    run_b: Annotated[Path, typer.Argument(help="Run folder: the one that may be better.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset to evaluate both on. Default: their results, if both are of the same data and way."),
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="On every game not learned from, of any split (see eval).")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    as_json: Json = False,
) -> None:
    """Say where RUN_B is better or worse than RUN_A, with paired intervals over games.

    Results of the runs' newest weights are read where they are; what is missing is evaluated, as RUN_A was.
    """
    from worldmodel.evaluation.compare import compare as compare_sides
    from worldmodel.evaluation.compare import write
    from worldmodel.evaluation.heldout import HELD_OUT, UNSEEN
    from worldmodel.evaluation.subject import report_of
    from worldmodel.runs.folder import RunFolder

    output = Output(as_json)
    split: Judged = UNSEEN if unseen else HELD_OUT
    a = RunFolder.open(run_a)
    side_a = _side(a, data, device, None, split, output)
    side_b = _side(RunFolder.open(run_b), data, device, side_a, split, output)
    found = compare_sides(side_a, side_b)
    files = write(found, report_of(a, split))
    for note in found["notes"]:
        output.say(f"NOTE {note}")
    output.table(
        (f"{found['data']['num_games']} games", "unit", "A", "B", "B - A", "95 % interval", "detectable", "verdict"),
        [
            (
                row["label"],
                row["unit"],
                row["a"]["value"],
                row["b"]["value"],
                row["difference"]["value"],
                _interval(row["difference"]),
                row["smallest_detectable"],
                {"better": "B better", "worse": "B worse"}.get(row["verdict"], row["verdict"]),
            )
            for row in found["headlines"]
        ],
    )
    counts = found["counts"]
    output.say(f"of {sum(counts.values()):,} numbers: B better {counts['better']:,}, worse {counts['worse']:,}")
    output.say(f"report: {files[1]}")
    output.result({key: value for key, value in found.items() if key != "measures"} | {"files": list(map(str, files))})


def _interval(estimate: dict[str, Any]) -> str:
    return "" if estimate["low"] is None else f"{estimate['low']:.4g} .. {estimate['high']:.4g}"


def _side(
    run: RunFolder, data: Path | None, device: str | None, like: Side | None, split: Judged, output: Output
) -> Side:
    """A run's result on these games, read or made. like: the other side, which says how."""
    from worldmodel.cli.measuring import dataset_for, settings_for
    from worldmodel.evaluation.compare import differences_of, read_side
    from worldmodel.evaluation.result_file import RESULT_FILE
    from worldmodel.evaluation.subject import of_run, report_of
    from worldmodel.evaluation.suite import evaluate
    from worldmodel.training.device import choose_device

    newest = run.newest_checkpoint()[0].meta["files"].values()
    report = report_of(run, split)
    found = None
    if (report / RESULT_FILE).is_file():
        try:
            found = read_side(report)
        except WrongUse as error:
            output.say(f"{run.id}: evaluating anew ({error})")
    if found is not None and found.json["weights"]["sha256"] not in newest:
        output.say(f"{run.id}: its result is of older weights; evaluating the newest")
        found = None
    if found is not None and found.json["data"]["split"] != split:
        output.say(f"{run.id}: its result is of split {found.json['data']['split']}; evaluating {split}")
        found = None
    if data is not None and found is not None:
        same = found.json["data"]["content_hash"] == dataset_for(run, data).content_hash
        if not same or (like is not None and differences_of(like.json, found.json)):
            output.say(f"{run.id}: its result is of other data, starts or settings; evaluating it anew")
            found = None
    if found is not None:
        return found
    told = {} if like is None else {name: like.json["settings"][name] for name in _CHOICES}
    evaluate(
        of_run(run, split=split),
        dataset_for(run, data),
        settings_for(run, **told),
        split=split,
        device=choose_device(device),
    )
    return read_side(report)
