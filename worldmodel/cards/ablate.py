"""One card per changed variable: this run, with that one put back to what it was.

Owns: which cards an ablation is, and their names. Must not: invent what an earlier run had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from worldmodel.cards.code import CODE
from worldmodel.cards.new import body, rendered
from worldmodel.cards.news import Change
from worldmodel.cards.view import View, view_of
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile
from worldmodel.runs.document import Document


@dataclass(frozen=True, slots=True)
class Ablation:
    """One variable. path: of its card, None if none could be written; why: then the reason."""

    change: Change
    path: Path | None
    why: str = ""


def ablate(view: View) -> list[Ablation]:
    """Write the cards; one that is there already stays as it is. Raises WrongUse if less than two variables change."""
    card = view.file.card
    if not view.news or len(view.news[0].changes) < 2:
        what = f"{len(view.news[0].changes)} changed variable(s)" if view.news else "no earlier run to compare with"
        raise WrongUse(f"{card.run} has {what}", "at least two to tell apart", "launch it as it is")
    out = []
    for change in view.news[0].changes:
        if change.back is None:
            out.append(Ablation(change, None, _by_hand(change, card.config)))
            continue
        out.append(_write(view, change, change.back))
    return out


def _by_hand(change: Change, config: str) -> str:
    """How to put back what overrides cannot."""
    if change.variable == CODE:
        return (
            f"needs the code of then: git switch --detach {change.before.split()[0]}, and a card of the same name there"
        )
    return f"needs the other dataset ({change.before}): worldmodel card new --from {config} --data THAT"


def _write(view: View, change: Change, back: Sequence[str]) -> Ablation:
    card, nearest = view.file.card, view.news[0].entry
    name = f"{card.run}-without-{re.sub(r'[^a-z0-9]+', '-', change.variable.lower()).strip('-')}"
    target = view.file.path.with_name(f"{name}.md")
    if target.exists():
        return Ablation(change, target, "was there already")
    # The front matter is kept as people wrote it, comments included; the prose is about another run.
    text = view.file.document.text[: len(view.file.document.text) - len(view.file.document.body)]
    document = replace(Document.parse(text, view.file.path), path=target)
    document = document.with_key("run", name)
    document = document.with_key(
        "goal", f"{card.run} with {change.variable} as in {nearest.name} ({change.before}, not {change.after})"
    )
    document = document.with_key("overrides", put_back(card.overrides, back))
    if card.reviews:
        document = document.with_key("reviews", [])
    file = CardFile.of(Document.parse(document.text + body(name), target))
    rendered(view_of(file, view.places, data=view.facts.data, ledger=view.ledger)).write()
    return Ablation(change, target)


def put_back(overrides: Sequence[str], back: Sequence[str]) -> list[str]:
    """Overrides with some keys set anew: what was said of these keys, or of parts of them, goes."""
    keys = [override.partition("=")[0] for override in back]

    def is_kept(override: str) -> bool:
        name = override.partition("=")[0].strip()
        return not any(name == key or name.startswith(f"{key}.") for key in keys)

    return [*filter(is_kept, overrides), *back]
