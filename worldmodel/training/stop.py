"""When a run must end before it is done: signals, and a deadline.

Owns: signal handlers for the time of a run; the deadline and the margin before it. Must not: save anything itself.

    SIGINT, SIGTERM   finish the step, save, leave; a second one, 2 s later or more, ends the process as usual
    SIGUSR1           the same, and never ends the process (Slurm's warning before its SIGTERM)
    SIGHUP            a closed laptop: noted, and the run goes on
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psutil

from worldmodel.errors import WrongUse
from worldmodel.runs.process import identity

DEADLINE = "deadline"
REASONS = ("", DEADLINE, "SIGUSR1", "SIGINT", "SIGTERM")
"""Why a run is asked to stop; the place in this list is what processes agree on (the greatest wins)."""

RECENT = 100
"""Ways from one place where one may save to the next, whose slowest a deadline leaves time for."""

GRACE_S = 2.0
"""A second signal within this time is the first one again: torchrun hands on what the terminal has sent already."""


class StopRequest:
    """Set by a signal, read by the loop between two steps. `hangups`: SIGHUPs so far, to be told, not obeyed."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.hangups = 0

    @property
    def code(self) -> int:
        """The reason's place in `REASONS`; 0 for none."""
        return REASONS.index(self.reason or "")


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Listen inside the `with`. Outside the main thread signals cannot be had, and the request is never set."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    first_s: float | None = None

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal first_s
        now = time.monotonic()
        if first_s is not None and now - first_s >= GRACE_S:
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)
            return
        first_s = first_s or now
        request.reason = signal.Signals(number).name

    def warn(number: int, frame: FrameType | None) -> None:
        request.reason = request.reason or signal.Signals(number).name

    def hang_up(number: int, frame: FrameType | None) -> None:
        request.hangups += 1

    wanted: dict[str, Callable[[int, FrameType | None], None]] = {
        "SIGINT": ask, "SIGTERM": ask, "SIGUSR1": warn, "SIGHUP": hang_up
    }  # fmt: skip
    handlers = {getattr(signal, name): handler for name, handler in wanted.items() if hasattr(signal, name)}
    before: dict[int, Any] = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield request
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python, and cannot be set again from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


# ---- deadline ----------------------------------------------------------------------------------------------------

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def seconds_of(text: str) -> float:
    """Seconds of "8h", "90m", "1h30m", "2d", "3600s" or "86400". Raises WrongUse."""
    found = _DURATION.fullmatch(text.strip().lower())
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not total:
        raise WrongUse(f"duration {text!r}", 'one such as "8h", "90m", "1h30m" or "3600s"', "write it like these")
    return float(total)


def process_age_s() -> float:
    """Seconds since this process began: what a time limit that is set from outside has already been counting.

    By the clock since boot, where there is /proc: somebody may have set the one on the wall.
    """
    process = identity(os.getpid())
    if process is not None and hasattr(time, "CLOCK_BOOTTIME") and os.path.exists("/proc/self/stat"):
        started_s = float(process["start"]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)
    return max(0.0, time.time() - float(psutil.Process().create_time()))


class Deadline:
    """The moment at which this process will be killed, `seconds` after this object was made; None: never."""

    def __init__(self, seconds: float | None = None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds from now; infinite without a deadline."""
        return float("inf") if self._at is None else self._at - time.monotonic()

    def is_near(self, *, step_s: float, write_s: float) -> bool:
        """Whether to stop now: another step (with what belongs to it) and a checkpoint may not fit any more.

        Both times are the slowest seen; they count twice, because the next may be slower still, 2 s are for the end.
        """
        return self._at is not None and self.left_s < 2 * (step_s + write_s) + 2


class Margin:
    """How long it takes until one may save, and to save: what a deadline must leave time for.

    steps: the most steps from one place where one may save to the next (see `mark`). write_s: the slowest checkpoint.
    """

    def __init__(self, step: int) -> None:
        self.steps, self.write_s = 1, 0.0
        self._ways_s: deque[float] = deque(maxlen=RECENT)
        self._num_ways = 0
        self._began, self._step, self._paused_s = time.monotonic(), step, 0.0

    @property
    def step_s(self) -> float:
        """The slowest way of late, without what `pause` was told of."""
        return max(self._ways_s, default=0.0)

    def mark(self, step: int) -> None:
        """`step` steps are done, and here one may save."""
        now = time.monotonic()
        self._num_ways += 1
        if self._num_ways == 2:
            self._ways_s.clear()  # the first step compiles, and is no measure for the others
        self._ways_s.append(now - self._began - self._paused_s)
        self.steps = max(self.steps, step - self._step)
        self._began, self._step, self._paused_s = now, step, 0.0

    def pause(self, seconds: float) -> None:
        """So much of the time since the last mark was no step: validation, saving."""
        self._paused_s += seconds
