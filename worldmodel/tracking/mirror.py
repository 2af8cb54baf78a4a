"""A shared tracker beside a run's own record: from the side of the training process.

Owns: the policy, the process that does the mirroring, what is said when it fails. Must not: import a tracker's client,
send anything itself, or be waited for by a step.

    required    the run does not begin unless the tracker is live
    optional    a failure is said loudly, counted, shown in the status, and tried again; the run goes on
    off         the record on disk alone

The record on disk is the truth in any case: what a tracker missed can be sent later from it (`worldmodel track sync`).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import worldmodel
from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.tracking import jsonl

Policy = Literal["required", "optional", "off"]
POLICIES = ("required", "optional", "off")
PROJECT = "melee-worldmodel"
INIT_S = 60
FINISH_S = 30
CRASHED_AGAIN_S = (5.0, 60.0, 600.0)
"""Before a mirror whose process died is begun again; then it is given up."""
_GRACE_S = 30.0
_ID = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Mirroring:
    """What shall be mirrored. folder: the run's; metrics, pace, events, record, log: names of files in it, the last two
    of which are the mirror's own. best: metric -> "max" or "min", what its best value is. pid: whose use of the machine
    is shown beside; None: nobody's."""

    folder: Path
    policy: Policy
    project: str = PROJECT
    entity: str | None = None
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    best: Mapping[str, str] = field(default_factory=dict)
    metrics: str = "metrics.jsonl"
    pace: str = "pace.jsonl"
    events: str = "events.jsonl"
    record: str = "tracker.jsonl"
    log: str = "tracker.log"
    pid: int | None = field(default_factory=os.getpid)
    init_s: int = INIT_S
    finish_s: int = FINISH_S

    def earlier(self) -> dict[str, Any]:
        """What an earlier mirror of this folder wrote down last; empty if there was none."""
        rows = jsonl.tail(self.folder / self.record)
        return rows[-1] if rows else {}


