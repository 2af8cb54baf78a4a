"""All that is known of a card at one moment: its file, its experiment, its dataset, the runs before it.

Owns: putting these together once, for rendering, checking and linting alike. Must not: write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from worldmodel.cards.data import DataFacts, data_facts
from worldmodel.cards.facts import Facts, Resolved, Timing, facts_of, resolve, timing_of
from worldmodel.cards.news import News, baselines_of, most_comparable
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CARDS, CardFile, SignOff, resolved_hash, sign_off
from worldmodel.runs.ledger import FILE, Entry, Ledger
from worldmodel.runs.prices import Price, load_prices
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


@dataclass(frozen=True)
class View:
    """A card with its facts. news: against each of its baselines, the most comparable first."""

    file: CardFile
    places: Places
    resolved: Resolved
    facts: Facts
    price: Price | None
    timing: Timing | None
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


def view_of(file: CardFile, places: Places, *, data: DataFacts | None = None, ledger: Ledger | None = None) -> View:
    """Everything of a card. data, ledger: if they were read already. Raises WrongUse."""
    resolved = resolve(file.card)
    found = find_data(file) if data is None else data
    facts = facts_of(resolved.experiment, found)
    price = load_prices(places.cards).of(file.card.backend.gpu)
    ledger = places.ledger() if ledger is None else ledger
    baselines, unknown = baselines_of(file.card.baselines, ledger)
    return View(
        file=file,
        places=places,
        resolved=resolved,
        facts=facts,
        price=price,
        timing=timing_of(facts, file.card, price),
        ledger=ledger,
        baselines=baselines,
        unknown_baselines=unknown,
        news=most_comparable(tuple(baselines), resolved.experiment, found),
    )
