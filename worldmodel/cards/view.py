"""All that is known of a card at one moment: its file, its experiment, its dataset, the runs before it.

Owns: putting these together once, for rendering, checking and linting alike. Must not: write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from worldmodel.cards.code import with_code
from worldmodel.cards.data import DataFacts, data_facts
from worldmodel.cards.facts import Facts, Resolved, facts_of, resolve
from worldmodel.cards.news import News, baselines_of, most_comparable
from worldmodel.cards.plans import Plan, Plans, is_device, read_plans, work_of
from worldmodel.cards.timing import Speeds, Timing
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CARDS, Card, CardFile, SignOff, resolved_hash, sign_off
from worldmodel.runs.ledger import FILE, Entry, Ledger
from worldmodel.runs.planned import FILE as PLANS
from worldmodel.runs.prices import Price, load_prices
from worldmodel.runs.strict import flat
from worldmodel.training.config import Experiment
from worldmodel.training.run import RUNS


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of a team: its cards (with the ledger of results from elsewhere, and prices) and its run folders."""

    cards: Path = CARDS
    runs: Path = RUNS

    def ledger(self, *, more: Iterable[Entry] = ()) -> Ledger:
        """All runs there are, and some that are about to be entered. Raises WrongUse for a damaged file of results."""
        return Ledger(self.runs, self.cards / FILE, more)

    def plans(self) -> Plans:
        """Measured plans and what became of them. Raises WrongUse for a damaged file."""
        return read_plans(self.cards / PLANS)


@dataclass(frozen=True)
class View:
    """A card with its facts. news: against each of its baselines, the most comparable first.

    plan: measured on the card's device; elsewhere: the newest of the same work that was measured on another one.
    """

    file: CardFile
    places: Places
    resolved: Resolved
    facts: Facts
    price: Price | None
    timing: Timing | None
    plan: Plan | None
    elsewhere: Plan | None
    ledger: Ledger
    baselines: list[Entry]
    unknown_baselines: list[str]
    news: list[News]

    @property
    def experiment(self) -> Experiment:
        return self.resolved.experiment

    @property
    def hash(self) -> str:
        """What reviewers sign."""
        return hash_of(self.file, self.resolved)

    @property
    def sign_off(self) -> SignOff:
        """What the reviews are worth now."""
        return sign_off(self.file.card, self.hash)


def hash_of(file: CardFile, resolved: Resolved | None = None) -> str:
    """The resolved hash of a card. No dataset need be there. Raises WrongUse."""
    resolved = resolved or resolve(file.card)
    return resolved_hash(file.card, resolved.experiment.model_dump(mode="json"))


def find_data(file: CardFile, data: str | Path | None = None) -> DataFacts:
    """The card's dataset, at the path given or at the card's hint; it must be the one that the card names by its hash.

    Raises WrongUse.
    """
    card = file.card
    path = data if data is not None else card.data.path
    way_out = "say where it lies now with --data FOLDER"
    if path is None:
        raise WrongUse(f"{file.path}: data has no path", "the card's dataset", way_out)
    if not Path(path).exists():
        raise WrongUse(f"{file.document.position('data')}: no dataset at {path}", "the card's dataset", way_out)
    found = data_facts(path)
    if found.content_hash != card.data.content_hash:
        raise WrongUse(
            f"{file.document.position('data', 'content_hash')}: the dataset at {path} has content "
            f"{found.content_hash[:16]}",
            f"{card.data.content_hash[:16]}, which the card names",
            "bring that dataset, or write the card anew for this one",
        )
    return found


def work_key(experiment: Experiment) -> str:
    """Of the work of an experiment's step (see `plans`)."""
    return work_of(flat(experiment.model_dump(mode="json")))


def plans_of(
    card: Card, experiment: Experiment, data: DataFacts, plans: Plans, own: Entry | None = None
) -> tuple[Plan | None, Plan | None]:
    """The plan of a card, and the newest one of another device.

    The card's own plans go before those of other cards with the same work. own: its run, if it has begun: what is
    measured later is not what it was decided by.
    """
    before = own.at if own is not None and own.kind == "run" else None
    found = plans.newest(work=work_key(experiment), content_hash=data.content_hash, before=before)

    def is_its(plan: Plan) -> bool:
        if plan.name == card.run:  # measured for this very card: whoever did so knew the machine
            return plan.why_not is None and plan.gpu_meant == card.backend.gpu
        return plan.speeds is not None and is_device(card.backend.gpu, plan.machine.gpu)

    fit = sorted(filter(is_its, found), key=lambda plan: plan.name != card.run)
    others = [plan for plan in found if not is_its(plan)]
    return (fit[0] if fit else None), (others[0] if others else None)


def timing_of(facts: Facts, card: Card, price: Price | None, plan: Plan | None = None) -> Timing | None:
    """Of a measured plan; else of the card's own estimate; None if there is neither."""
    usd_per_hour = card.backend.usd_per_hour or (price.usd_per_hour * card.backend.devices if price else None)
    factor = card.budget.pessimistic_factor
    if plan is not None and (speeds := plan.speeds) is not None:
        return Timing(facts, speeds, usd_per_hour, factor, tuple(plan.ratios))
    if card.estimate is None:
        return None
    return Timing(facts, Speeds.guessed(card.estimate), usd_per_hour, factor)


def view_of(
    file: CardFile,
    places: Places,
    *,
    data: DataFacts | None = None,
    ledger: Ledger | None = None,
    plans: Plans | None = None,
) -> View:
    """Everything of a card. data, ledger, plans: if they were read already. Raises WrongUse."""
    resolved = resolve(file.card)
    found = find_data(file) if data is None else data
    facts = facts_of(resolved.experiment, found)
    price = load_prices(places.cards).of(file.card.backend.gpu)
    ledger = places.ledger() if ledger is None else ledger
    own = ledger.get(file.card.run)
    plan, elsewhere = plans_of(file.card, resolved.experiment, found, plans or places.plans(), own)
    baselines, unknown = baselines_of(file.card.baselines, ledger)
    return View(
        file=file,
        places=places,
        resolved=resolved,
        facts=facts,
        price=price,
        timing=timing_of(facts, file.card, price, plan),
        plan=plan,
        elsewhere=elsewhere,
        ledger=ledger,
        baselines=baselines,
        unknown_baselines=unknown,
        news=[with_code(news, own) for news in most_comparable(tuple(baselines), resolved.experiment, found)],
    )
