"""When a run must end before it is done: signals, a deadline; and what must not end it: a terminal that goes away.

Owns: signal handlers, and output that cannot break, for the time of a run; the deadline's margin. Must not: save
anything itself.

    SIGINT, SIGTERM   finish the step, save, leave; a second one, 2 s later or more, ends the process as usual
    SIGUSR1           the same, and never ends the process (Slurm's warning before its SIGTERM)
    SIGHUP            a closed laptop: noted, and the run goes on
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO, cast

import psutil

from worldmodel.errors import WrongUse

DEADLINE = "deadline"
REASONS = ("", DEADLINE, "SIGUSR1", "SIGINT", "SIGTERM")
"""Why a run is asked to stop; the place in this list is what processes agree on (the greatest wins)."""

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
        if first_s is not None and now - first_s > GRACE_S:
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
    """Seconds since this process began: what a time limit that is set from outside has already been counting."""
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


# ---- output that cannot break --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Voice:
    """Says lines to people. Where nobody can hear them any more they are dropped and counted, and the run goes on."""

    say: Callable[[str], None]
    num_lost: int = 0

    def __call__(self, text: str) -> None:
        try:
            self.say(text)
        except OSError:
            self.num_lost += 1


@dataclass(slots=True)
class _Lasting:
    """A standard stream whose writes never fail: when its reader is gone, it leads nowhere from then on."""

    stream: TextIO
    voice: Voice
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            self._give_up()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def give_up_if_gone(self) -> None:
        """The same without a write, for what is written later: a result, and what the interpreter flushes."""
        handle = _handle(self.stream)
        if handle is None or not hasattr(select, "poll"):
            return
        asked = select.poll()
        asked.register(handle, select.POLLOUT)
        if any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in asked.poll(0)):
            _lead_nowhere(handle)

    def _give_up(self) -> None:
        with self._lock:
            self.voice.num_lost += 1
            handle = _handle(self.stream)
            if handle is not None:
                _lead_nowhere(handle)


def _handle(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # a stream without a file behind it, or a closed one
        return None


def _lead_nowhere(handle: int) -> None:
    """What is buffered can then be flushed too, at the latest when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, handle)
    finally:
        os.close(nowhere)


@contextmanager
def lasting_output(voice: Voice) -> Iterator[None]:
    """Inside the `with` standard output and error cannot end the process: a closed terminal is no reason to stop."""
    before = sys.stdout, sys.stderr
    lasting = [_Lasting(stream, voice) for stream in before]
    sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in lasting)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in lasting:
            stream.give_up_if_gone()
