"""A run's own rows as they come, as points on curves: what a mirror of a run shows.

Owns: following files that grow, the order of points, their names. Must not: know where points go, or write anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldmodel.tracking.jsonl import NON_FINITE

_KEYS = ("kind", "step", "weights", "model", NON_FINITE)
"""Words of a row that are no measurement."""


@dataclass(slots=True)
class Tail:
    """Whole rows of a JSONL file since the last look.

    A file that is not there has no rows. One that got shorter (its run went on from an earlier step) is read from its
    beginning. num_skipped: lines that were no JSON object.
    """

    path: Path
    num_skipped: int = 0
    _offset: int = 0

    def look(self) -> list[dict[str, Any]]:
        """The new rows. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole, newline, _ = text.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return list(self._parsed(whole.split(b"\n"))) if newline else []

    def _parsed(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield row
            else:
                self.num_skipped += 1


@dataclass(frozen=True, slots=True)
class Points:
    """What is known at one step. `constant`: values of no step of their own, as those of the naive models."""

    step: int
    values: dict[str, float]
    constant: dict[str, float] = field(default_factory=dict)


class Curves:
    """The rows of metrics and pace of a run, merged by step; steps never go backwards from one look to the next."""

    def __init__(self, metrics: Path, pace: Path) -> None:
        self._metrics, self._pace = Tail(metrics), Tail(pace)

    @property
    def num_skipped(self) -> int:
        """Lines that were no rows."""
        return self._metrics.num_skipped + self._pace.num_skipped

    def look(self) -> list[Points]:
        """What is new, in the order of steps. Raises OSError."""
        # In this order: a row of pace is written before the rows of metrics of any later step, so that whenever those
        # are seen it is there too.
        metrics = self._metrics.look()
        rows = [*metrics, *self._pace.look()]
        return [points(row) for row in sorted(rows, key=lambda row: int(row.get("step", 0)))]


def points(row: dict[str, Any]) -> Points:
    """A row under the names that people know: a training and a validation row's as they are, "ema/..." of the running
    mean of weights, "naive/MODEL/..." of a naive model, "pace/..." of speed. What was no number is NaN again."""
    kind = row.get("kind")
    prefix = ""
    if kind == "pace":
        prefix = "pace/"
    elif kind == "naive":
        prefix = f"naive/{row.get('model')}/"
    elif row.get("weights", "raw") != "raw":
        prefix = f"{row['weights']}/"
    lost = row.get(NON_FINITE) or ()
    values = {
        prefix + name: float("nan") if name in lost else float(value)
        for name, value in row.items()
        if name not in _KEYS and (name in lost or (isinstance(value, int | float) and not isinstance(value, bool)))
    }
    step = int(row.get("step", 0))
    return Points(step, {}, values) if kind == "naive" else Points(step, values)
