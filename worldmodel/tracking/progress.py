"""How far a long piece of work has come, on standard error: a bar on a terminal, now and then a line elsewhere.

Owns: when and how progress is shown. Must not: write to standard output, which belongs to results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

QUIET_S = 2.0
"""Work that ends within this time shows nothing."""
LINE_EVERY_S = 30.0
"""Between plain lines where there is no terminal."""


class Progress:
    """One piece of work. Call `advance` as often as you like: drawing is rate-limited."""

    def __init__(self, description: str, total: int | None, unit: str, stream: TextIO) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.completed = 0
        self._stream = stream
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None
        self._console = Console(file=stream) if stream.isatty() else None

    def advance(self, amount: int = 1, *, description: str | None = None, total: int | None = None) -> None:
        """Count `amount` more units as done; the text and the total may change on the way."""
        self.completed += amount
        self.description = description or self.description
        self.total = total if total is not None else self.total
        self._show()

    def message(self, text: str) -> None:
        """Print a line that stays, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._started < QUIET_S:
            return
        if self._console is None:
            if now - self._last_line >= LINE_EVERY_S:
                self._last_line = now
                print(self._line(now), file=self._stream, flush=True)
            return
        if self._bar is None:
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self.unit, markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task(self.description, total=self.total)
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0], completed=self.completed, total=self.total, description=self.description
        )

    def _line(self, now: float) -> str:
        elapsed_s = now - self._started
        of = f" of {self.total:,}" if self.total else ""
        left = ""
        if self.total and self.completed:
            left = f", about {elapsed_s * (self.total / self.completed - 1):.0f} s left"
        return f"{self.description}: {self.completed:,}{of} {self.unit} after {elapsed_s:.0f} s{left}"


@contextmanager
def progress(
    description: str, total: int | None = None, *, unit: str = "", stream: TextIO | None = None
) -> Iterator[Progress]:
    """Show progress of the work inside the `with`, on standard error unless `stream` says otherwise."""
    shown = Progress(description, total, unit, stream or sys.stderr)
    try:
        yield shown
    finally:
        shown.close()


def duration(seconds: float) -> str:
    """For people: "9 s", "3 min 20 s", "1 h 05 min", "2 d 03 h"."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest_s:02} s" if minutes else f"{rest_s} s"
