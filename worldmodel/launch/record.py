"""A run's own record, read from outside: followed while it grows, and replayed against rules.

Owns: reading rows as they come. Must not: judge them (`runs.rules` does).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import OUTSIDE, Rulebook, RuleSpec
from worldmodel.runs.rules import Record, Verdict
from worldmodel.runs.status import read_status

MAX_LOOKS = 2000
"""Places of a long run at which a replay judges it, besides every validation."""


@dataclass(slots=True)
class Follower:
    """Whole rows of a file that somebody appends to, and cuts when a run goes on from an earlier step."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    _offset: int = 0
    _end: bytes = b""

    def look(self) -> bool:
        """Read what is new; whether earlier rows went, so that what was made of them must be made anew."""
        try:
            with self.path.open("rb") as file:
                begin = max(0, self._offset - len(self._end))
                file.seek(begin)
                was_cut = file.read(len(self._end)) != self._end
                if was_cut:
                    self.rows, self._offset = [], 0
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # a line that a full disk cut; the run's own reader says so
            if isinstance(row, dict):
                self.rows.append(row)
        self._offset += len(whole)
        self._end = (self._end + whole)[-64:] if not was_cut else whole[-64:]
        return was_cut


class LiveRecord:
    """The record of a run that may be under way."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._files = [Follower(path) for path in (run.metrics, run.pace, run.events)]
        self.record = Record()
        self._shown = [0, 0, 0]

    def look(self, *, stale_s: float | None = None) -> Record:
        """The record as it is now."""
        cut = [file.look() for file in self._files]
        if any(cut):
            self.record, self._shown = Record(), [0, 0, 0]
        into = (self.record.metrics, self.record.pace, self.record.events)
        for index, (file, rows) in enumerate(zip(self._files, into, strict=True)):
            rows += file.rows[self._shown[index] :]
            self._shown[index] = len(file.rows)
        self.record.status = read_status(self._run) or {}
        self.record.stale_s = stale_s
        return self.record


@dataclass(frozen=True, slots=True)
class Replayed:
    """One rule over a whole run. first: where it would have fired; last: what it says at the end."""

    rule: RuleSpec
    first: Verdict | None
    epoch: float | None
    last: Verdict


def replay(rulebook: Rulebook, record: Record) -> list[Replayed]:
    """Judge a finished record as the run would have, at every validation and line of pace, in the order of steps.

    Rules that only a watcher can judge wait: a file does not say how long nothing was written. Time spent is that of
    the lines of pace so far.
    """
    events = sorted(record.events, key=lambda row: row.get("step", 0))
    steps = [[row.get("step", 0) for row in rows] for rows in (record.metrics, record.pace, events)]
    looks = sorted({*steps[1], *(row["step"] for row in record.metrics if row["kind"] == "val"), *steps[2]})
    thin = max(1, len(looks) // MAX_LOOKS)
    looks = sorted({*looks[::thin], *(row["step"] for row in record.metrics if row["kind"] == "val"), *looks[-1:]})
    first: dict[int, Verdict] = {}
    grown = Record(usd=record.usd, usd_per_hour=record.usd_per_hour)
    verdicts = rulebook.judge(grown)
    for step in looks:
        for rows, source, at in zip(
            (grown.metrics, grown.pace, grown.events), (record.metrics, record.pace, events), steps, strict=True
        ):
            rows += source[len(rows) : bisect_right(at, step)]
        verdicts = rulebook.judge(grown)
        for place, verdict in enumerate(verdicts):
            if verdict.state == "fires" and rulebook.kill[place].rule not in OUTSIDE:
                first.setdefault(place, verdict)
    per_epoch = record.steps_per_epoch
    return [
        Replayed(
            rule,
            first.get(place),
            first[place].at_step / per_epoch if place in first and per_epoch else None,
            verdicts[place],
        )
        for place, rule in enumerate(rulebook.kill)
    ]
