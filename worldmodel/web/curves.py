"""The rows of a run as curves for a page: whole and bounded, then only what is new.

Owns: reading metrics and pace by byte offset, thinning. Must not: know what a metric means.

A cursor "METRICS-PACE-CHECK" says how far both files were read, and a checksum of the last bytes before, so that a file
that was cut and written anew (a run that went on from an earlier step) is told from one that grew.
"""

from __future__ import annotations

import json
import threading
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from worldmodel.runs.folder import RunFolder
from worldmodel.tracking.follow import points

MAX_KEPT_POINTS = 8_000_000
"""Of all runs together; each takes 16 bytes."""
MAX_NEW_BYTES = 4 << 20
"""More news than that are given as a whole, thinned."""
_CHECKED_BYTES = 64

Series = dict[str, tuple["array[int]", "array[float]"]]
"""By name: steps and values."""


class Curves:
    """The curves of many runs, the last asked ones kept. May be asked from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def whole(self, run: RunFolder, names: Collection[str], num_points: int) -> dict[str, Any]:
        """Every curve so far, each of at most `num_points` points with the least and largest value around each."""
        with self._lock:
            kept = self._kept.pop(run.path, None) or _Kept(run)
            kept.look()
            self._kept[run.path] = kept
            while len(self._kept) > 1 and sum(one.num_points for one in self._kept.values()) > MAX_KEPT_POINTS:
                self._kept.popitem(last=False)
            return {
                "cursor": kept.cursor,
                "whole": True,
                "steps_per_epoch": kept.steps_per_epoch,
                "names": sorted(kept.series),
                "constants": kept.constants,
                "series": {name: thinned(*kept.series[name], num_points) for name in names if name in kept.series},
            }

    def since(self, run: RunFolder, names: Collection[str], cursor: str, num_points: int) -> dict[str, Any]:
        """The points after a cursor, or everything if it does not fit the files any more."""
        fresh = _Kept(run, cursor)
        if not fresh.fits or not fresh.look(MAX_NEW_BYTES):
            return self.whole(run, names, num_points)
        return {
            "cursor": fresh.cursor,
            "whole": False,
            "steps_per_epoch": fresh.steps_per_epoch,
            "names": sorted(fresh.series),
            "constants": fresh.constants,
            "series": {name: thinned(*fresh.series[name], num_points) for name in names if name in fresh.series},
        }


def thinned(steps: array[int], values: array[float], num_points: int) -> dict[str, list[float | None]]:
    """Buckets of neighbours: the last step, the mean, the least and the largest of each. Non-finite values are null."""
    num = len(steps)
    if num <= num_points:
        plain = [_finite(value) for value in values]
        return {"step": list(steps), "value": plain}
    out: dict[str, list[float | None]] = {"step": [], "value": [], "low": [], "high": []}
    for bucket in range(num_points):
        first, last = bucket * num // num_points, (bucket + 1) * num // num_points
        part = [value for value in values[first:last] if _finite(value) is not None]
        out["step"].append(steps[last - 1])
        out["value"].append(sum(part) / len(part) if part else None)
        out["low"].append(min(part) if part else None)
        out["high"].append(max(part) if part else None)
    return out


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None


class _Kept:
    """Curves of one run from a cursor on, and how far they were read."""

    def __init__(self, run: RunFolder, cursor: str = "0-0-0") -> None:
        self.paths = (run.metrics, run.pace)
        self.clear()
        self.fits = True
        if cursor != "0-0-0":
            parts = cursor.split("-")
            self.fits = len(parts) == 3 and all(part.isdecimal() and len(part) < 16 for part in parts)
            if self.fits:
                self.offsets = [int(parts[0]), int(parts[1])]
                self.fits = self.cursor == cursor

    def clear(self) -> None:
        self.offsets = [0, 0]
        self.series: Series = {}
        self.constants: dict[str, float] = {}
        self.steps_per_epoch: float | None = None
        self.check = 0

    @property
    def cursor(self) -> str:
        return f"{self.offsets[0]}-{self.offsets[1]}-{self._check()}"

    @property
    def num_points(self) -> int:
        return sum(len(steps) for steps, _ in self.series.values())

    def _check(self) -> int:
        """Of the last bytes before both offsets; of a file that is shorter by now, of something else."""
        check = 0
        for path, offset in zip(self.paths, self.offsets, strict=True):
            begin = max(0, offset - _CHECKED_BYTES)
            check = zlib.crc32(b"%d" % offset + _read(path, begin, offset - begin), check)
        return check

    def look(self, max_bytes: int | None = None) -> bool:
        """Read what is new. Whether it was no more than `max_bytes`; if it was more, nothing is read."""
        if any(self.offsets) and self.check and self.check != self._check():
            self.clear()
        data = [_read(path, offset, None if max_bytes is None else max_bytes + 1)
                for path, offset in zip(self.paths, self.offsets, strict=True)]  # fmt: skip
        if max_bytes is not None and sum(map(len, data)) > max_bytes:
            return False
        for place, text in enumerate(data):
            whole = text[: text.rfind(b"\n") + 1]
            self.offsets[place] += len(whole)
            self._add(whole.split(b"\n"))
        self.check = self._check()
        return True

    def _add(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if not line:
                continue
            try:
                row = json.loads(line)
                found = points(row)
                epoch = row.get("epoch")
            except (ValueError, TypeError, AttributeError):  # a line that a full disk cut, or a stranger's
                continue
            if isinstance(epoch, int | float) and epoch > 0:
                self.steps_per_epoch = found.step / epoch
            self.constants |= {name: value for name, value in found.constant.items() if _finite(value) is not None}
            for name, value in found.values.items():
                steps, values = self.series.setdefault(name, (array("q"), array("d")))
                steps.append(found.step)
                values.append(value)


def _read(path: Path, offset: int, num_bytes: int | None) -> bytes:
    """A stretch of a file; nothing of one that is not there."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read() if num_bytes is None else file.read(num_bytes)
    except FileNotFoundError:
        return b""
