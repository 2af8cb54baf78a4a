"""What a run is told by its card: the words of its launch, and what the door on another machine does by itself.

Owns: which keys of a card become which words. Must not: launch, train, or judge a card (`check`, `lint`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from worldmodel.cards.view import hash_of
from worldmodel.errors import WrongUse
from worldmodel.launch.base import AFAR
from worldmodel.runs import strict
from worldmodel.runs.card import Card, CardFile, sign_off
from worldmodel.runs.card_rules import rulebook_of


def train_words(card: Card, *, config: Path, overrides: list[str], data: Path, rules: Path) -> list[str]:
    """Words of `worldmodel train` for a card. data: where its dataset lies here."""
    where = str(data.resolve())
    if card.backend.name in AFAR and card.data.on_backend:
        where = card.data.on_backend
    tracker = card.tracker
    track = ["--track", tracker.policy] if tracker.policy != "off" else []
    if track and tracker.project:
        track += ["--track-project", tracker.project]
    if track and tracker.entity:
        track += ["--track-entity", tracker.entity]
    return [str(config), *overrides, "--data", where, "--rules", str(rules.resolve()), *track]


def asks_of(card: Card, cards: Path) -> dict[str, str]:
    """What a card asks of its platform, in that platform's words."""
    backend = card.backend
    if backend.name != "modal":
        return {}
    wanted = {
        "gpu": backend.gpu,
        "cpu": backend.cpu_cores,
        "memory_mb": None if backend.memory_gb is None else round(backend.memory_gb * 1024),
        "timeout_s": backend.timeout_s,
        "retries": backend.retries,
        "cards": cards.resolve() if cards.is_dir() else None,
    }
    return {name: str(value) for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Told:
    """What a card tells a run that was begun by its name alone. rules: text of a rules file."""

    name: str
    hash: str
    config: str
    overrides: list[str]
    data_hash: str
    rules: str
    policy: str
    project: str | None
    entity: str | None


def told_by(name: str, cards: Path) -> Told | None:
    """What the card of a run that shall begin tells it; None if there is no card in `cards`. It must be signed.

    Whether a run is cheap enough to need no review is judged by `worldmodel card launch`, not here. Raises WrongUse.
    """
    path = cards / f"{name}.md"
    if not name or not path.is_file():
        return None
    file = CardFile.read(path)
    card, hash = file.card, hash_of(file)
    found = sign_off(card, hash)
    if not found.may_launch:
        raise WrongUse(
            f"card {name} (hash {hash}): {found.in_words()}", "a signed card", f"worldmodel card review {name} --by WHO"
        )
    return Told(
        name=name,
        hash=hash,
        config=card.config,
        overrides=list(card.overrides),
        data_hash=card.data.content_hash,
        rules=strict.dump(rulebook_of(card, cards=cards)) if card.kill else "",
        policy=card.tracker.policy,
        project=card.tracker.project,
        entity=card.tracker.entity,
    )
