"""A plan of a card: measured, projected, kept, and rendered into the card.

Owns: the order of these, and whether a machine is the one that a card is about. Must not: measure a part itself, or
compute a time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from worldmodel.cards.calibration import settle
from worldmodel.cards.data import data_facts
from worldmodel.cards.new import front_text
from worldmodel.cards.plan_measure import Wishes, measure
from worldmodel.cards.plans import BUSY, Machine, Plan, Plans, add, is_device, now
from worldmodel.cards.tables import TABLES
from worldmodel.cards.timing import Course, Timing
from worldmodel.cards.view import Places, View, timing_of, view_of, work_key
from worldmodel.runs.card import Card, CardFile
from worldmodel.runs.document import Document
from worldmodel.runs.ledger import EntryCode, EntryData
from worldmodel.runs.planned import FILE, Told
from worldmodel.runs.provenance import code_version
from worldmodel.training.config import find_experiment
from worldmodel.training.plan import Plan as RunPlan
from worldmodel.training.plan import Say


@dataclass(frozen=True, slots=True)
class Planned:
    """What came of it. view: the card with this plan; run: what its training would do; tables: those that changed."""

    plan: Plan
    view: View
    run: RunPlan
    tables: tuple[str, ...]


def plan_card(
    view: View,
    device: torch.device,
    *,
    here: bool = False,
    wishes: Wishes | None = None,
    write: bool = True,
    say: Say = lambda text: None,
) -> Planned:
    """Measure, write the plan down beside the cards, and bring the card's tables of times up to date.

    here: this machine is the card's, whatever it is called. write: whether the card has a file to be rendered.
    Raises WrongUse for a dataset without its shards, OSError for a disk without room, and what a step raises.
    """
    card, places = view.file.card, view.places
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    why_not = None if here else not_its_device(card, device, gpu)
    num_cpus = os.cpu_count() or 1
    load = psutil.getloadavg()[0] / num_cpus
    if load > BUSY:
        say(f"OTHERS ARE AT WORK HERE (load {load:.1f} a core): what is measured now is slower than it need be")
    if why_not:
        say(f"NOT THE CARD'S DEVICE: {why_not}; opening and saving are measured, steps and memory are not")
    measured, run = measure(
        view.experiment,
        view.facts.data.path,
        device,
        nearest_folder(places.runs),
        is_target=why_not is None,
        wishes=wishes,
        say=say,
    )
    known = settle(places.cards, places.runs, view.ledger)
    code = code_version().as_json()
    plan = Plan(
        at=now(),
        name=card.run,
        work=work_key(view.experiment),
        data=EntryData(
            content_hash=view.facts.data.content_hash,
            num_games=view.facts.data.num_games,
            num_frames=view.facts.data.num_frames,
        ),
        machine=Machine(device=str(device), gpu=gpu, num_cpus=num_cpus, system=platform.platform(), load=load),
        code=EntryCode(**code),
        measured=measured,
        ratios=known.ratios(gpu),
        gpu_meant=card.backend.gpu,
        why_not=why_not,
    )
    timing = timing_of(view.facts, card, view.price, plan if why_not is None else None)
    if why_not is None and timing is not None:
        plan = plan.model_copy(update={"told": told(timing)})
    add(places.cards / FILE, [plan])
    plans = Plans((*known.plans, plan), known.outcomes)
    after = view_of(view.file, places, data=view.facts.data, ledger=view.ledger, plans=plans)
    tables = _render(view, after) if write else ()
    if why_not is None and after.plan != plan:
        say(f"{card.run} has begun: its card keeps the plan that it was decided by")
        after = replace(after, plan=plan, timing=timing)
    return Planned(plan, after, run, tables)


def told(timing: Timing) -> Told:
    """What a plan says, for the record."""
    course = Course.of(timing.facts)
    return Told(
        num_steps=course.num_steps,
        raw_s=course.total_s(timing.speeds),
        total_s=timing.total_s,
        low_s=timing.low_s,
        high_s=timing.pessimistic_s,
        epoch_s=timing.epoch_s,
        step_s=timing.usual * timing.step_s,
        start_s=timing.start_s,
        usd=timing.usd,
    )


def not_its_device(card: Card, device: torch.device, gpu: str | None) -> str | None:
    """Why a device is not the one that a card will run on; None if it is."""
    wanted = card.backend.gpu
    if wanted is None and card.backend.name != "local":
        return f"the card does not say what device it has on {card.backend.name} (backend.gpu)"
    if wanted is not None and not is_device(wanted, gpu):
        return f"the card's is {wanted}, this is {gpu or f'a {device.type}'}"
    if card.backend.devices > 1:
        return f"its batches are shared by {card.backend.devices} devices, and a plan measures one"
    return None


def view_of_config(
    config: str, data: Path, places: Places, *, overrides: Sequence[str] = (), gpu: str | None = None
) -> View:
    """A view of an experiment that has no card: one is made up, and not written. Raises WrongUse."""
    path = find_experiment(config)
    found = data_facts(data)
    front = {
        "run": path.stem,
        "goal": "none: a plan of an experiment without a card",
        "config": config,
        "overrides": list(overrides),
        "data": {"content_hash": found.content_hash, "path": str(data)},
        "backend": {"name": "local"} | ({"gpu": gpu} if gpu else {}),
    }
    document = Document.parse(f"---\n{front_text(front)}---\n", places.cards / f"{path.stem}.md")
    return view_of(CardFile.of(document), places, data=found)


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there: on the same disk."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.is_dir())


def _render(before: View, after: View) -> tuple[str, ...]:
    """Write the tables that the plan changed; others stay as they are, stale or not."""
    document = after.file.document
    new = {name: TABLES[name](after).markdown() for name in document.blocks if name in TABLES}
    changed = [name for name in new if TABLES[name](before).markdown() != new[name]]
    wanted = {name: new[name] for name in changed if document.block(name).splitlines() != new[name].splitlines()}
    if wanted:
        document.with_blocks(wanted).write()
    return tuple(wanted)
