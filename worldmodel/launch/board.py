"""How runs stand, seen from outside, and the closing of those whose process is gone.

Owns: the state of a run. Must not: believe a file that says "running": a process is asked for by its number, its start
and the boot of its machine. Reads only status files and ends of other files, so that thousands of runs are quick.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.launch import closeout
from worldmodel.launch.base import AFAR, Order, backend_of, read_care, read_order
from worldmodel.launch.watcher import VANISHED, kind_of
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.lock import hold
from worldmodel.runs.process import is_alive, is_halted
from worldmodel.runs.status import age_by_file_s, ages_s, lived_s, read_status, write_end
from worldmodel.tracking import jsonl
from worldmodel.tracking.jsonl import JsonlWriter

STALE_S = 600.0
"""A run that lives and has not got on for so long is shown as stale."""
RUNNING = ("running", "starting", "stale", "halted", "unseen", "ending")
"""States of what has not ended."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A run as it stands. state: one of RUNNING, or how it ended (see `watcher.kind_of`); why: in a few words.

    progress_s: since it last got on, None if that cannot be told; status: of status.json, empty if there is none.
    """

    run: RunFolder
    state: str
    why: str = ""
    progress_s: float | None = None
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in RUNNING

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        plain = {"run": str(self.run.path), "state": self.state, "why": self.why, "progress_s": self.progress_s}
        keys = (
            "phase", "step", "num_steps", "eta_s", "spent_s", "last_checkpoint", "published", "metrics", "rules",
            "tracker",
        )  # fmt: skip
        return plain | {key: self.status[key] for key in keys if key in self.status}


def look(run: RunFolder, *, close: bool = True) -> Sight:
    """How a run stands. close: a run whose process is gone gets its end written down (event "vanished"), and one that
    has ended its results onto its card."""
    sight = _look(run, close=close)
    if close and sight.is_over:
        closeout.keep_closed(run)
    return sight


def _look(run: RunFolder, *, close: bool) -> Sight:
    status = read_status(run)
    if status is None:
        return _without_status(run, close=close)
    if status["phase"] == "ended":
        reason = str(status.get("reason"))
        return Sight(run, kind_of(reason), reason, status=status)
    ages = ages_s(status)
    progress_s = None if ages is None else ages[1]
    process = status.get("process") or {}
    alive = is_alive(process) if process else False
    if alive is None and (order := read_order(run)) is not None and order.backend in AFAR:
        return _from_afar(run, order)
    if alive is None:
        hint_s = age_by_file_s(run.status)
        hint = "" if hint_s is None else f", file {hint_s:.0f} s old"
        return Sight(run, "unseen", f"on {process.get('host')}{hint}", status=status)
    if not alive:
        care = read_care(run).get("supervisor")
        if care and is_alive(care):
            return Sight(run, "ending", "its worker is gone, the supervisor is about to say why", progress_s, status)
        why = f"{VANISHED}: process {process.get('pid')} is gone without a word"
        is_closed = close and _close(run, why)
        return Sight(run, VANISHED, why if is_closed or not close else f"{why} (not written down)", None, status)
    if is_halted(process):
        return Sight(
            run, "halted", f"process {process['pid']} was stopped; kill -CONT {process['pid']}", progress_s, status
        )
    if progress_s is not None and progress_s > STALE_S:
        return Sight(run, "stale", f"did not get on for {progress_s / 60:.0f} min", progress_s, status)
    return Sight(run, "starting" if status["phase"] == "starting" else "running", status["phase"], progress_s, status)


def _from_afar(run: RunFolder, order: Order) -> Sight:
    """A run on a machine that only its platform can see: asked, and its record brought here."""
    found = backend_of(order.backend).poll(run, order)
    status = read_status(run) or {}
    if status.get("phase") == "ended":
        reason = str(status.get("reason"))
        return Sight(run, kind_of(reason), reason, status=status)
    state = "running" if found.state == "running" else "unseen"
    return Sight(run, state, str(status.get("phase") or found.detail), status=status)


def _without_status(run: RunFolder, *, close: bool) -> Sight:
    """A run of before there was a status, or one that was launched and did not come so far."""
    rows = jsonl.tail(run.events)
    last = next((row for row in reversed(rows) if row.get("event") in ("ended", "started", "resumed")), None)
    status: dict[str, Any] = {"step": rows[-1].get("step", 0)} if rows else {}
    if (begun := next((row for row in reversed(rows) if "num_steps" in row), None)) is not None:
        status["num_steps"] = begun["num_steps"]
    if last is not None and last["event"] == "ended":
        return Sight(run, kind_of(str(last["reason"])), str(last["reason"]), status=status)
    if _is_held(run):
        return Sight(run, "running", "", status=status)
    if (order := read_order(run)) is not None:
        care = read_care(run)
        starts = (
            care.get("supervisor"),
            care.get("worker"),
            {"pid": int(order.job["pid"])} if order.job.get("pid") else None,
        )
        if any(process and _maybe_alive(process) for process in starts):
            return Sight(run, "starting", "launched", status=status)
        why = f"{VANISHED}: was launched and never began"
        if close:
            _close(run, why)
        return Sight(run, VANISHED, why, status=status)
    return Sight(run, VANISHED, f"{VANISHED}: no process holds it", status=status)


def _maybe_alive(process: Mapping[str, Any]) -> bool:
    if "start" in process:
        return is_alive(process) is not False
    return Path(f"/proc/{process['pid']}").exists()


def _is_held(run: RunFolder) -> bool:
    """Whether some process holds the lock of the run. Asked only of runs without a status."""
    if not run.lock.exists() or run.lock.stat().st_size == 0:
        return False
    try:
        with hold(run):
            return False
    except WrongUse:
        return True
    except OSError:
        return False


def _close(run: RunFolder, why: str) -> bool:
    """Write down the end of a run that nobody trains; False if it could not, or somebody has begun again."""
    try:
        with hold(run):
            status = read_status(run) or {}
            if status.get("phase") == "ended" or is_alive(status.get("process") or {"pid": 0}):
                return False
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            step = status.get("step") or 0
            with JsonlWriter(run.events, durable=True) as events:
                lived = {"lived_s": found} if (found := lived_s(status)) is not None else {}
                events.write({"event": "vanished", "at": at, "step": step, "message": why, **lived, "by": "board"})
                events.write({"event": "ended", "at": at, "step": step, "reason": why, "by": "board"})
            write_end(run, why)
    except (OSError, WrongUse):
        return False
    return True


def all_runs(folder: Path) -> list[RunFolder]:
    """Run folders in a folder, the newest first."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            path = Path(entry.path)
            if any((path / name).exists() for name in ("run.json", "launch.json")):
                found.append((entry.stat().st_mtime, RunFolder(path)))
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]


def find_run(name: str | None, folder: Path) -> RunFolder:
    """A run by its path, or by its name in the folder of runs; without a name the newest. Raises WrongUse."""
    if name is None:
        runs = all_runs(folder)
        if not runs:
            raise WrongUse(f"no run in {folder}", "at least one", "start one with worldmodel train or launch")
        return runs[0]
    for path in (Path(name), folder / name):
        if any((path / file).exists() for file in ("run.json", "launch.json")):
            return RunFolder(path)
    known = [run.id for run in all_runs(folder)[:5]]
    raise WrongUse(
        f"no run {name!r}", "the folder of a run, or its name", f"the newest in {folder}: {', '.join(known) or 'none'}"
    )
