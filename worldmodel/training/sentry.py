"""A watcher in the training's own process, where no supervisor is beside it: on a platform that only sees an exit.

Owns: when it looks, and what it leaves behind when it ends the process. Must not: judge (`launch.watcher` does).

A hung step would otherwise burn the platform's whole time limit. The process ends without a word of its own, which a
platform takes for a crash: the next attempt goes on from the newest checkpoint.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from worldmodel.launch.watcher import Fired, Watcher
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking.jsonl import JsonlWriter
from worldmodel.training.plan import Say

LOOK_S = 10.0
COMMIT_S = 60.0
EXIT_CODE = 75
"""EX_TEMPFAIL: try again."""


@contextmanager
def watched(
    find: Callable[[], RunFolder | None], *, commit: Callable[[], None], on_rule: Callable[[Fired], None], say: Say
) -> Iterator[None]:
    """Watch a run for the time of the `with`; a rule of the outside that fires ends this process.

    find: the run, as soon as there is one. commit: makes what is on the disk durable; gets a minute. on_rule: is told
    before the end of a rule that the run itself should have obeyed.
    """
    closing = threading.Event()

    def watch() -> None:
        watcher: Watcher | None = None
        while not closing.wait(LOOK_S):
            run = find()
            if run is None or not run.status.exists():
                continue
            watcher = watcher or Watcher(run)
            if (fired := watcher.look()) is not None and not closing.is_set():
                _end(run, fired, commit, on_rule, say)

    threading.Thread(target=watch, name="sentry", daemon=True).start()
    try:
        yield
    finally:
        closing.set()


def _end(run: RunFolder, fired: Fired, commit: Callable[[], None], on_rule: Callable[[Fired], None], say: Say) -> None:
    why = f"{fired.rule.label}: {fired.verdict.reason}"
    say(f"KILL RULE {why}; this process is ended, its threads were at:")
    faulthandler.dump_traceback(sys.__stderr__ or sys.stderr, all_threads=True)
    with suppress(OSError), JsonlWriter(run.events, durable=True) as events:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        step = fired.verdict.at_step
        events.write(
            {"event": "rule", "at": at, "step": step, "label": fired.rule.label, "reason": why, "by": "sentry"}
        )
    if fired.rule.rule != "stale":
        on_rule(fired)
    last = threading.Thread(target=commit, daemon=True)
    last.start()
    last.join(COMMIT_S)
    os._exit(EXIT_CODE)
