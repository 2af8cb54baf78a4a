"""What is new in a run: its differences to the earlier run that is most like it.

Owns: what counts as one changed variable, which earlier run is most comparable. Must not: read files.

Keys that only say how a run is watched or kept are no variables: they change no weight. Loss weights are one variable
together; an optional section that is switched on or off is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worldmodel.cards.data import DataFacts
from worldmodel.runs.ledger import Entry, EntryData, Ledger
from worldmodel.training.config import Experiment

WATCHING = (
    "training.log_every_steps",
    "training.log_every_s",
    "training.val_every_fraction",
    "training.val_windows",
    "training.checkpoint_every_min",
    "training.keep_last",
    "training.threads",
    "training.compile",
    "data.block_frames",
)
"""Keys that change no weight, but for the last bits of sums."""

SWITCHED = ("symmetry", "emphasis", "scheduled_sampling", "context_noise", "self_forcing")
"""Sections that are there or not."""

KINDS = {"model": "arch", "data": "mode"}
"""Sections of several kinds, and the key that says which: other keys of another kind are part of that one change."""

WEIGHTS = "loss_weights"
DATASET = "dataset"
UNKNOWN = "not recorded"
SHOWN_WEIGHTS = 3
"""Weights that a line names."""


@dataclass(frozen=True, slots=True)
class Change:
    """One variable. before, after: in words. back: overrides that undo it, None if overrides cannot."""

    variable: str
    before: str
    after: str
    back: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class News:
    """Against one earlier run. num_unknown: keys of the experiment that the earlier run's record does not have.

    code_unknown: why it cannot be told whether the code differs; empty if it can (then it is among the changes if so).
    """

    entry: Entry
    changes: tuple[Change, ...]
    num_unknown: int
    num_same: int = field(compare=False)
    code_unknown: str = ""

    @property
    def warning(self) -> str | None:
        """More than one changed variable: named, with the way out."""
        if len(self.changes) < 2:
            return None
        names = ", ".join(change.variable for change in self.changes)
        return f"{len(self.changes)} variables change at once ({names}): if results move, nobody knows by which"


def news_against(entry: Entry, experiment: Experiment, data: DataFacts) -> News:
    """All changed variables from an earlier run to this experiment on this dataset."""
    new = experiment.model_dump(mode="json")
    old = _nested(entry.config)
    changes: list[Change] = []
    unknown = same = 0
    if (change := _data_change(entry.data, data)) is not None:
        changes.append(change)
    elif entry.data == EntryData():
        unknown += 1
    for section, values in new.items():
        before = old.get(section, None if entry.is_complete else _MISSING)
        if section in SWITCHED and (before is None or values is None or before is _MISSING):
            if before is _MISSING:
                unknown += 1
            elif before != values:
                back = f"{section}={_inline(before)}"
                changes.append(Change(section, _words(before), _words(values), (back,)))
            else:
                same += 1
            continue
        found, num_unknown, num_same = _section(section, before if isinstance(before, Mapping) else {}, values)
        changes += found
        unknown += num_unknown
        same += num_same
    return News(entry, tuple(changes), unknown, same)


def most_comparable(entries: tuple[Entry, ...], experiment: Experiment, data: DataFacts) -> list[News]:
    """All earlier runs, the most comparable first: those with a result, of the same architecture, with the fewest
    changes, with the most that is known to be the same, the newest."""
    found = [news_against(entry, experiment, data) for entry in entries]
    ages = {entry.name: place for place, entry in enumerate(entries)}

    def rank(news: News) -> tuple[Any, ...]:
        arch = news.entry.config.get("model.arch", experiment.model.arch)
        has_result = bool(news.entry.val or news.entry.unsaid)
        return (
            not has_result,
            arch != experiment.model.arch,
            len(news.changes),
            -news.num_same,
            -ages[news.entry.name],
        )

    return sorted(found, key=rank)


def baselines_of(names: list[str], ledger: Ledger) -> tuple[list[Entry], list[str]]:
    """Entries of a card's baselines, in its order; and the names that the ledger does not know."""
    entries = [ledger.get(name) for name in names]
    known = [entry for entry in entries if entry is not None]
    return known, [name for name, entry in zip(names, entries, strict=True) if entry is None]


def num_games_of(data: EntryData) -> int | None:
    """Games of an earlier run's dataset: counted, or read out of what people call it ("22K")."""
    if data.num_games is not None:
        return data.num_games
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kK]?)(?: games)?", data.name or "")
    return round(float(match[1]) * (1000 if match[2] else 1)) if match else None


# ---- one section -------------------------------------------------------------------------------------------------

_MISSING = object()


def _section(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Change], int, int]:
    """Changes, number of keys not recorded, number of keys that are the same."""
    kind = KINDS.get(section)
    if kind and kind in before and before[kind] != after[kind]:
        back = f"{section}={_inline(before)}" if len(before) > 1 else None
        return [Change(f"{section}.{kind}", str(before[kind]), str(after[kind]), (back,) if back else None)], 0, 0
    counted = [key for key in after if f"{section}.{key}" not in WATCHING]
    known = [key for key in counted if key in before]
    changed = [key for key in known if before[key] != after[key]]
    if section == WEIGHTS and changed:
        shown = changed[:SHOWN_WEIGHTS]
        more = f" and {len(changed) - len(shown)} more" if len(changed) > len(shown) else ""
        changes = [
            Change(
                WEIGHTS,
                ", ".join(f"{key} {_words(before[key])}" for key in shown) + more,
                ", ".join(f"{key} {_words(after[key])}" for key in shown) + more,
                tuple(f"{section}.{key}={_inline(before[key])}" for key in changed),
            )
        ]
    else:
        changes = [
            Change(
                f"{section}.{key}",
                _words(before[key]),
                _words(after[key]),
                (f"{section}.{key}={_inline(before[key])}",),
            )
            for key in changed
        ]
    return changes, len(counted) - len(known), len(known) - len(changed)


def _data_change(before: EntryData, after: DataFacts) -> Change | None:
    if before.content_hash is not None:
        if before.content_hash == after.content_hash:
            return None
        name = f"{before.num_games:,} games, content {before.content_hash[:12]}" if before.num_games else UNKNOWN
        return Change(DATASET, name, _data_words(before, after) + f", content {after.content_hash[:12]}", None)
    num = num_games_of(before)
    # Called by its size: another number of games is another dataset; the same number may be.
    if num is None or abs(num - after.num_games) <= 0.05 * after.num_games:
        return None
    return Change(DATASET, f"{num:,} games", _data_words(before, after), None)


def _data_words(before: EntryData, after: DataFacts) -> str:
    num = num_games_of(before)
    ratio = f" ({after.num_games / num:.3g}x)" if num and num != after.num_games else ""
    return f"{after.num_games:,} games{ratio}"


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in flat.items():
        section, _, rest = key.partition(".")
        if not rest:
            out[section] = value
        elif isinstance(inner := out.setdefault(section, {}), dict):
            # What is deeper than a section (noise per field) is compared by its dotted key.
            inner[rest] = value
    return out


def _inline(value: Any) -> str:
    """As YAML on one line, for an override."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_inline(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _words(value: Any) -> str:
    if value is None:
        return "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(part)}" for key, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
