"""`worldmodel plan`: what a training would do, and, measured on the device, how long it would take and what it would
cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CARDS

if TYPE_CHECKING:
    from worldmodel.cards.planning import Planned
    from worldmodel.cards.view import Places, View
    from worldmodel.training.plan import Plan

ASKED = ("time_limit", "budget", "longest_loss", "saving", "room_on_disk", "room_in_memory")
"""Questions of lint that a plan answers."""


def plan(
    name: Annotated[
        str | None,
        typer.Argument(metavar="CARD|CONFIG", help="A card (its run, its file), or an experiment with --data."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to an experiment: training.lr=3e-4")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a dataset; a card's, if it lies elsewhere now.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in total, over the experiment's.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    here: Annotated[bool, typer.Option("--here", help="This machine is the card's, whatever it is called.")] = False,
    steps_s: Annotated[float, typer.Option("--seconds", min=0.1, help="Of steps, for each kind of step.")] = 20.0,
    dry: Annotated[bool, typer.Option("--dry", help="Say what would be done; measure nothing.")] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Show what earlier plans were worth: estimate against actual.")
    ] = False,
    cards: Annotated[Path, typer.Option(help="Folder of cards, where plans are kept.")] = CARDS,
    runs: Annotated[Path, typer.Option(help="Folder of run folders; nothing is written there.")] = Path("runs"),
    as_json: Json = False,
) -> int:
    """Measure what a training does, and say how long it would take, what it would need and cost, with an interval.

    Exit code 1 if that does not fit: time limit, budget, memory, disk.
    """
    from worldmodel.cards.view import Places

    output, places = Output(as_json), Places(cards, runs)
    if calibration:
        return _calibration(places, output)
    if name is None:
        raise WrongUse("no card and no experiment", "one of them", "worldmodel plan CARD, or CONFIG --data DATASET")
    view, has_card = _view(name, overrides or [], data, epochs, places)
    if dry:
        return _dry(view, device, output)

    from worldmodel.cards.lint import ask
    from worldmodel.cards.plan_measure import Wishes
    from worldmodel.cards.plan_show import show
    from worldmodel.cards.planning import plan_card
    from worldmodel.training.device import choose_device

    done = plan_card(
        view,
        choose_device(device),
        here=here,
        wishes=Wishes(steps_s, 3 * steps_s),
        write=has_card,
        say=lambda text: output.say(f"  {text}"),
    )
    findings = ask(done.view, ASKED)
    output.say()
    show(done, findings, output.console)
    output.say(f"kept in {places.cards / 'plans.jsonl'}; nothing was written into {runs}")
    if done.tables:
        output.say(f"{view.file.path}: wrote {', '.join(done.tables)}")
    is_bad = any(finding.severity == "blocker" for finding in findings)
    plain = [{"question": f.question, "severity": f.severity, "message": f.message} for f in findings]
    output.result(_counts(done.run) | _times(done) | {"findings": plain, "tables": list(done.tables)})
    return 1 if is_bad else 0


def _view(name: str, overrides: list[str], data: Path | None, epochs: int | None, places: Places) -> tuple[View, bool]:
    """Of a card, or of an experiment without one; and whether it is a card."""
    from worldmodel.cards.planning import view_of_config
    from worldmodel.cards.view import find_data, view_of
    from worldmodel.runs.card import CardFile, find_card

    if name.endswith(".md") or (places.cards / f"{name}.md").is_file():
        if overrides or epochs is not None:
            raise WrongUse(f"card {name} with changes", "what the card says", "write them into the card's overrides")
        file = CardFile.read(find_card(name, places.cards))
        return view_of(file, places, data=find_data(file, data)), True
    if data is None:
        raise WrongUse(
            f"no card {name!r} in {places.cards}, and no --data", "a card, or an experiment and a dataset", "add --data"
        )
    if epochs is not None:
        overrides = [*overrides, f"training.epochs={epochs}"]
    return view_of_config(name, data, places, overrides=overrides), False


def _dry(view: View, device: str | None, output: Output) -> int:
    from worldmodel.dataset.store import open_dataset
    from worldmodel.training.device import choose_device
    from worldmodel.training.plan import describe, make_plan

    decided = make_plan(view.experiment, open_dataset(view.facts.data.path), choose_device(device))
    for line in describe(decided):
        output.say(line)
    output.result(_counts(decided))
    return 0


def _calibration(places: Places, output: Output) -> int:
    from worldmodel.cards.calibration import settle
    from worldmodel.cards.plan_show import calibration

    plans = settle(places.cards, places.runs)
    calibration(plans, output.console)
    rows = []
    for outcome in plans.outcomes:
        pairs = ("total_s", "epoch_s", "memory", "usd", "stall_s")
        ratios = {key: pair.ratio for key in pairs if (pair := getattr(outcome, key)) is not None}
        rows.append(outcome.model_dump(mode="json") | {"ratios": ratios})
    output.result({"outcomes": rows, "num_plans": len(plans.plans)})
    return 0


def _counts(decided: Plan) -> dict[str, Any]:
    return {
        "steps_per_epoch": decided.steps_per_epoch,
        "num_steps": decided.num_steps,
        "num_windows": decided.batches.windows.num_windows,
        "targets_per_step": decided.targets_per_step,
        "tier": decided.batches.tier.name,
        "num_blocks": decided.batches.tier.num_blocks,
        "block_bytes": decided.batches.tier.block_bytes,
        "schedule": decided.schedule.table(),
    }


def _times(done: Planned) -> dict[str, Any]:
    timing = done.view.timing if done.plan.why_not is None else None
    return {
        "why_not": done.plan.why_not,
        "total_s": timing and timing.total_s,
        "low_s": timing and timing.low_s,
        "high_s": timing and timing.pessimistic_s,
        "epoch_s": timing and timing.epoch_s,
        "usd": timing and timing.usd,
        "plan": done.plan.model_dump(mode="json", exclude_none=True),
    }
