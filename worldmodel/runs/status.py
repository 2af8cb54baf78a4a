"""status.json: what a run does just now, and whether it still gets on.

Owns: the file's keys, the heartbeat, and what its age means. Must not: decide what follows from it.

Two counters: `alive` moves as long as the process runs at all, `progress` only when a step, a part of a validation or a
checkpoint is done. A hung step shows by `progress` standing still while `alive` goes on; a halted or killed process by
both. Ages are by the monotonic clock: on the same boot of the machine that clock is one for all processes, and setting
the wall clock does not move it. Elsewhere a reader watches the counters over its own clock (see `Watch`).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import boot_id, identity

Phase = Literal["starting", "loading", "compiling", "training", "validating", "saving", "ended"]
KEPT = ("spent_s", "step", "num_steps", "steps_per_epoch", "last_checkpoint", "metrics")
"""Keys that outlive the process that wrote them."""
EVERY_S = 2.0
"""Between two writings."""
FORMAT = 1


class Beat:
    """The heartbeat of a process: holds what is known and writes it now and then, from a thread of its own.

    A writing that fails (a full disk) is counted and tried again; it never ends a run.
    """

    def __init__(self, run: RunFolder | None, *, every_s: float = EVERY_S) -> None:
        self._run, self._every_s = run, every_s
        self._began = self._progressed = time.monotonic()
        self._alive = self._progress = 0
        self._known: dict[str, Any] = {"phase": "starting", "reason": None}
        self._before_s = 0.0
        if run is not None:
            before = read_status(run) or {}
            self._known |= {key: before[key] for key in KEPT if key in before}
            self._before_s = float(self._known.pop("spent_s", None) or 0.0)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.num_failed = 0

    @property
    def spent_s(self) -> float:
        """Time that this process and those before it took for the run."""
        return self._before_s + time.monotonic() - self._began

    def tick(self, **known: Any) -> None:
        """Something got on; `known` are keys of the file. Costs no system call."""
        self._progress += 1
        self._progressed = time.monotonic()
        if known:
            self.know(**known)

    def know(self, **known: Any) -> None:
        """Keys of the file that have changed."""
        with self._lock:
            self._known |= known

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """What is done inside the `with`; afterwards it is what it was before."""
        before = self._known["phase"]
        self.tick(phase=name)
        try:
            yield
        finally:
            self.tick(phase=before)

    def start(self) -> None:
        """Write at once, and from then on."""
        if self._run is None or self._thread is not None:
            return
        for left_over in self._run.path.glob(f"{atomic.ASIDE}*{self._run.status.name}"):
            left_over.unlink(missing_ok=True)
        self._write()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self, reason: str) -> None:
        """The last word: ended, and why."""
        self.know(phase="ended", reason=reason)
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None
            self._write()

    def content(self) -> dict[str, Any]:
        """What the file holds now."""
        with self._lock:
            known = dict(self._known)
        return {
            "format": FORMAT,
            **known,
            "process": identity(os.getpid()),
            "heartbeat": {
                "alive": self._alive,
                "progress": self._progress,
                "at_s": time.monotonic(),
                "progress_at_s": self._progressed,
            },
            "spent_s": round(self.spent_s, 1),
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    def _go_on(self) -> None:
        while not self._closing.wait(self._every_s):
            self._write()

    def _write(self) -> None:
        assert self._run is not None
        self._alive += 1
        try:
            atomic.write_json(self._run.status, self.content())
        except OSError:
            self.num_failed += 1


@contextmanager
def heartbeat(run: RunFolder | None, *, every_s: float = EVERY_S) -> Iterator[Beat]:
    """A beat for the time of the `with`; what ends it with an error is the reason. None: it beats for nobody."""
    beat = Beat(run, every_s=every_s)
    beat.start()
    try:
        yield beat
    except BaseException as error:
        beat.stop(str(beat.content()["reason"] or f"{type(error).__name__}: {error}"))
        raise
    beat.stop(str(beat.content()["reason"] or "finished"))


# ---- reading -----------------------------------------------------------------------------------------------------


def read_status(run: RunFolder) -> dict[str, Any] | None:
    """The file's content; None if there is none, or it is not readable (then it is nobody's word)."""
    try:
        value = json.loads(run.status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and "phase" in value else None


def write_end(run: RunFolder, reason: str) -> None:
    """For whoever finds that a run has ended without a word of its own. Raises OSError."""
    atomic.write_json(run.status, (read_status(run) or {"format": FORMAT}) | {"phase": "ended", "reason": reason})


def add_to_end(run: RunFolder, **known: Any) -> None:
    """What became known after a run's last word, in its file. Nothing for a run that has not ended, or begun again.

    Raises OSError.
    """
    status = read_status(run)
    if status is not None and status["phase"] == "ended":
        atomic.write_json(run.status, status | known)


def ages_s(status: Mapping[str, Any]) -> tuple[float, float] | None:
    """Seconds since the process was last seen alive, and since it last got on. None: another boot, no telling."""
    heart = status.get("heartbeat")
    if not heart or (status.get("process") or {}).get("boot_id") != boot_id():
        return None
    now = time.monotonic()
    return max(0.0, now - heart["at_s"]), max(0.0, now - heart["progress_at_s"])


def lived_s(status: Mapping[str, Any]) -> float | None:
    """From the start of the process to its last heartbeat, by its machine's clock since boot. None: not told."""
    start, at_s = (status.get("process") or {}).get("start"), (status.get("heartbeat") or {}).get("at_s")
    if start is None or at_s is None or not os.path.exists("/proc/self/stat"):  # elsewhere a start is no such time
        return None
    return max(0.0, round(float(at_s) - float(start) / os.sysconf("SC_CLK_TCK"), 1))


def age_by_file_s(path: Path) -> float | None:
    """A hint only: seconds since the file was written, by wall clocks that may be set, or differ."""
    with contextlib.suppress(FileNotFoundError):
        return max(0.0, time.time() - path.stat().st_mtime)
    return None


@dataclass(slots=True)
class Watch:
    """How long a run has not got on, by the clock of who looks. A counter that moved is all that is believed."""

    _seen: tuple[Any, ...] | None = None
    _moved: float = field(default_factory=time.monotonic)

    def look(self, status: Mapping[str, Any] | None) -> float:
        """Seconds since the progress counter was last seen to move."""
        now = time.monotonic()
        heart = (status or {}).get("heartbeat") or {}
        seen = ((status or {}).get("process"), heart.get("progress"), (status or {}).get("phase"))
        if seen != self._seen:
            self._seen, self._moved = seen, now
        return now - self._moved
