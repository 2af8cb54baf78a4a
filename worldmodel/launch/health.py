"""Whether a launched run is well begun: only then is it left alone.

Owns: what must have been seen before a launcher lets go. Must not: launch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from worldmodel.launch import board
from worldmodel.launch.base import Order, backend_of, read_care
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking import jsonl

BATCHES = 3
"""Steps that a run must have done."""


@dataclass(slots=True)
class Health:
    """What was seen of a run's beginning, in the order of seeing. failure: why it is not well, or ""."""

    seen: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    began_at: int = 0

    @property
    def is_well(self) -> bool:
        """Whether everything was seen."""
        return not self.failure and self.seen.keys() >= NEEDED


NEEDED = {"data", "validation", "checkpoint", "batches"}


def wait_until_well(
    run: RunFolder,
    order: Order,
    *,
    tell: Callable[[str, str], None],
    since: int = 0,
    poll_s: float = 0.5,
    limit_s: float | None = None,
) -> Health:
    """Wait until data is open, the model was validated, a checkpoint was read back, and some batches are trained.

    tell: is given each piece of news, by what it is about. since: size of events.jsonl when a run that goes on was
    submitted; what is older is no news. Returns at once when the run ends, well or not. limit_s: how
    long to wait at most; what is then missing is the failure.
    """
    health = Health()
    began, phase = time.monotonic(), ""
    backend = backend_of(order.backend)
    while not health.is_well:
        care = read_care(run)
        if not (care.get("worker") or "ended" in care) and backend.poll(run, order).state != "over":
            time.sleep(poll_s / 5)  # until then status is of the life before
            continue
        sight = board.look(run)
        size = run.events.stat().st_size if run.events.exists() else 0
        for row in jsonl.tail(run.events, size - since + 1) if size > since else ():
            _note(health, row, tell)
        step = int(sight.status.get("step") or 0) - health.began_at
        if "data" in health.seen and step >= BATCHES and "batches" not in health.seen:
            health.seen["batches"] = f"{step:,} trained"
            tell("batches", health.seen["batches"])
        if sight.is_over:
            is_done = sight.state == "finished"
            health.failure = "" if is_done else sight.why
            if is_done:
                health.seen |= dict.fromkeys(NEEDED - health.seen.keys(), "the run has finished")
            return health
        if sight.state == "starting" and backend.poll(run, order).state == "over":
            # The supervisor goes after its worker: what it had to say is written now.
            sight = board.look(run)
            health.failure = sight.why if sight.is_over else "the job ended before it began; see the files of `logs`"
            return health
        if sight.why != phase and sight.state in ("running", "starting"):
            phase = sight.why
            tell("phase", phase)
        if limit_s is not None and time.monotonic() - began > limit_s:
            health.failure = f"no {', no '.join(sorted(NEEDED - health.seen.keys()))} after {limit_s:.0f} s"
            return health
        time.sleep(poll_s)
    return health


def _note(health: Health, row: dict[str, object], tell: Callable[[str, str], None]) -> None:
    event, what = row.get("event"), str(row.get("what", ""))
    news: tuple[str, str] | None = None
    if event == "started":
        news = ("data", f"open; {row.get('num_steps'):,} steps")
    elif event == "resumed":
        # Its checkpoint was read to the last byte; validation was tried when the run began.
        health.began_at = int(str(row.get("step", 0)))
        health.seen |= {"validation": "tried before", "checkpoint": "read"}
        news = ("data", f"open; goes on from step {health.began_at:,} of {row.get('num_steps'):,}")
    elif event == "no_validation":
        news = ("validation", "none: training.val_windows is 0")
    elif event == "proved" and what == "validation":
        news = ("validation", f"works, {row.get('seconds')} s")
    elif event == "proved" and what == "checkpoint":
        news = ("checkpoint", f"{row.get('name')} written and read back, {row.get('seconds')} s")
    if news is not None and news[0] not in health.seen:
        health.seen[news[0]] = news[1]
        tell(*news)
