"""What a tracker is told of a run: its experiment, where it came from, which way its metrics get better.

Owns: the step from a run folder to a mirror of it. Must not: know a tracker.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.evaluation.metrics import METRICS
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import REASON
from worldmodel.runs.status import add_to_end, read_status
from worldmodel.tracking import jsonl
from worldmodel.tracking.mirror import POLICIES, PROJECT, Mirror, Mirroring, Policy, open_mirror
from worldmodel.training.config import load_experiment
from worldmodel.training.validation import PREFIX

STOPPED = "stopped by an error"
HASTE_S = 10.0
"""How long an end that somebody asked for waits: the machine may be about to go. The next life sends the rest."""


@dataclass(frozen=True, slots=True)
class Track:
    """How a run shall be tracked, as somebody asks for it. None: as it was before, else not at all."""

    policy: str | None = None
    project: str | None = None
    entity: str | None = None

    def __post_init__(self) -> None:
        if self.policy is not None and self.policy not in POLICIES:
            raise WrongUse(f"tracker policy {self.policy!r}", f"one of {', '.join(POLICIES)}", "write --track optional")
        if self.policy is None and (self.project or self.entity):
            raise WrongUse("a tracker's project without --track", "a policy", "write --track optional")


AS_BEFORE = Track()


def mirroring(run: RunFolder, track: Track, *, sync: bool = False) -> Mirroring:
    """What to mirror of a run, as asked for or as it was before. sync: of one that is over, with time to wait for it.

    Raises WrongUse if the run's own files cannot be read.
    """
    before = Mirroring(run.path, "off").earlier()
    try:
        told = json.loads(run.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUse(f"{run.path}: {error}", "the folder of a run", "check the path") from None
    policy = track.policy or before.get("policy") or "off"
    if track.policy is None and policy == "required" and any(one.step for one in run.all_checkpoints()):
        policy = "optional"  # it has begun: from then on a tracker's failure must not be in its way
    limits = {"finish_s": 600, "pid": None} if sync else {}
    return Mirroring(
        run.path,
        cast(Policy, policy),
        project=track.project or before.get("project") or PROJECT,
        entity=track.entity or before.get("entity"),
        name=run.id,
        config={**load_experiment(run.config).model_dump(mode="json"), "run": told, "card_hash": _card_hash(run, told)},
        best={PREFIX + metric.name: "max" if metric.better == "higher" else "min" for metric in METRICS},
        metrics=run.metrics.name,
        pace=run.pace.name,
        events=run.events.name,
        record=run.tracker.name,
        log=run.tracker_log.name,
        **cast(Any, limits),
    )


@contextmanager
def mirrored(run: RunFolder, track: Track, *, say: Callable[[str], None]) -> Iterator[Mirror | None]:
    """Mirror a run for the time of the `with`. Raises what `open_mirror` does before anything is trained; the folder of
    a run that could not begin is then removed, unless a launcher made it."""
    try:
        mirror = open_mirror(mirroring(run, track), say)
    except WorldModelError:
        if not run.all_checkpoints() and not run.launch.exists():
            shutil.rmtree(run.path)
        raise
    try:
        yield mirror
    finally:
        if mirror is not None:
            reason = _reason(run) or STOPPED
            mirror.close(reason, wait_s=None if reason == "finished" or reason.startswith(REASON) else HASTE_S)
            with suppress(OSError):  # a full disk is told of by the run itself
                add_to_end(run, tracker=mirror.known)


def sync(run: RunFolder, track: Track, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Send what a tracker does not have of a run, from the record alone. Returns how that went. Raises as `open_mirror`
    does, and WorldModelError if not all of it was taken."""
    asked = Track("required", track.project, track.entity)
    what = mirroring(run, asked, sync=True)
    mirror = open_mirror(what, say, follow=False)
    assert mirror is not None
    mirror.close("", wait_s=what.finish_s + 60)
    if mirror.known["state"] != "finished":
        raise WorldModelError(f"{run.id} was not taken whole: {mirror.known.get('message')}; do the same again")
    before = (read_status(run) or {}).get("tracker") or {}
    with suppress(OSError):
        add_to_end(run, tracker=mirror.known | {"policy": before.get("policy", mirror.known["policy"])})
    return dict(mirror.known)


def _card_hash(run: RunFolder, told: dict[str, Any]) -> str | None:
    """What was signed of the card that the run was launched by; None without one."""
    if (given := told.get("experiment", {}).get("card")) is not None:
        return str(given)
    try:
        found = json.loads(run.launch.read_text(encoding="utf-8")).get("card_hash")
    except (OSError, ValueError):
        return None
    return None if found is None else str(found)


def _reason(run: RunFolder) -> str:
    """The reason of the last end in the record."""
    rows = jsonl.tail(run.events)
    last: dict[str, Any] = next(
        (row for row in reversed(rows) if row.get("event") in ("ended", "started", "resumed")), {}
    )
    return str(last.get("reason", "")) if last.get("event") == "ended" else ""
