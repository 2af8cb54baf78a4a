"""A new card, out of an experiment and a dataset; and a card's tables, rendered into it.

Owns: the form of a new card, names of cards. Must not: decide what a table says.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from worldmodel.cards.data import DataFacts, data_facts
from worldmodel.cards.news import most_comparable
from worldmodel.cards.tables import PRIOR_METRICS, TABLES
from worldmodel.cards.view import Places, View, view_of
from worldmodel.errors import WrongUse
from worldmodel.evaluation.metrics import METRICS
from worldmodel.launch.base import AFAR
from worldmodel.runs.card import CardFile
from worldmodel.runs.document import Document, marked
from worldmodel.runs.ledger import VAL, Entry, Ledger
from worldmodel.training.config import Experiment, find_experiment, load_experiment

NUM_BASELINES = 4
"""Earlier runs that a new card names."""

KILL = ({"rule": "non_finite"}, {"rule": "out_of_memory"}, {"rule": "stale", "minutes": 10})
"""Rules that no run should be without."""

TITLES = {
    "targets": "Target metrics",
    "data": "Data",
    "model": "Model",
    "training": "Training",
    "infrastructure": "Infrastructure",
    "logging": "Logging & monitoring",
    "timing": "Timing & cost",
    "prior-runs": "Prior comparable runs",
    "new": "What is new in this run",
    "commands": "Launch and resume",
}
"""Headings of a new card, in order."""

DIRECTIONS = {f"{VAL}{metric.name}": metric.better for metric in METRICS}
"""Which way is better, for every held-out metric."""

_WIDE = 4096


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says of a new card besides experiment and dataset. more: front matter, over the defaults."""

    name: str | None = None
    goal: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def new_card(
    config: str, data: str | Path, places: Places, *, overrides: Sequence[str] = (), wishes: Wishes | None = None
) -> View:
    """Write a card, its tables filled. Raises WrongUse, and writes nothing, if its name is taken or a part is wrong."""
    wishes = wishes or Wishes()
    path = find_experiment(config)
    experiment = load_experiment(path, overrides=overrides)
    found, ledger = data_facts(data), places.ledger()
    name = wishes.name or free_name(path.stem, places)
    comparable = most_comparable(ledger.entries, experiment, found)
    baselines = [news.entry for news in comparable[:NUM_BASELINES]]
    front: dict[str, Any] = {
        "run": name,
        "goal": wishes.goal or "one line: what this run shall show",
        "config": config,
        "overrides": list(overrides),
        "data": {"content_hash": found.content_hash, "path": str(data)},
        "targets": [],
        "kill": [dict(rule) for rule in KILL],
        "baselines": [entry.name for entry in baselines],
        "budget": {"pessimistic_factor": 5.0},
        "checkpoints": {"every_min": experiment.training.checkpoint_every_min, "publish": False},
        "tracker": {"policy": "off"},
        "backend": {"name": "local"},
        "reviewers": {"required": []},
        "watched_by": [],
    }
    front |= {key: value for key, value in wishes.more.items() if value is not None}
    if "checkpoints" not in wishes.more:
        # A machine that goes with its disk must not take the checkpoints along.
        front["checkpoints"]["publish"] = front["backend"].get("name") in AFAR
    if "estimate" not in front and (estimate := estimate_from(baselines, experiment, front["backend"].get("gpu"))):
        front["estimate"] = estimate
    text = f"---\n{front_text(front)}{_target_hints(front, baselines)}---\n{body(name)}"
    return write_new(text, places, ledger=ledger, data=found)


def write_new(text: str, places: Places, *, data: DataFacts | None = None, ledger: Ledger | None = None) -> View:
    """Write a card's text as a new file, its tables filled. Raises WrongUse, and writes nothing, for a wrong one."""
    match = re.search(r"^run: *(\S+)", text, flags=re.MULTILINE)
    name = match[1].strip("'\"") if match else ""
    target = places.cards / f"{name}.md"
    if target.exists():
        raise WrongUse(f"{target} exists", "a new name", "choose another with --name, or edit that card")
    file = CardFile.of(Document.parse(text, target))
    view = view_of(file, places, data=data, ledger=ledger)
    document = rendered(view)
    places.cards.mkdir(parents=True, exist_ok=True)
    document.write()
    return view_of(CardFile.of(document), places, data=view.facts.data, ledger=view.ledger)


