"""Who looks after a launched run: starts its worker, sees how it ends, tells the truth of that, begins it again.

    python -m worldmodel.launch.supervisor RUN [--device-locks N,N]

Owns: the worker's process, care.json, the events "exited", "restarted" and the end that a worker could not tell itself;
that the end comes onto the card, and that the card's fallback is launched if a rule says so.
Must not: train, or know a platform: the same function runs as a process of its own on this machine and inside a job of
a cluster.

It is small and holds nothing that is not on the disk. Killed, it leaves the worker training in peace; the run's end is
then told by whoever looks at it next (see `board`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.launch import closeout
from worldmodel.launch.base import Order, read_order
from worldmodel.launch.device import touch
from worldmodel.launch.fallback import launch_fallback
from worldmodel.launch.last_words import LastWords
from worldmodel.launch.watcher import Fired, Watcher, newest_step, why_not_again
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity, kill_with_children, wake
from worldmodel.runs.rulebook import REASON
from worldmodel.runs.status import FORMAT, KEPT, read_status
from worldmodel.tracking import jsonl

POLL_S = 0.2
FORCE_S = 120.0
"""From asking a worker to save and leave until it is killed."""
_VMSTAT = Path("/proc/vmstat")
_FULL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. code: of its exit, or None; signal: the name of what killed it, or "";
    out_of_memory: whether the system has killed somebody for want of memory meanwhile, by its own count; lived_s: since
    it was started, by this process's clock."""

    code: int | None
    signal: str
    out_of_memory: bool
    lived_s: float