class Mirror:
    """One mirror of one run, in a process of its own. Made by `open_mirror`."""

    def __init__(self, what: Mirroring, say: Callable[[str], None], *, follow: bool = True) -> None:
        self._what, self._say, self._follow = what, say, follow
        before = what.earlier()
        # The same run over there for every life of the run here; a random tail, as names are used again elsewhere.
        is_same = (before.get("project"), before.get("entity")) == (what.project, what.entity)
        tail = "".join(secrets.choice(_ID) for _ in range(8))
        self._id = (
            str(before["id"]) if is_same and "id" in before else f"{(what.name or what.folder.name)[:100]}-{tail}"
        )
        self.known: dict[str, Any] = {"policy": what.policy, "state": "starting", "failures": 0, "id": self._id}
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._was_live = False
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._go, name="mirror", daemon=True)
        self._thread.start()

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call with what is known, now and whenever it changes. From another thread."""
        self._listeners.append(listener)
        listener(dict(self.known))

    def wait_until(self, states: tuple[str, ...], seconds: float) -> bool:
        """Whether one of these states was seen within so many seconds."""
        until = time.monotonic() + seconds
        with self._changed:
            while self.known["state"] not in states:
                left = until - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                self._changed.wait(min(left, 0.5))
            return self.known["state"] in states

    def close(self, reason: str, *, wait_s: float | None = None) -> None:
        """The run has ended: send the rest, and wait for that, but only so long (default: as long as the mirror may
        take, then it is killed). After a shorter wait it is left to end by itself."""
        self._closing.set()
        self._tell_child(reason)
        self._thread.join(self._what.finish_s + _GRACE_S if wait_s is None else wait_s)
        if self._thread.is_alive() and self._process is not None and wait_s is None:
            self._process.kill()
            self._note({"state": "unfinished", "message": "the mirror did not end in time and was killed"})

    def _tell_child(self, reason: str) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(" ".join(reason.split()) + "\n")
            process.stdin.close()
        except (OSError, ValueError):  # it is gone, or was told before
            return

    def _go(self) -> None:
        for pause_s in (*CRASHED_AGAIN_S, None):
            self._live()
            state = self.known["state"]
            if self._closing.is_set() or (self._what.policy == "required" and state == "failed" and not self._was_live):
                break
            if pause_s is None:
                self._note({"state": "failed", "message": "its process died again and again; it is given up"})
            elif self._closing.wait(pause_s):
                break
        with self._changed:
            self._changed.notify_all()

    def _live(self) -> None:
        """One life of the process."""
        self.known |= {"state": "starting"}
        order = {name: getattr(self._what, name) for name in self._what.__slots__} | {
            "folder": str(self._what.folder),
            "config": dict(self._what.config),
            "best": dict(self._what.best),
            "id": self._id,
            "name": self._what.name or self._what.folder.name,
            "follow": self._follow,
            "retry": self._what.policy == "optional",
        }
        package = str(Path(worldmodel.__file__).parents[1])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        with (self._what.folder / self._what.log).open("ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "worldmodel.tracking.wandb"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": path},
            )
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # said below: it ended without a word
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        if self._closing.is_set():
            self._tell_child("closed")
        with process.stdout:
            for line in process.stdout:
                self._note(json.loads(line))
        code = process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        ends = ("finished", "unfinished", "failed", *(("offline",) if self._closing.is_set() else ()))
        if self.known["state"] not in ends:
            failures = self.known["failures"] + 1
            self._note({"state": "failed", "failures": failures, "message": f"its process ended with code {code}"})

    def _note(self, news: dict[str, Any]) -> None:
        before = dict(self.known)
        with self._changed:
            self.known |= news
            self._was_live = self._was_live or news.get("state") == "live"
            now = dict(self.known)
            self._changed.notify_all()
        for listener in self._listeners:
            listener(now)
        if (before["state"], before["failures"]) != (now["state"], now["failures"]):
            self._shout(before, now)

    def _shout(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        if self._what.policy == "required" and not self._was_live:
            return  # the run does not begin, and `open_mirror` says why
        state, later = now["state"], f"worldmodel track sync {self._what.folder} sends it later"
        on = "the run goes on" if not self._closing.is_set() else "the run has ended"
        if state == "live":
            again = " again" if before["failures"] else ""
            self._say(f"tracker live{again}: {now.get('url')}")
        elif state == "offline" and before["state"] != "offline":
            self._say(f"TRACKER OFFLINE: nothing reaches a server; the record is whole; {later}")
        elif state in ("failed", "unreachable", "unfinished"):
            self._say(f"TRACKER {state.upper()} (failure {now['failures']}): {now.get('message')}; {on}; {later}")


def open_mirror(what: Mirroring, say: Callable[[str], None], *, follow: bool = True) -> Mirror | None:
    """Begin to mirror a run; None if the policy is off. `close` it with the reason of the run's end.

    required: returns when the tracker is live. Raises WrongUse where the client is missing or has no key, and
    WorldModelError with what it said where the tracker cannot be reached.
    """
    if what.policy == "off":
        return None
    mirror = Mirror(what, say, follow=follow)
    if what.policy == "optional":
        return mirror
    mirror.wait_until(("live", "offline", "failed"), 2 * what.init_s + what.finish_s + _GRACE_S)
    if mirror.known["state"] == "live":
        return mirror
    mirror.close("not begun", wait_s=5)
    state, message = mirror.known["state"], str(mirror.known.get("message") or "no answer")
    for word, found, way_out in (
        ("No module named", "whose client is not installed", "pip install 'worldmodel[wandb]'"),
        ("API key", "without a key", "run wandb login, or set WANDB_API_KEY"),
    ):
        if word in message:
            raise WrongUse(
                f"a required tracker {found}", "a live one before the first step", f"{way_out}, or --track optional"
            )
    if state == "offline":
        raise WrongUse("a required tracker and WANDB_MODE offline", "a live tracker", "unset it, or --track optional")
    raise WorldModelError(f"the tracker is required and not live: {message}; nothing was trained")
