"""The watcher outside a run: what it sees, and what is to be done when the run is hung or has ended.

Owns: the outside's judgement (the rule `stale`, and those that the run should have obeyed itself), and whether an ended
run is begun again. Must not: send signals or start processes (the supervisor does).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from worldmodel.errors import WrongUse
from worldmodel.launch.record import LiveRecord
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import REASON, Rulebook, RuleSpec, read_rules
from worldmodel.runs.rules import Verdict
from worldmodel.runs.status import Watch, read_status

GRACE_S = 120.0
"""A run has so long to obey a rule of its own; then the watcher ends it."""
FINISHED = "finished"
STOPPED = ("deadline", "SIGUSR1", "SIGINT", "SIGTERM", "stop")
"""Reasons of ends that somebody asked for."""
VANISHED = "vanished"
Kind = Literal["finished", "stopped by rule", "stopped", "vanished", "crashed"]


def kind_of(reason: str) -> Kind:
    """What sort of end a reason is."""
    if reason == FINISHED:
        return "finished"
    if reason.startswith(REASON):
        return "stopped by rule"
    if reason.partition(":")[0] in STOPPED:
        return "stopped"
    return "vanished" if reason.startswith(VANISHED) else "crashed"


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that the watcher has to enforce."""

    rule: RuleSpec
    verdict: Verdict


class Watcher:
    """Looks at one run, now and then. All times are by the clock of this process."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._record = LiveRecord(run)
        self._watch = Watch()
        self._disobeyed_since: float | None = None

    def look(self) -> Fired | None:
        """A rule to enforce now: a watcher's own at once, one of the run's own if the run did not obey it in time."""
        rules = self.rules()
        stale_s = self._watch.look(read_status(self._run))
        record = self._record.look(stale_s=stale_s)
        found = rules.fired(record, outside=True)
        if found is not None:
            return Fired(*found)
        found = rules.fired(record)
        if found is None:
            self._disobeyed_since = None
            return None
        now = time.monotonic()
        self._disobeyed_since = now if self._disobeyed_since is None else self._disobeyed_since
        return Fired(*found) if now - self._disobeyed_since > GRACE_S else None

    def rules(self) -> Rulebook:
        """The run's rules as they are now. A file that cannot be read holds none: the run itself has refused it."""
        try:
            return read_rules(self._run.rules) if self._run.rules.exists() else Rulebook()
        except WrongUse:
            return Rulebook()


def newest_step(run: RunFolder) -> int:
    """Step of the newest whole checkpoint; -1 if there is none."""
    try:
        return run.newest_checkpoint()[0].step
    except WrongUse:
        return -1


def why_not_again(run: RunFolder, reason: str, *, began_at: int, attempt: int, retries: int) -> str | None:
    """Why an ended run is not begun again; None if it is.

    Again only after a crash, a kill or a hang, never after an end that a person or a rule of the run wanted, and only
    if the life that ended brought a newer checkpoint than it began with: what fails at one place fails there again.
    """
    kind = kind_of(reason)
    if kind in ("finished", "stopped") or (kind == "stopped by rule" and reason != f"{REASON}stale"):
        return f"it {kind}" if kind == "finished" else f"it was {kind}"
    if run.stop.exists():
        return "somebody asked it to stop"
    if attempt > retries:
        return "no retries were ordered" if not retries else f"all {retries} retries are used"
    if newest_step(run) <= max(0, began_at):
        return "it has no newer checkpoint than it began with"
    return None
