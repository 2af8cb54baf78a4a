"""Checkpoints to where they outlive the machine: by another thread, tried again, never in the way of training.

Owns: which checkpoint is published next, and what is known of the last one that was. Must not: know where that is (a
function that is given to it does), or end a run: what is not published is on this disk, and said loudly.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.runs.status import Beat

Publish = Callable[[Path], None]
"""Makes the checkpoint in this folder durable elsewhere. May raise anything: it is a platform's."""
AGAIN_S = (1.0, 5.0, 30.0, 120.0)
"""Between attempts; the last for all later ones."""
CLOSE_S = 60.0
"""How long the end of a run waits for its last checkpoint to be published."""


class Publisher:
    """The checkpoints of one run. Only the newest is ever waiting: it holds all that the others do."""

    def __init__(self, publish: Publish, beat: Beat, *, again_s: tuple[float, ...] = AGAIN_S) -> None:
        self._publish, self._beat, self._again_s = publish, beat, again_s
        self._waiting: tuple[Path, int] | None = None
        self._news: deque[dict[str, Any]] = deque()
        self._changed = threading.Condition()
        self._is_busy = self._is_closing = False
        self._failures = 0
        self._last: dict[str, Any] = {"step": None, "name": None, "at": None, "at_s": None}
        """The last checkpoint that was published."""
        self._thread = threading.Thread(target=self._go, name="publish", daemon=True)
        self._thread.start()

    def offer(self, checkpoint: Path, step: int) -> None:
        """A checkpoint that is on the disk. Returns at once."""
        with self._changed:
            self._waiting = (checkpoint, step)
            self._changed.notify_all()

    def news(self) -> list[dict[str, Any]]:
        """Events since the last call: "published", "publish_failed"."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def close(self, wait_s: float = CLOSE_S) -> bool:
        """Wait for what is waiting, within the limit. Whether all of it is published."""
        until = time.monotonic() + wait_s
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            while self._waiting is not None or self._is_busy:
                if (left := until - time.monotonic()) <= 0:
                    return False
                self._changed.wait(left)
        self._thread.join(1)
        return True

    def _go(self) -> None:
        attempt = 0
        while True:
            with self._changed:
                while self._waiting is None:
                    self._is_busy = False
                    self._changed.notify_all()
                    if self._is_closing:
                        return
                    self._changed.wait()
                (path, step), self._waiting = self._waiting, None
                self._is_busy = True
            began = time.monotonic()
            try:
                self._publish(path)
            except Exception as error:  # noqa: BLE001  a platform may raise anything; it is said, counted, tried again
                self._failures += 1
                message = f"{type(error).__name__}: {error}"
                self._beat.know(published=self._last | {"failures": self._failures, "problem": message[:200]})
                self._tell("publish_failed", path, step, failures=self._failures, message=message[:500])
                with self._changed:
                    if self._waiting is None:
                        self._waiting = (path, step)
                        self._changed.wait(self._again_s[min(attempt, len(self._again_s) - 1)])
                attempt += 1
                continue
            attempt = 0
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._last = {"step": step, "name": path.name, "at": at, "at_s": time.monotonic()}
            self._beat.know(published=self._last | {"failures": self._failures, "problem": None})
            self._tell("published", path, step, seconds=round(time.monotonic() - began, 3))

    def _tell(self, event: str, path: Path, step: int, **more: Any) -> None:
        self._news.append({"event": event, "name": path.name, "of_step": step, **more})
