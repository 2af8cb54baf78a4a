"""All runs at a glance, kept while their folders do not change.

Owns: one row per run. Must not: close a run or ask a platform, as `launch.board` would: pages only look.

A row: id, state (see `launch.board`), why, step, num_steps, progress_s, eta_s, spent_s, started_at, changed_at,
experiment, overrides, data, metrics (the last validation), problem ("" or why it cannot be read).
"""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.launch import board
from worldmodel.launch.base import AFAR, read_order
from worldmodel.launch.board import Sight
from worldmodel.launch.watcher import kind_of
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rules import VALIDATED
from worldmodel.runs.status import read_status
from worldmodel.web.places import Glance, Runs, Signature

Row = dict[str, Any]

SHOWN = tuple(f"{VALIDATED}{name}" for name in ("change_acc", "pos_mae", "loss/total"))
"""Metrics of a row."""
_TAIL_BYTES = 1 << 16
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, WrongUse)
"""What reading a half-written or strange file may raise: its JSON is sound, and the shape of it is anybody's."""


class Sights:
    """The rows of a folder of runs. May be asked from several threads."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._known: dict[str, tuple[Signature, Row, bool]] = {}
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """Every run, the last changed first."""
        with self._lock:
            glances = self._runs.all()
            rows = [self._row(glance) for glance in glances]
            names = {glance.id for glance in glances}
            for gone in self._known.keys() - names:
                del self._known[gone]
            return rows

    def row(self, glance: Glance) -> Row:
        """One run's."""
        with self._lock:
            return self._row(glance)

    def _row(self, glance: Glance) -> Row:
        known = self._known.get(glance.id)
        # What has not ended may end without a word, so it is looked at each time: these are few.
        if known is not None and known[0] == glance.signature and known[2]:
            return known[1]
        row, is_settled = _row_of(glance)
        self._known[glance.id] = (glance.signature, row, is_settled)
        return row


def look(run: RunFolder) -> Sight:
    """How a run stands, without writing anything down and without asking a platform."""
    order = read_order(run)
    if order is None or order.backend not in AFAR:
        return board.look(run, close=False)
    status = read_status(run) or {}
    if status.get("phase") == "ended":
        reason = str(status.get("reason"))
        return Sight(run, kind_of(reason), reason, status=status)
    return Sight(run, "unseen", f"on {order.backend}; worldmodel status {run.id} asks it", status=status)


def _row_of(glance: Glance) -> tuple[Row, bool]:
    """The row, and whether it stays while no file changes."""
    run = glance.run
    changed = datetime.fromtimestamp(glance.changed_ns / 1e9, UTC).isoformat(timespec="seconds")
    row: Row = {"id": run.id, "changed_at": changed, "problem": glance.problem, "metrics": {}}
    if glance.problem:
        return row | {"state": "broken", "why": glance.problem}, True
    try:
        sight = look(run)
        status = sight.status
        row |= {"state": str(sight.state), "why": str(sight.why)[:300], "progress_s": sight.progress_s}
        row |= {key: _number(status.get(key)) for key in ("step", "num_steps", "eta_s", "spent_s")}
        row["metrics"] = _metrics(run, status.get("metrics"))
        row |= _origin(run)
    except BROKEN as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        return row | {"state": "broken", "why": why, "problem": why}, True
    return row, sight.is_over


def _metrics(run: RunFolder, told: Any) -> dict[str, float]:
    """The last validation: of the status, or of the end of the rows."""
    found = _shown(told) if isinstance(told, dict) else {}
    if len(found) < len(SHOWN):
        found = _shown(_last_validation(run)) | found
    return found


def _shown(row: Row) -> dict[str, float]:
    values = {name: _number(row.get(name)) for name in SHOWN}
    return {name: value for name, value in values.items() if value is not None}


def _last_validation(run: RunFolder) -> Row:
    """The last row of validation of the weights themselves, among the last bytes; empty if there is none.

    Only lines that speak of one are read as JSON: of hundreds of runs all others are most of the work.
    """
    try:
        with run.metrics.open("rb") as file:
            file.seek(max(0, run.metrics.stat().st_size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        if b'"val"' in line:
            with contextlib.suppress(ValueError):  # half of a row, at either end
                row = json.loads(line)
                if isinstance(row, dict) and row.get("kind") == "val" and row.get("weights", "raw") == "raw":
                    return row
    return {}


def _origin(run: RunFolder) -> Row:
    """What run.json tells, if there is one yet."""
    if not run.provenance.is_file():
        return {}
    told = json.loads(run.provenance.read_text(encoding="utf-8"))
    experiment = told.get("experiment") or {}
    return {
        "started_at": told.get("started_at"),
        "experiment": str(experiment.get("file") or "").rpartition("/")[2],
        "overrides": [str(one) for one in experiment.get("overrides") or ()],
        "data": (told.get("dataset") or {}).get("content_hash"),
    }


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