def rendered(view: View) -> Document:
    """The card with its tables as they should be. Prose, and blocks of other names, stay."""
    document = view.file.document
    return document.with_blocks({name: TABLES[name](view).markdown() for name in document.blocks if name in TABLES})


def free_name(stem: str, places: Places) -> str:
    """The experiment's name with the first number that no card, no run and no result has."""
    taken = {path.stem for path in places.cards.glob("*.md")} | set(places.ledger().names)
    return next(name for number in range(1, 10**6) if (name := f"{stem}-{number}") not in taken)


def front_text(front: Mapping[str, Any]) -> str:
    """Front matter as YAML: sections on a line each, so that a change is one line of a diff."""
    out = io.StringIO()
    yaml = YAML(pure=True)
    yaml.width = _WIDE
    shaped = CommentedMap()
    for key, value in front.items():
        shaped[key] = _flow(value) if isinstance(value, Mapping) else value
        if isinstance(value, list):
            shaped[key] = [_flow(item) if isinstance(item, Mapping) else item for item in value]
    yaml.dump(shaped, out)
    return re.sub(r"^(\w+):\n((?:- .*\n)+)", _indented, out.getvalue(), flags=re.MULTILINE)


def body(name: str) -> str:
    """The Markdown of a new card: empty blocks under their headings, and where people write."""
    parts = [f"\n# Run card: {name}\n", "\n## Goal\n\nWhat do we bet on, and why now?\n"]
    parts += [f"\n## {title}\n\n{marked(block, '')}" for block, title in TITLES.items()]
    parts.append("\n## Escape hatches\n\nWhat do we do if it does not learn, and who decides?\n")
    parts.append("\n## Notes\n")
    return "".join(parts)


def estimate_from(entries: Sequence[Entry], experiment: Experiment, gpu: str | None) -> dict[str, Any] | None:
    """A step's time of an earlier run with the same model, batch and device; None if there is none."""
    flat = {f"model.{key}": value for key, value in experiment.model.model_dump(mode="json").items()}
    flat |= {f"data.{key}": value for key, value in experiment.data.model_dump(mode="json").items()}
    flat |= {"training.batch_size": experiment.training.batch_size, "training.precision": experiment.training.precision}
    for entry in entries:
        same = all(entry.config.get(key) == value for key, value in flat.items() if key != "data.block_frames")
        if entry.is_complete and entry.step_s and same and entry.gpu == gpu:
            return {"batch_s": float(f"{entry.step_s:.3g}"), "measured": True, "source": f"run {entry.name}, its pace"}
    return None


def _flow(value: Mapping[str, Any]) -> CommentedMap:
    flow = CommentedMap(value)
    flow.fa.set_flow_style()
    return flow


def _indented(match: re.Match[str]) -> str:
    return f"{match[1]}:\n" + "".join(f"  {line}\n" for line in match[2].splitlines())


def _target_hints(front: Mapping[str, Any], baselines: Sequence[Entry]) -> str:
    """Comments with a target to copy for each of the card's metrics; its baseline is the best of the earlier runs."""
    if front["targets"]:
        return ""
    lines = ["# Targets to set; copy into `targets` what you bet on:\n"]
    for metric in PRIOR_METRICS:
        better = DIRECTIONS[metric]
        known = [(value, entry.name) for entry in baselines if (value := entry.value(metric)) is not None]
        best = (max if better == "higher" else min)(known) if known else None
        baseline = f", baseline: {best[0]:.4g}, baseline_from: {best[1]}" if best else ""
        lines.append(f"#  - {{metric: {metric}, better: {better}{baseline}, target: }}\n")
    return "".join(lines)
