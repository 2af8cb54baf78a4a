"""Checkpoints of a run while it trains: copied between two steps, written by another thread.

Owns: the thread, and that no failure of it is lost. Must not: know what is in a checkpoint, or when one is due.

At most one is being written; the next waits for it. A failure is raised in the training thread: by `finished`, which
is called after every step, by the next `save`, or by `close`. `wait=True` writes in the calling thread, with no other
under way: the first checkpoint, whose failure must be known before the first step, and the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from worldmodel.runs.folder import RunFolder
from worldmodel.training.checkpoint import Snapshot, TrainState, snapshot, write
from worldmodel.training.config import Experiment


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint on the disk. seconds: copying and writing it; stalled_s: of that, what training waited for."""

    name: str
    step: int
    reason: str
    seconds: float
    stalled_s: float


class Saver:
    """Writer of one run's checkpoints. `before`: called in the writing thread ahead of each, to make durable what a
    checkpoint relies on (the rows of metrics up to its step)."""

    def __init__(
        self, run: RunFolder, experiment: Experiment, steps_per_epoch: int, before: Callable[[], None] = lambda: None
    ) -> None:
        self._run, self._experiment, self._steps_per_epoch = run, experiment, steps_per_epoch
        self._before = before
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[Saved] | None = None
        self._finished: list[Saved] = []

    def save(self, state: TrainState, *, reason: str, wait: bool = False) -> None:
        """Take a checkpoint of the state as it is now. Raises OSError of this write or of the one before."""
        began = time.monotonic()
        self.settle()
        taken = snapshot(state, reason=reason, experiment=self._experiment, steps_per_epoch=self._steps_per_epoch)
        if wait:
            self._finished.append(self._write(taken, reason, began, None))
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        stalled_s = time.monotonic() - began
        self._under_way = self._thread.submit(self._write, taken, reason, began, stalled_s)

    def _write(self, taken: Snapshot, reason: str, began: float, stalled_s: float | None) -> Saved:
        self._before()
        written = write(
            self._run, taken, keep_last=self._experiment.training.keep_last, steps_per_epoch=self._steps_per_epoch
        )
        seconds = time.monotonic() - began
        return Saved(written.path.name, taken.step, reason, seconds, seconds if stalled_s is None else stalled_s)

    def look(self) -> tuple[bool, bool]:
        """Whether a write has ended since, and whether with an error, which `finished` will raise. Never waits."""
        under_way = self._under_way
        if under_way is None or not under_way.done():
            return False, False
        return True, under_way.exception() is not None

    def finished(self) -> list[Saved]:
        """What came to the disk since the last call. Never waits. Raises OSError of a write that failed."""
        if self._under_way is not None and self._under_way.done():
            self.settle()
        out, self._finished = self._finished, []
        return out

    def settle(self) -> None:
        """Wait for the write under way. Raises its OSError, once."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            self._finished.append(under_way.result())

    def close(self) -> None:
        """Wait, and end the thread. Raises OSError of a write that failed and was not told yet."""
        try:
            self.settle()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None
