"""One look at a run: how it stands, its record, and its rules judged on it.

Owns: putting the three together. Must not: show them (`view`).
"""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.errors import WrongUse
from worldmodel.launch import board
from worldmodel.launch.board import Sight
from worldmodel.launch.closeout import read_closed
from worldmodel.launch.outcome import Outcome
from worldmodel.launch.record import LiveRecord
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import Rulebook, RuleSpec, read_rules
from worldmodel.runs.rules import Record, Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """A run at one moment. closed: what stands on its card, of one that has ended and was launched by a card."""

    sight: Sight
    record: Record
    judged: list[tuple[RuleSpec, Verdict]]
    closed: Outcome | None = None


def see(run: RunFolder, *, live: LiveRecord | None = None) -> Look:
    """Look at a run. live: of the look before, so that only new rows are read."""
    sight = board.look(run)
    stale_s = None if sight.is_over else sight.progress_s
    record = (live or LiveRecord(run)).look(stale_s=stale_s)
    try:
        rules = read_rules(run.rules) if run.rules.exists() else Rulebook()
    except WrongUse:  # the run has refused the file too
        rules = Rulebook()
    judged = list(zip(rules.kill, rules.judge(record), strict=True))
    return Look(sight, record, judged, read_closed(run) if sight.is_over else None)
