"""Which process: an identity that outlives its number, and whether it still lives.

Owns: telling a living process from a gone one whose number another has now, and ending one for good. Must not: decide
which.

A process is its number, its start (in ticks of the machine's clock since boot, where there is /proc) and the boot of
the machine. None of the three moves when somebody sets the wall clock.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_PROC = Path("/proc")
DEAD_STATES = "ZXx"
"""States of /proc/PID/stat of what has ended and is only not yet fetched by its parent."""


@cache
def boot_id() -> str:
    """The machine's present life; another after each start."""
    file = _PROC / "sys/kernel/random/boot_id"
    if file.exists():
        return file.read_text().strip()
    return f"{psutil.boot_time():.0f}"


def identity(pid: int) -> dict[str, Any] | None:
    """{pid, start, boot_id, host} of a living process; None if there is none."""
    found = _start_and_state(pid)
    if found is None or found[1] in DEAD_STATES:
        return None
    return {"pid": pid, "start": found[0], "boot_id": boot_id(), "host": socket.gethostname()}


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether the process of an identity lives. None: it is another machine's, and cannot be seen from here."""
    if process.get("boot_id") != boot_id():
        # The same machine after a restart: nothing of before lives.
        return False if process.get("host") == socket.gethostname() else None
    now = identity(int(process["pid"]))
    return now is not None and now["start"] == process["start"]


def kill_with_children(pid: int) -> None:
    """SIGKILL to a process and, if it leads a group of its own, to all of that: nobody stays behind on a device."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wake(pid: int) -> None:
    """SIGCONT to a process and, if it leads a group of its own, to all of that: the halted hear nothing until then."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGCONT)
        else:
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


def is_halted(process: Mapping[str, Any]) -> bool:
    """Whether a living process was stopped by SIGSTOP or a debugger."""
    found = _start_and_state(int(process["pid"])) if is_alive(process) else None
    return found is not None and found[1] in "Tt"


def _start_and_state(pid: int) -> tuple[float, str] | None:
    stat = _PROC / str(pid) / "stat"
    if (_PROC / "self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return float(fields[19]), fields[0]
    try:
        process = psutil.Process(pid)
        state = {psutil.STATUS_ZOMBIE: "Z", psutil.STATUS_STOPPED: "T"}.get(process.status(), "R")
        return float(process.create_time()), state
    except psutil.NoSuchProcess:
        return None