class Supervisor:
    """One launched run, for as long as it shall live."""

    def __init__(self, run: RunFolder, order: Order, *, device_locks: Sequence[int] = ()) -> None:
        self.run, self.order = run, order
        self._locks = tuple(device_locks)
        self._words = LastWords(run, say)
        self._began = time.monotonic()
        self._asked = ""
        self._worker: subprocess.Popen[bytes] | None = None

    def go(self) -> int:
        """Until the run has ended for good. Returns the exit code of its last worker (3 for a rule's end)."""
        attempt = 1
        with self._listening():
            while True:
                began_at = newest_step(self.run)
                offset = self.run.events.stat().st_size if self.run.events.exists() else 0
                reason, how = self._live(attempt, offset)
                why_not = why_not_again(
                    self.run, reason, began_at=began_at, attempt=attempt, retries=self.order.retries
                )
                if self._asked and why_not is None:
                    why_not = f"the supervisor was asked to end ({self._asked})"
                if why_not is not None:
                    say(f"{self.run.id}: {reason}; not begun again: {why_not}")
                    self._free_devices()
                    self._words.insist(until=lambda: self._asked)
                    self._note(attempt, None, ended=reason)
                    self.run.stop.unlink(missing_ok=True)
                    self._close_out()
                    if not self._asked and launch_fallback(self.run, self.order, tell=self._words.event, say=say):
                        self._words.insist(until=lambda: self._asked)
                        self._close_out()
                    return 3 if reason.startswith(REASON) else how.code if how.code is not None else 1
                self._words.insist(until=lambda: self._asked)  # what has no room for its end has none for a life
                attempt += 1
                self._words.event("restarted", attempt=attempt, of_step=newest_step(self.run), after=reason)
                say(f"{self.run.id}: {reason}; life {attempt} of {self.order.retries + 1}")
                self._close_out()

    # ---- one life ------------------------------------------------------------------------------------------------

    def _live(self, attempt: int, offset: int) -> tuple[str, Exit]:
        """Start the worker and stay with it. Returns the reason of its end, which is then in events and status."""
        killed_before, began = _num_oom_kills(), time.monotonic()
        self.run.take_ballast()
        with self.run.out.open("ab") as out, self.run.err.open("ab") as err:
            # A session of its own: neither the launcher's terminal nor the supervisor's end reaches it.
            self._worker = worker = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.order.cwd,
                start_new_session=True,
                pass_fds=self._locks,
            )
        err_offset = self.run.err.stat().st_size
        _begin_status(self.run, worker.pid)
        self._note(attempt, worker.pid, err_offset=err_offset)
        if self._asked:
            worker.terminate()
        fired = self._watch(worker)
        code = worker.returncode
        with suppress(ProcessLookupError):  # what it has left behind would sit on the device
            os.killpg(worker.pid, signal.SIGKILL)
        how = Exit(
            code if code >= 0 else None,
            signal.Signals(-code).name if code < 0 else "",
            code == -signal.SIGKILL and fired is None and _num_oom_kills() > killed_before,
            round(time.monotonic() - began, 1),
        )
        return self._tell_end(attempt, offset, err_offset, how, fired), how

    def _command(self) -> list[str]:
        has_begun = self.run.config.exists() and self.run.provenance.exists()
        command = list(self.order.again if has_begun else self.order.first)
        if self.order.time_limit_s is not None:
            left = max(1, int(self.order.time_limit_s - (time.monotonic() - self._began)))
            command += ["--time-limit", f"{left}s"]
        return command

    def _watch(self, worker: subprocess.Popen[bytes]) -> Fired | None:
        """Until it has ended; the rule by which it was made to."""
        watcher = Watcher(self.run)
        fired, asked_at, looked = None, 0.0, time.monotonic()
        while worker.poll() is None:
            time.sleep(POLL_S)
            now = time.monotonic()
            if fired is not None and now - asked_at > FORCE_S:
                kill_with_children(worker.pid)
            if now - looked < self.order.look_s:
                continue
            looked = now
            for lock in self._locks:
                touch(lock)
            if fired is None and (fired := watcher.look()) is not None:
                say(f"{self.run.id}: {fired.rule.label}: {fired.verdict.reason}; asked to end")
                asked_at = now
                worker.terminate()
                wake(worker.pid)
        return fired

    def _tell_end(self, attempt: int, offset: int, err_offset: int, how: Exit, fired: Fired | None) -> str:
        """Make events and status say how this life ended. What the worker said of itself stands."""
        said = _last_word(self.run, offset)
        self._words.event(
            "exited", attempt=attempt, code=how.code, signal=how.signal or None, out_of_memory=how.out_of_memory,
            lived_s=how.lived_s,
        )  # fmt: skip
        if fired is not None and (said is None or said == "SIGTERM"):
            self._words.event("rule", label=fired.rule.label, fallback=fired.rule.fallback, **fired.verdict.as_json())
            said_now = f"{REASON}{fired.rule.rule}"
        elif said is not None and not how.signal:
            said_now = said
        elif how.signal and self.run.stop.exists():
            is_forced = how.signal == "SIGKILL"
            said_now = "stop: killed, it did not leave in time" if is_forced else "stop: ended while it was starting"
        elif how.out_of_memory:
            said_now = "killed by SIGKILL: the machine had no memory left"
        elif how.signal:
            said_now = f"killed by {how.signal}"
        else:
            said_now = f"exit code {how.code}: {_last_line(self.run.err, err_offset)}"
        if said_now != said:
            self._words.event("ended", reason=said_now)
        self._words.end(said_now)
        return said_now

    # ---- what is written down ------------------------------------------------------------------------------------

    def _close_out(self) -> None:
        """The run's results onto its card. What cannot be done now is done by whoever looks next (see `board`)."""
        self.run.drop_ballast()
        if closeout.card_path(self.run) is None:
            return
        try:
            done = closeout.close(self.run)
        except (OSError, WrongUse, ValueError, KeyError, TypeError) as error:
            say(f"{self.run.id}: NOT CLOSED OUT: {type(error).__name__}: {error}; worldmodel card close does it")
            return
        say(f"{self.run.id}: closed out: {', '.join(path.name for path in done.written) or 'nothing new'}"
            + (f"; NOT ON THE CARD: {done.problem}" if done.problem else ""))  # fmt: skip

    def _free_devices(self) -> None:
        """Nobody trains any more: others may have the devices, the fallback first of all."""
        for lock in self._locks:
            os.close(lock)
        self._locks = ()

    def _note(self, attempt: int, worker: int | None, **more: Any) -> None:
        care = {
            "supervisor": identity(os.getpid()),
            "worker": None if worker is None else identity(worker),
            "attempt": attempt,
            "retries": self.order.retries,
            **more,
        }
        with suppress(OSError):
            atomic.write_json(self.run.care, care)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Asked to end, it hands that on to the worker, and waits for it."""

        def hand_on(number: int, frame: FrameType | None) -> None:
            self._asked = signal.Signals(number).name
            if self._worker is not None and self._worker.poll() is None:
                self._worker.terminate()

        before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def say(text: str) -> None:
    """A line with its time, for care.log."""
    print(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}", file=sys.stderr, flush=True)


def _begin_status(run: RunFolder, pid: int) -> None:
    """Until the worker writes its own: starting, and which process it is."""
    before = read_status(run) or {}
    kept = {key: before[key] for key in KEPT if key in before}
    heart = {"alive": 0, "progress": 0, "at_s": time.monotonic(), "progress_at_s": time.monotonic()}
    process = identity(pid)
    if process is None:  # it has ended already
        return
    with suppress(OSError):
        atomic.write_json(
            run.status,
            {"format": FORMAT, **kept, "phase": "starting", "reason": None, "process": process, "heartbeat": heart},
        )


def _last_word(run: RunFolder, offset: int) -> str | None:
    """The reason of the last end that the worker told of itself since `offset`."""
    if not run.events.exists() or run.events.stat().st_size <= offset:
        return None
    rows = jsonl.tail(run.events, run.events.stat().st_size - offset + 1)
    last = next((row for row in reversed(rows) if row.get("event") in ("ended", "resumed", "started")), None)
    return str(last["reason"]) if last is not None and last["event"] == "ended" else None


def _last_line(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(max(offset, file.seek(0, os.SEEK_END) - 20_000))
        lines = file.read().decode(errors="replace").strip().splitlines()
    if lines:
        return lines[-1].strip()
    room = os.statvfs(path.parent)
    if room.f_bavail * room.f_frsize < _FULL_BYTES:
        return "No space left on device: not even for its last words"
    return "it said nothing"


def _num_oom_kills() -> int:
    """Processes that this machine has killed for want of memory since it started; 0 where it does not say."""
    with suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def supervise(path: Path, *, device_locks: Sequence[int] = ()) -> int:
    """Look after the run of a folder that was launched. Raises WrongUse if it was not."""
    run = RunFolder(path)
    order = read_order(run)
    if order is None:
        raise WrongUse(f"{path} has no launch.json", "a launched run", "start it with worldmodel launch")
    return Supervisor(run, order, device_locks=device_locks).go()


if __name__ == "__main__":
    _locks = map(int, sys.argv[3].split(",")) if sys.argv[2:3] == ["--device-locks"] else ()
    sys.exit(supervise(Path(sys.argv[1]), device_locks=tuple(_locks)))
