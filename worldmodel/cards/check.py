"""Whether a card says what is so: its tables against what they follow from, its names against what exists.

Owns: what makes `card check` fail. Must not: judge whether the run is a good idea (that is `lint`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from worldmodel.cards.data import DataFacts
from worldmodel.cards.new import DIRECTIONS, rendered
from worldmodel.cards.tables import TABLES
from worldmodel.cards.view import Places, View, find_data, view_of
from worldmodel.errors import WrongUse
from worldmodel.launch import closeout
from worldmodel.launch.results import BLOCK
from worldmodel.runs.card import CardFile
from worldmodel.runs.document import Document
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.ledger import VAL
from worldmodel.runs.rulebook import check_metrics
from worldmodel.training.book import NAMES

KNOWN = (*DIRECTIONS, *NAMES, "lr")
"""Every metric that a run writes."""

TOLERANCE = 0.005
"""A baseline may be written with fewer digits than the ledger has, by this share of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """problems: one line each. stale: of each table that is out of date, the lines to go ("- ...") and to come."""

    view: View | None
    problems: tuple[str, ...]
    stale: dict[str, list[str]]

    @property
    def is_good(self) -> bool:
        return not self.problems and not self.stale


def check(file: CardFile, places: Places, *, data: DataFacts | None = None) -> Report:
    """Everything that is wrong with a card, not the first thing alone. data: of its dataset, where it lies now."""
    problems = []
    view = None
    try:
        view = view_of(file, places, data=data or find_data(file))
    except WrongUse as error:
        problems.append(str(error))
    problems += _blocks(file)
    problems += _targets(file)
    problems += _rules(file, view)
    if file.card.fallback and not (places.cards / f"{file.card.fallback.card}.md").is_file():
        problems.append(f"{file.document.position('fallback')}: no card {file.card.fallback.card!r} to fall back on")
    if view is None:
        return Report(None, tuple(problems), {})
    problems += _baselines(view)
    return Report(view, tuple(problems), stale(view))


def stale(view: View) -> dict[str, list[str]]:
    """Tables that do not say what they should, by name."""
    is_, should = view.file.document, up_to_date(view)
    out = {}
    for name in is_.blocks:
        before, after = is_.block(name).splitlines(), should.block(name).splitlines()
        if before != after:
            out[name] = [line for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    return out


def up_to_date(view: View) -> Document:
    """The card as it should be: its tables, and the results of its run, if that was closed out."""
    run = RunFolder(view.places.runs / view.file.card.run)
    closed = closeout.read_closed(run)
    if closed is None or BLOCK not in view.file.document.blocks:
        return rendered(view)
    document = closeout.with_results(view.file, run, closed)
    return rendered(replace(view, file=replace(view.file, document=document)))


def _blocks(file: CardFile) -> Iterator[str]:
    for name, block in file.document.blocks.items():
        if name not in TABLES and name != BLOCK:
            near = difflib.get_close_matches(name, TABLES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(TABLES)}"
            yield f"{file.path}:{block.first}:1: no table {name!r}; {hint}"


def _targets(file: CardFile) -> Iterator[str]:
    for number, target in enumerate(file.card.targets):
        where = file.document.position("targets", number)
        if target.metric not in DIRECTIONS:
            near = difflib.get_close_matches(target.metric, DIRECTIONS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"held-out metrics begin with {VAL!r}, see docs/metrics.md"
            yield f"{where}: no held-out metric {target.metric!r}; {hint}"
        elif target.better != DIRECTIONS[target.metric]:
            yield f"{where}: {target.metric} is better when {DIRECTIONS[target.metric]}, not {target.better}"
        if target.baseline is None:
            yield f"{where}: target {target.metric} without a baseline; add what an earlier run reached, and which"
        elif target.baseline_from is None:
            yield f"{where}: the baseline of {target.metric} without a source; add baseline_from"


def _rules(file: CardFile, view: View | None) -> Iterator[str]:
    card = file.card
    for number, rule in enumerate(card.kill):
        where = file.document.position("kill", number)
        try:
            check_metrics([rule], KNOWN)
        except WrongUse as error:
            yield f"{where}: {error.found}; {error.way_out}"
        if rule.fallback and card.fallback is None:
            yield f"{where}: rule {rule.rule} asks for the fallback, and the card has none"
        if rule.rule == "over_budget":
            if rule.arguments["usd"] is None and card.budget.usd is None:
                yield f"{where}: over_budget without a budget; set budget.usd"
            priced = card.backend.usd_per_hour or (view and view.price)
            if rule.arguments["usd_per_hour"] is None and not priced and view is not None:
                yield f"{where}: over_budget without a price for {card.backend.gpu}; set backend.usd_per_hour"


def _baselines(view: View) -> Iterator[str]:
    document, card = view.file.document, view.file.card
    for name in view.unknown_baselines:
        near = difflib.get_close_matches(name, view.ledger.names, 1)
        hint = f"did you mean {near[0]!r}?" if near else "worldmodel ledger add enters results from elsewhere"
        yield f"{document.position('baselines', card.baselines.index(name))}: no run {name!r} in the ledger; {hint}"
    for number, target in enumerate(card.targets):
        entry = view.ledger.get((target.baseline_from or "").split(",")[0].strip())
        value = entry.value(target.metric) if entry else None
        if entry is None or value is None or target.baseline is None:
            continue
        if abs(value - target.baseline) > TOLERANCE * abs(value):
            where = document.position("targets", number, "baseline")
            yield f"{where}: baseline {target.baseline:g} of {target.metric}, but {entry.name} reached {value:.4g}"
