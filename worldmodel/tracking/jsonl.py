"""Append-only JSON lines: the record of a run's metrics and events.

Owns: one strict JSON object per line, whole lines only, and reading back what a killed process left.
Must not: know what a row means.

Numbers that JSON lacks (NaN, infinities) are written as null, and the row then names them under `non_finite`: a run
that diverges keeps its record, and every JSON reader can read it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from worldmodel.errors import WrongUse

NON_FINITE = "non_finite"


class JsonlWriter:
    """Appends rows; each is on its way to the disk when `write` returns. `durable`: fsync each (for rare events).

    A torn last line (the writer before was killed) is cut off first; `num_torn_bytes` says how much that was.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path, self.durable = path, durable
        self.num_torn_bytes = _cut_torn_line(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row. Raises TypeError for what is not JSON, ValueError if the row has a key `non_finite`."""
        self._file.write(encode(row) + "\n")
        if self.durable:
            os.fsync(self._file.fileno())

    def sync(self) -> None:
        """All rows so far are on the disk when this returns. May be called from another thread than `write`."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush to the disk and close. Closed it is in any case; raises OSError if the last rows had no room."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            with contextlib.suppress(OSError):  # closing tries once more to write what just failed
                self._file.close()

    def __enter__(self) -> JsonlWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode(row: Mapping[str, Any]) -> str:
    """A row as one line of strict JSON, non-finite numbers as null and named."""
    if NON_FINITE in row:
        raise ValueError(f"the key {NON_FINITE!r} is the writer's own")
    bad = [key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    plain: dict[str, Any] = dict(row)
    if bad:
        plain |= dict.fromkeys(bad) | {NON_FINITE: bad}
    return json.dumps(plain, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Rows:
    """What a JSONL file holds. `torn`: the text of an unfinished last line, or None."""

    rows: list[dict[str, Any]]
    torn: str | None


def read(path: Path) -> Rows:
    """All whole rows of a file, and the torn last line if there is one. A file that is not there holds no rows.

    Raises WrongUse, with the line number, when any other line is not a JSON object.
    """
    if not path.exists():
        return Rows([], None)
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = text.split("\n")
    torn = lines.pop() or None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise WrongUse(
                f"{path}:{number}: {line[:60]!r}", "one JSON object per line", "the file was edited or damaged"
            )
        rows.append(row)
    return Rows(rows, torn)


def tail(path: Path, max_bytes: int = 65_536) -> list[dict[str, Any]]:
    """The last whole rows of a file, as many as lie in its last bytes: quick however long the file is.

    Lines that are no JSON object are left out. A file that is not there holds no rows.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, size - max_bytes))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    rows = []
    for line in lines[1:] if start else lines:
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def cut_from(path: Path, is_too_late: Callable[[dict[str, Any]], bool]) -> int:
    """Drop the first row that `is_too_late`, and every row after it; returns how many rows went. Raises WrongUse.

    For a run that goes on from an earlier point: what it wrote after that point it will write again.
    """
    rows = read(path).rows
    keep = next((index for index, row in enumerate(rows) if is_too_late(row)), len(rows))
    if keep < len(rows):
        with path.open("rb+") as file:
            for _ in range(keep):
                file.readline()
            file.truncate(file.tell())
            os.fsync(file.fileno())
    return len(rows) - keep


def _cut_torn_line(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        keep, position = 0, size
        while position > 0 and keep == 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
            position = start
        if keep < size:
            file.truncate(keep)
            os.fsync(file.fileno())
        return size - keep
