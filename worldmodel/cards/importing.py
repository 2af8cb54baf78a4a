"""A hand-written card taken over into ours.

Owns: the form of the new file: their prose as it stands, our tables where theirs were, the comparison at the end.
Must not: overwrite a card, or turn their ticks into signatures (those are of a hash that they never saw).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.cards.compared import Row, compare
from worldmodel.cards.data import data_facts
from worldmodel.cards.foreign import Foreign, Section
from worldmodel.cards.new import TITLES, front_text, rendered
from worldmodel.cards.taken import entries_of, front_of
from worldmodel.cards.view import Places, View, view_of
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile
from worldmodel.runs.document import Document, marked, table_lines
from worldmodel.runs.ledger import FILE, add, read_elsewhere
from worldmodel.runs.prices import load_prices

PLACES = {
    "targets": ("target",),
    "data": ("data",),
    "model": ("model",),
    "training": ("training",),
    "infrastructure": ("infrastructure",),
    "logging": ("logging",),
    "timing": ("timing",),
    "prior-runs": ("prior",),
    "new": ("new",),
    "commands": ("launch",),
}
"""Table -> words of the heading that it goes under."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it. added: earlier runs that the ledger had not."""

    view: View
    rows: list[Row]
    added: list[str]

    @property
    def disagreements(self) -> list[Row]:
        return [row for row in self.rows if not row.is_good]


def import_card(
    path: Path,
    data: Path,
    places: Places,
    *,
    config: str | None = None,
    name: str | None = None,
    prior_config: Mapping[str, Any] | None = None,
) -> Imported:
    """Write a card of ours, and its earlier runs into the ledger. Raises WrongUse, and writes nothing, if it cannot.

    config: instead of the file that the card names. prior_config: what all of its earlier runs are known to have had.
    """
    foreign = Foreign.read(path)
    config = config or foreign.config
    if config is None:
        raise WrongUse(f"{path} names no config", "a line **Config**: `FILE`", "say it with --from CONFIG")
    found = data_facts(data)
    front = front_of(foreign, config, found, data, load_prices(places.cards)) | ({"run": name} if name else {})
    target = places.cards / f"{front['run']}.md"
    if target.exists():
        raise WrongUse(f"{target} exists", "a new name", "choose another with --name")
    known = {entry.name for entry in read_elsewhere(places.cards / FILE)}
    new = [entry for entry in entries_of(foreign, prior_config or {}) if entry.name not in known]
    ledger = places.ledger(more=new)
    document = Document.parse(f"---\n{front_text(front)}---\n{_body(foreign)}", target)
    view = view_of(CardFile.of(document), places, data=found, ledger=ledger)
    rows = compare(foreign, view)
    document = rendered(view).with_appended(_record(path, rows))
    places.cards.mkdir(parents=True, exist_ok=True)
    if new:
        add(places.cards / FILE, new)
    document.write()
    view = view_of(CardFile.of(document), places, data=found, ledger=ledger)
    return Imported(view, rows, [entry.name for entry in new])


def _body(card: Foreign) -> str:
    """Their text, with our blocks in the places of their tables; a section without a table gets ours at its end."""
    homes = {card.section(*words): name for name, words in PLACES.items() if card.section(*words).title}
    parts = ["\n"]
    for section in card.sections:
        if section.title:
            parts.append(f"## {section.title}\n")
        parts.append(_section(section, homes.get(section)))
    for name, title in TITLES.items():
        if name not in homes.values():
            parts.append(f"\n## {title}\n\n{marked(name, '')}")
    return "".join(parts)


def _section(section: Section, block: str | None) -> str:
    if block is None:
        return "".join(f"{line}\n" for line in section.lines)
    out, is_placed = [], False
    for part in section.parts:
        if part.is_table and not is_placed:
            out.append(marked(block, ""))
            is_placed = True
        else:
            out += [f"{line}\n" for line in part.lines]
    if not is_placed:
        end = "" if not out or out[-1].strip() == "" else "\n"
        out.append(f"{end}{marked(block, '')}\n")
    return "".join(out)


def _record(path: Path, rows: list[Row]) -> str:
    """The comparison, as a dated record: it is about the card that was imported, and does not go stale."""
    bad = sum(not row.is_good for row in rows)
    verdict = f"{bad} of them disagree" if bad else "all of them agree"
    lines = table_lines(
        ("Quantity", "The card said", "Computed", "Agrees"), [(r.quantity, r.says, r.computed, r.agrees) for r in rows]
    )
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    return "\n".join(
        (
            f"\n## Import\n\nTaken from `{path.name}` on {when}. {len(rows)} quantities can be computed, {verdict}.",
            "Ticks under a sign-off are no signatures: `worldmodel card review` makes one.\n",
            *lines,
        )
    )
