"""One attempt of a run on a machine that may be taken away: begin it, or go on where the attempt before it was.

Owns: what a platform's restart of the same call means, and when there is no sense in another. Must not: know the
platform: what makes files durable there, and which call this is, are given.

A platform restarts a call that raises, on the same arguments, and pays for each. So an end that nobody should repeat (a
rule's, wrong use, no progress) is put down beside the runs, and what is restarted nevertheless ends at once.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.dataset.encoded import dataset_of
from worldmodel.dataset.manifest import read_manifest
from worldmodel.errors import StoppedByRule, WorldModelError, WrongUse
from worldmodel.launch.watcher import Fired
from worldmodel.runs import atomic
from worldmodel.runs.branch import branch, find_checkpoint
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import REASON
from worldmodel.runs.status import read_status
from worldmodel.training.loop import FINISHED, TrainResult
from worldmodel.training.plan import Say
from worldmodel.training.publish import AGAIN_S
from worldmodel.training.run import resume_training, run_training, say_on_stderr
from worldmodel.training.sentry import watched
from worldmodel.training.stop import DEADLINE
from worldmodel.training.tracker import AS_BEFORE, Track

CALLS = ".calls"
DATASETS = ".datasets"
MAX_IDLE = 2
"""Attempts in a row that brought no newer checkpoint, before it is given up."""
STALE = "kill:\n  - {rule: stale, minutes: 30}\n"
"""The rules of a run that is begun without any: nobody is there to see that it hangs."""


class GoOn(WorldModelError):
    """The attempt was ended from outside and has saved. Raised, so that the platform makes another, which goes on."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt runs. data: read only; runs: durable after `commit()`; call: what all attempts of one call have
    in common, None if nobody restarts it; time_limit_s: of this attempt; no_more: asks the platform for no further
    attempt of the call, and may fail."""

    data: Path
    runs: Path
    commit: Callable[[], None]
    call: str | None = None
    time_limit_s: float | None = None
    no_more: Callable[[], None] = _nothing

    def path(self, name: str) -> Path:
        """A file or folder as a card names it: `/encoded-22k.pt` is in the data's folder, unless it is at the root."""
        for path in (Path(name), self.data / name.lstrip("/")):
            if path.exists():
                return path
        raise WrongUse(f"no {name} on this machine, nor in {self.data}", "a dataset, or an encoded file", "upload it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a call is for.

    resume: a run or a checkpoint to go on from, found before any data is read; under another `run_name` it is branched.
    rules: text of a rules file. data_hash: content that the dataset must have. card: hash of the run's card.
    time_limit_s: of all attempts together.
    """

    encoded_file: str
    config: str
    run_name: str = ""
    epochs: int | None = None
    resume: str = ""
    overrides: Sequence[str] = ()
    rules: str = ""
    track: Track = AS_BEFORE
    data_hash: str = ""
    card: str = ""
    time_limit_s: float | None = None
    device: str | None = None


def attempt(place: Place, told: Callable[[], Work], *, say: Say = say_on_stderr) -> dict[str, Any]:
    """Train until the run is over, or this machine is. Returns how it ended, a rule's end like any other.

    told: makes the work out of what was said, and may find it wrong. Raises GoOn for an end that the next attempt shall
    go on after, and what training does.
    """
    record = _Record(place)
    if record.fatal:
        raise WorldModelError(f"{record.fatal} (said by an earlier attempt of the same call; nothing was tried again)")
    began = time.monotonic()

    def disobeyed(fired: Fired) -> None:
        record.end(StoppedByRule(f"stopped by rule {fired.rule.label}: {fired.verdict.reason}"))

    def run() -> RunFolder | None:
        return RunFolder(place.runs / record.run) if record.run else None

    try:
        work = told()
        with nullcontext() if place.call is None else watched(run, commit=place.commit, on_rule=disobeyed, say=say):
            result = _train(place, record, work, say)
    except StoppedByRule as error:
        _committed(place, say)
        ended = RunFolder(place.runs / record.run)
        return {"run": str(ended.path), "reason": (read_status(ended) or {}).get("reason"), "why": str(error)}
    except WorldModelError as error:
        say(f"worldmodel: {error}")
        record.end(error)
        _committed(place, say)
        try:
            place.no_more()
        except Exception as refused:  # noqa: BLE001  a platform may raise anything; the next attempt ends at once then
            say(f"the platform may try again: {type(refused).__name__}: {refused}")
        raise
    _committed(place, say)
    is_time_up = result.reason == DEADLINE and _is_last(place, work, record, time.monotonic() - began)
    if result.reason == FINISHED or result.reason.startswith(REASON) or is_time_up:
        return result.as_json()
    raise GoOn(
        result.reason,
        f"{result.run.id}: {result.reason} at step {result.step:,} of {result.num_steps:,}, which is saved",
    )


def _is_last(place: Place, work: Work, record: _Record, spent_s: float) -> bool:
    """Whether it was the limit of all attempts that came, not that of this one."""
    if work.time_limit_s is None:
        return place.call is None
    left_s = work.time_limit_s - record.spent_s - spent_s
    return place.time_limit_s is None or left_s <= place.time_limit_s - spent_s


def _train(place: Place, record: _Record, work: Work, say: Say) -> TrainResult:
    began = time.monotonic()
    run = _found(place, record, work, say)
    data = dataset_of(place.path(work.encoded_file), place.runs / DATASETS, say=say)
    _committed(place, say)  # a conversion is kept even if this attempt is not
    if work.data_hash and (found := read_manifest(data).content_hash) != work.data_hash:
        raise WrongUse(
            f"{work.encoded_file} has content {found[:16]}",
            f"{work.data_hash[:16]}",
            "upload the dataset that was meant",
        )
    limits = [place.time_limit_s, None if work.time_limit_s is None else work.time_limit_s - record.spent_s]
    given = [limit for limit in limits if limit is not None]
    left_s = min(given) - (time.monotonic() - began) if given else None

    def publish(path: Path) -> None:
        place.commit()

    rules = work.rules or (STALE if place.call is not None and run is None else "")
    with tempfile.TemporaryDirectory() as aside:
        book = Path(aside) / "rules.yaml" if rules else None
        if book is not None:
            book.write_text(rules, encoding="utf-8")
        if run is not None:
            return resume_training(
                run.path, data=data, overrides=() if record.is_again else work.overrides, epochs=work.epochs,
                device=work.device, time_limit_s=left_s, rules=book, track=AS_BEFORE if record.is_again else work.track,
                publish=publish, say=say,
            )  # fmt: skip
        return run_training(
            work.config, data, overrides=work.overrides, epochs=work.epochs, runs=place.runs, name=record.run,
            device=work.device, time_limit_s=left_s, rules=book, track=work.track, publish=publish, prove=True,
            card=work.card or None, say=say,
        )  # fmt: skip


def _found(place: Place, record: _Record, work: Work, say: Say) -> RunFolder | None:
    """The run to go on with; None: a new one is begun. Raises WrongUse, before any data is read."""
    if record.is_again and (run := _begun(place, record, say)) is not None:
        return run
    if not work.resume:
        name = work.run_name or record.run or f"{Path(work.config).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        if (place.runs / name).exists():
            raise WrongUse(f"{name} exists", "a new run name", f"--resume {name} goes on with it")
        record.began(name, -1, 0.0)
        return None
    source, checkpoint = find_checkpoint(work.resume, place.runs)
    name = work.run_name or source.id
    target = place.runs / name
    say(f"resuming {source.id} from step {checkpoint.step:,}; epochs are totals")
    if source.path.resolve() != target.resolve():
        record.began(name, -1, 0.0)
        return branch(source, checkpoint, target)
    newest = source.newest_checkpoint()[0]
    if newest.step != checkpoint.step:
        raise WrongUse(
            f"step {checkpoint.step:,} of {source.id}, which has been at step {newest.step:,}",
            "another --run-name, under which it is branched",
            f"or go on from the newest: --resume {source.id}",
        )
    record.began(name, checkpoint.step, _spent_s(source))
    return source


def _begun(place: Place, record: _Record, say: Say) -> RunFolder | None:
    """The run that an earlier attempt of the same call began; None if there is nothing in it to go on from."""
    run = RunFolder(place.runs / record.run)
    if run.config.exists() and run.provenance.exists() and run.all_checkpoints():
        step = run.newest_checkpoint()[0].step
        record.began(run.id, step, _spent_s(run))
        say(f"attempt {record.num_attempts}: {run.id} goes on from step {step:,}")
        return run
    if run.path.exists():
        say(f"attempt {record.num_attempts + 1}: {run.id} had not saved anything yet, and begins again")
        run.path.rename(place.runs / f".begun-{record.num_attempts}-{run.id}")
    return None


def _spent_s(run: RunFolder) -> float:
    return float((read_status(run) or {}).get("spent_s") or 0.0)


class _Record:
    """What the attempts of one call leave for each other."""

    def __init__(self, place: Place) -> None:
        self._file = None if place.call is None else place.runs / CALLS / f"{place.call}.json"
        self._known: dict[str, Any] = {"run": "", "attempts": [], "fatal": "", "exit_code": 0, "spent_before_s": 0.0}
        if self._file is not None and self._file.exists():
            self._known |= json.loads(self._file.read_text(encoding="utf-8"))
        self.is_again = bool(self._known["attempts"])
        """Whether an earlier attempt of this call began its run."""
        self.spent_s = 0.0
        """What earlier attempts of this call took for the run."""

    @property
    def fatal(self) -> str:
        """Why no attempt shall follow, or ""."""
        return str(self._known["fatal"])

    @property
    def run(self) -> str:
        """Name of the run, "" if none was begun."""
        return str(self._known["run"])

    @property
    def num_attempts(self) -> int:
        return len(self._known["attempts"])

    def began(self, run: str, step: int, spent_s: float) -> None:
        """An attempt begins at a step (-1: from nothing) of a run that has taken so long in all its lives.

        Raises WorldModelError if those before did not get on.
        """
        steps = [entry["step"] for entry in self._known["attempts"]]
        if len(steps) >= MAX_IDLE and all(earlier >= step for earlier in steps[-MAX_IDLE:]):
            raise WorldModelError(f"given up: {MAX_IDLE} attempts began at step {step} and none got on")
        if not self.is_again:
            self._known["spent_before_s"] = spent_s
        self.spent_s = max(0.0, spent_s - float(self._known["spent_before_s"]))
        self._known["run"] = run
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._known["attempts"].append({"at": at, "step": step})
        self._write()

    def end(self, error: WorldModelError) -> None:
        """No attempt shall follow."""
        self._known |= {"fatal": str(error), "exit_code": error.exit_code}
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_json(self._file, self._known)


def _committed(place: Place, say: Say) -> None:
    """The last commit, tried again a few times: the platform's own at the end is no contract."""
    for pause_s in (*AGAIN_S[:3], None):
        try:
            return place.commit()
        except Exception as error:  # noqa: BLE001  a platform may raise anything; the run itself is over and whole here
            say(f"NOT COMMITTED: {type(error).__name__}: {error}")
            if pause_s is not None:
                time.sleep(pause_s)
    return None
