"""Closing a run out: its results on its card, from artefacts, whatever ended it.

Owns: when that is done and where it is written: closeout.json in the run folder, the block `results` of the card, the
picture of the curves beside the card. Must not: read a run (`outcome`) or word it (`results`).

Who does it: the supervisor when a worker has ended for good, else whoever looks at the run next (`board`), else a
person (`worldmodel card close`). Twice is as good as once: the same artefacts give the same bytes, and a file that says
them already is not written. A run that goes on is closed anew. The card never says "running":
nobody could take that back if the machine died.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from worldmodel.errors import WrongUse
from worldmodel.launch.base import read_care, read_order
from worldmodel.launch.curves import draw
from worldmodel.launch.outcome import FORMAT, Outcome, changed_since, launched_card, outcome_of, sizes
from worldmodel.launch.record import LiveRecord
from worldmodel.launch.results import BLOCK, TITLE, render
from worldmodel.runs import atomic
from worldmodel.runs.card import CardFile
from worldmodel.runs.document import Document, marked
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import is_alive


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closing did. written: files that changed. problem: why the card could not be written, or ""."""

    outcome: Outcome
    written: list[Path]
    problem: str = ""


def close(run: RunFolder, *, card: Path | None = None) -> Closed:
    """Write the results of a run where they belong. card: its card, if the run does not know it, or it has moved.

    Raises WrongUse if the run has no card and none is given, OSError.
    """
    path = card or card_path(run)
    if path is None:
        raise WrongUse(f"{run.path} was launched by no card", "the run of a card", "name the card")
    file, problem = None, ""
    try:
        file = CardFile.read(path)
    except WrongUse as error:
        problem = str(error)
    outcome = outcome_of(run, card=file.card if file else None, cards=path.parent)
    outcome, written = outcome.model_copy(update={"on_card": file is not None}), []
    if file is not None:
        if outcome.has_curves and (of := launched_card(run) or file.card):
            picture = picture_path(path)
            if _replace(picture, draw(outcome, LiveRecord(run).look(), of)):
                written.append(picture)
        if (document := with_results(file, run, outcome)).text != file.document.text:
            document.write()
            written.append(path)
    # The last, because it says that the others are done.
    if _replace(run.closeout, json.dumps(outcome.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"):
        written.append(run.closeout)
    return Closed(outcome, written, problem)


def with_results(file: CardFile, run: RunFolder, outcome: Outcome) -> Document:
    """A card with the block `results` as it should be; a card that has none yet gets it at its end."""
    content = render(outcome, picture=picture_path(file.path).name, card_changes=changed_since(run, file))
    if BLOCK in file.document.blocks:
        return file.document.with_blocks({BLOCK: content})
    return file.document.with_appended(f"\n## {TITLE}\n\n{marked(BLOCK, content)}")


def keep_closed(run: RunFolder) -> bool:
    """Close a run that has ended and was not closed since, if nobody else is about to; whether it was done now.

    Never raises: a look at a run must not fail because of its card. Quick where there is nothing to do.
    """
    if is_current(run) or (path := card_path(run)) is None or not path.is_file():
        return False
    supervisor = read_care(run).get("supervisor")
    if supervisor and is_alive(supervisor):
        return False
    try:
        return bool(close(run).written)
    except (OSError, WrongUse, ValueError, KeyError, TypeError):  # a damaged folder, or a card being edited just now
        return False


def is_current(run: RunFolder) -> bool:
    """Whether the run was closed, on its card too, and nothing was written to it since."""
    try:  # without the model: thousands of runs are looked at
        closed = json.loads(run.closeout.read_bytes())
    except (OSError, ValueError):
        return False
    is_whole = isinstance(closed, dict) and closed.get("format") == FORMAT and closed.get("on_card") is True
    return is_whole and closed.get("seen") == sizes(run)


def read_closed(run: RunFolder) -> Outcome | None:
    """closeout.json; None if there is none that can be read."""
    try:
        return Outcome.model_validate_json(run.closeout.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def card_path(run: RunFolder) -> Path | None:
    """The card that the run was launched by; None if there is none."""
    order = read_order(run) if run.launch.exists() else None
    return Path(order.card) if order is not None and order.card else None


def picture_path(card: Path) -> Path:
    """Of the curves, beside the card."""
    return card.with_name(f"{card.stem}.curves.svg")


def _replace(path: Path, text: str) -> bool:
    """Write a file unless it says so already; whether it was written. Raises OSError."""
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return False
    atomic.write_text(path, text)
    return True
