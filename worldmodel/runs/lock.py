"""One process at a time trains a run.

Owns: the lock of a run folder. Must not: know what the holder does with the run.

The system's own lock on the file `lock`, so that it ends with its process however that ends; what stands in the file
only tells people who holds it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from errno import EACCES, EAGAIN
from typing import IO, Any

from worldmodel.errors import WrongUse
from worldmodel.runs.folder import RunFolder

if sys.platform != "win32":
    import fcntl


@contextmanager
def hold(run: RunFolder, *, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold a run inside the `with`. Raises WrongUse, naming the holder, if another process does.

    say: is told if this file system has no locks; the run is then not protected. Threads of one process are not held
    apart from processes that it forks.
    """
    with run.lock.open("a+", encoding="utf-8") as file:
        if not _lock(file, say):
            owner = _owner(file)
            raise WrongUse(
                f"{run.path} is being trained by process {owner['pid']} on {owner['host']} since {owner['since']}",
                "a run that nobody is training",
                f"wait until it ends, or stop it there with: kill {owner['pid']} (it saves first)",
            )
        since = datetime.now(UTC).isoformat(timespec="seconds")
        _write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
        try:
            yield
        finally:
            _write(file, "")


def _lock(file: IO[str], say: Callable[[str], None]) -> bool:
    """Whether the lock was had, or there is none to have."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (EAGAIN, EACCES):
            return False
        say(f"NO LOCK on this file system ({error.strerror}): see to it that no other process trains this run")
    return True


def _owner(file: IO[str]) -> dict[str, Any]:
    """Who holds the lock; its words may be on their way, a moment after it was had."""
    unknown = dict.fromkeys(("pid", "host", "since"), "unknown")
    for _ in range(10):
        file.seek(0)
        try:
            owner = json.loads(file.read())
        except ValueError:
            time.sleep(0.05)
            continue
        return unknown | owner if isinstance(owner, dict) else unknown
    return unknown


def _write(file: IO[str], text: str) -> None:
    """In place: a rename would leave the lock on a file that nobody sees."""
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
