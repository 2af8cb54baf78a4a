"""What is written down from outside about a run, also where there is no room for it just now.

Owns: events by the supervisor, the status of an end, and the patience to bring both to a full disk: a crash for want of
room must not read as a run that vanished. Must not: decide what is said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import read_status, write_end
from worldmodel.tracking.jsonl import JsonlWriter

PATIENCE_S = 1800.0
"""How long it is tried."""
TRY_AGAIN_S = 2.0


class LastWords:
    """Of one run. Nothing here raises OSError: what has no room waits."""

    def __init__(self, run: RunFolder, say: Callable[[str], None]) -> None:
        self._run, self._say = run, say
        self._events: list[dict[str, Any]] = []
        self._end: str | None = None

    @property
    def is_said(self) -> bool:
        """Whether all is on the disk."""
        return not self._events and self._end is None

    def event(self, event: str, **more: Any) -> None:
        """Written now, or as soon as there is room; in their order in any case."""
        step = (read_status(self._run) or {}).get("step") or 0
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.append({"event": event, "at": at, "step": step, **more, "by": "supervisor"})
        self._try()

    def end(self, reason: str) -> None:
        """The status: ended, and why."""
        self._end = reason
        self._try()

    def insist(self, *, until: Callable[[], object]) -> None:
        """Try until all is said, for PATIENCE_S, or until somebody has had enough."""
        began = time.monotonic()
        while True:
            self._try()
            if self.is_said or until() or time.monotonic() - began > PATIENCE_S:
                return
            time.sleep(TRY_AGAIN_S)

    def _try(self) -> None:
        """Write what waits; on a full disk in the room that was kept for it."""
        try:
            self._write()
        except OSError as error:
            if self._run.drop_ballast():
                self._try()
            else:
                self._say(f"{self._run.id}: has an end that could not be written yet: {error}")

    def _write(self) -> None:
        file = self._run.events
        while self._events:
            size = file.stat().st_size if file.exists() else 0
            try:
                with JsonlWriter(file, durable=True) as events:
                    events.write(self._events[0])
            except OSError:
                with suppress(OSError):  # it may have come as far as the file and not to the disk: not twice
                    os.truncate(file, size)
                raise
            del self._events[0]
        if self._end is not None:
            status = read_status(self._run)
            if status is None or status["phase"] != "ended" or status["reason"] != self._end:
                write_end(self._run, self._end)
            self._end = None
