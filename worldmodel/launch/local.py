"""The machine at hand: a supervisor in a session of its own, which survives who launched it and their terminal.

Owns: starting and stopping that process. Must not: look after the run (`supervisor` does).
"""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.launch.base import Order, Poll, read_care, write_order
from worldmodel.launch.device import hold_device
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity, is_alive, kill_with_children, wake
from worldmodel.runs.status import read_status
from worldmodel.tracking.jsonl import JsonlWriter


class Local:
    """The contract of `base.Backend`, on this machine."""

    name = "local"

    def submit(self, run: RunFolder, order: Order) -> Order:
        """Start the supervisor. Raises WrongUse if the device is taken; the run's folder then holds no order."""
        locks: list[int] = []
        try:
            # One after the other, so that those that were had are given back if one cannot be.
            names = [] if order.device is None else order.device.split(",")
            locks.extend(hold_device(name, run.path.resolve()) for name in names)
            write_order(run, order)
            run.stop.unlink(missing_ok=True)
            with run.care_log.open("ab") as log:
                more = ("--device-locks", ",".join(map(str, locks))) if locks else ()
                supervisor = subprocess.Popen(
                    [sys.executable, "-m", "worldmodel.launch.supervisor", str(run.path.resolve()), *more],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=order.cwd,
                    start_new_session=True,
                    pass_fds=tuple(locks),
                )
        finally:
            for lock in locks:
                os.close(lock)  # ours; the supervisor has its own, of the same lock
        # It is left alone; a child that ends while we live is ours to be fetched all the same.
        threading.Thread(target=supervisor.wait, name=f"supervisor of {run.id}", daemon=True).start()
        order = order.model_copy(update={"job": {"pid": str(supervisor.pid)}})
        write_order(run, order)
        return order

    def poll(self, run: RunFolder, order: Order) -> Poll:
        """By the processes themselves."""
        care = read_care(run)
        if not care:
            pid = int(order.job.get("pid", 0))
            is_starting = bool(pid) and identity(pid) is not None
            return Poll("waiting" if is_starting else "over", "the supervisor is starting" if is_starting else "")
        for who in ("worker", "supervisor"):
            if _lives(care.get(who)):
                return Poll("running", f"{who} is process {care[who]['pid']}")
        # A worker that the supervisor did not live to note.
        process = (read_status(run) or {}).get("process")
        return Poll("running", f"process {process['pid']}") if process and _lives(process) else Poll("over")

    def logs(self, run: RunFolder, order: Order) -> list[Path]:
        """Files of what was said."""
        return [run.care_log, run.out, run.err]

    def stop(self, run: RunFolder, order: Order, *, wait_s: float) -> str:
        """SIGTERM to the worker, which saves and leaves; SIGKILL if it has not after `wait_s`."""
        return stop_processes(run, wait_s=wait_s)

    def describe(self, order: Order) -> str:
        """Where it runs."""
        team = f"{order.processes} processes on " if order.processes > 1 else ""
        return f"this machine, {team}{order.device or 'a device that is not held'}"


def stop_processes(run: RunFolder, *, wait_s: float) -> str:
    """End the process that trains a run on this machine, launched or not. Returns what happened."""
    run.stop.touch()
    _tell_asked(run)
    care = read_care(run)
    worker = _living(care.get("worker"), (read_status(run) or {}).get("process"))
    if worker is None:
        supervisor = _living(care.get("supervisor"))
        if supervisor is None:
            run.stop.unlink(missing_ok=True)
            return "was not running"
        os.kill(supervisor["pid"], signal.SIGTERM)
        worker = supervisor
    pid = int(worker["pid"])
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    wake(pid)
    is_gone = _wait(worker, wait_s)
    if not is_gone:
        kill_with_children(pid)
        _wait(worker, 10)
    # Its supervisor tells the end; who comes after sees it told.
    supervisor = _living(care.get("supervisor"))
    if supervisor is not None:
        _wait(supervisor, 10)
    run.stop.unlink(missing_ok=True)
    seconds = time.monotonic() - began
    if is_gone:
        return f"stopped after {seconds:.1f} s"
    return f"did not leave within {wait_s:g} s and was killed; what it had saved before is whole"


def _tell_asked(run: RunFolder) -> None:
    """Write down who asked: the worker only hears a signal. A full disk is no reason not to stop."""
    step = (read_status(run) or {}).get("step") or 0
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    with suppress(OSError, KeyError), JsonlWriter(run.events, durable=True) as events:
        who = f"{getpass.getuser()} with worldmodel stop"
        events.write({"event": "stop_asked", "at": at, "step": step, "who": who})


def _lives(process: Any) -> bool:
    return bool(process) and is_alive(process) is True


def _living(*candidates: Any) -> dict[str, Any] | None:
    return next((process for process in candidates if _lives(process)), None)


def _wait(process: dict[str, Any], seconds: float) -> bool:
    """Whether a process was gone within so many seconds."""
    until = time.monotonic() + seconds
    while is_alive(process):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
