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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.dataset.encoded import dataset_of
from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.runs import atomic
from worldmodel.runs.branch import branch, find_checkpoint
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import REASON
from worldmodel.training.loop import FINISHED, TrainResult
from worldmodel.training.plan import Say
from worldmodel.training.publish import AGAIN_S
from worldmodel.training.run import resume_training, run_training, say_on_stderr
from worldmodel.training.tracker import AS_BEFORE, Track

CALLS = ".calls"
DATASETS = ".datasets"
MAX_IDLE = 2
"""Attempts in a row that brought no newer checkpoint, before it is given up."""


class GoOn(WorldModelError):
    """The attempt was ended from outside and has saved. Raised, so that the platform makes another, which goes on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt runs. data: read only; runs: durable after `commit()`; call: what all attempts of one call have
    in common, None if nobody restarts it; time_limit_s: of this attempt."""

    data: Path
    runs: Path
    commit: Callable[[], None]
    call: str | None = None
    time_limit_s: float | None = None

    def path(self, name: str) -> Path:
        """A file or folder as a card names it: `/encoded-22k.pt` is in the data's folder, unless it is at the root."""
        for path in (Path(name), self.data / name.lstrip("/")):
            if path.exists():
                return path
        raise WrongUse(f"no {name} on this machine, nor in {self.data}", "a dataset, or an encoded file", "upload it")


def attempt(
    place: Place,
    *,
    encoded_file: str,
    config: str,
    run_name: str,
    epochs: int | None = None,
    resume: str = "",
    overrides: Sequence[str] = (),
    rules: str = "",
    track: Track,
    device: str | None = None,
    say: Say = say_on_stderr,
) -> dict[str, Any]:
    """Train until the run is over, or this machine is. Returns how it ended.

    resume: a run or a checkpoint to go on from, found before any data is read; under another `run_name` it is branched.
    rules: text of a rules file. Raises GoOn for an end that the next attempt shall go on after, and what training does.
    """
    record = _Record(place)
    if record.fatal:
        raise WorldModelError(f"{record.fatal} (said by an earlier attempt of the same call; nothing was tried again)")
    try:
        result = _train(
            place, record, encoded_file, config, run_name, epochs, resume, overrides, rules, track, device, say
        )
    except WorldModelError as error:
        record.end(f"{error}")
        _committed(place, say)
        raise
    _committed(place, say)
    if result.reason == FINISHED or result.reason.startswith(REASON):
        return result.as_json()
    raise GoOn(f"{result.run.id}: {result.reason} at step {result.step:,} of {result.num_steps:,}, which is saved")


def _train(
    place: Place,
    record: _Record,
    encoded_file: str,
    config: str,
    run_name: str,
    epochs: int | None,
    resume: str,
    overrides: Sequence[str],
    rules: str,
    track: Track,
    device: str | None,
    say: Say,
) -> TrainResult:
    began = time.monotonic()
    run = _found(place, record, run_name, resume, say)
    data = dataset_of(place.path(encoded_file), place.runs / DATASETS, say=say)
    place.commit()  # a conversion is kept even if this attempt is not
    left_s = None if place.time_limit_s is None else place.time_limit_s - (time.monotonic() - began)
    with tempfile.TemporaryDirectory() as aside:
        book = Path(aside) / "rules.yaml" if rules else None
        if book is not None:
            book.write_text(rules, encoding="utf-8")
        if run is not None:
            return resume_training(
                run.path, data=data, overrides=overrides, epochs=epochs, device=device, time_limit_s=left_s,
                rules=book, track=AS_BEFORE if record.num_attempts > 2 else track,
                publish=lambda path: place.commit(), say=say,
            )  # fmt: skip
        return run_training(
            config, data, overrides=overrides, epochs=epochs, runs=place.runs, name=run_name, device=device,
            time_limit_s=left_s, rules=book, track=track, publish=lambda path: place.commit(), say=say,
        )  # fmt: skip


def _found(place: Place, record: _Record, run_name: str, resume: str, say: Say) -> RunFolder | None:
    """The run to go on with; None: a new one is begun. Raises WrongUse, before any data is read."""
    target = place.runs / run_name
    is_ours = record.began(run_name)
    if is_ours and target.exists():
        run = RunFolder(target)
        if run.config.exists() and run.provenance.exists() and run.all_checkpoints():
            step = run.newest_checkpoint()[0].step
            record.note(step)
            say(f"attempt {record.num_attempts}: {run_name} goes on from step {step:,}")
            return run
        say(f"attempt {record.num_attempts}: {run_name} had not saved anything yet, and begins again")
        target.rename(place.runs / f".begun-{record.num_attempts}-{run_name}")
    record.note(-1)
    if not resume:
        if target.exists():
            raise WrongUse(f"{run_name} exists", "a new run name", f"--resume {run_name} goes on with it")
        return None
    source, checkpoint = find_checkpoint(resume, place.runs)
    say(f"resuming {source.id} from step {checkpoint.step:,}; epochs are totals")
    if source.path.resolve() == target.resolve() or not run_name:
        return source
    return branch(source, checkpoint, target)


class _Record:
    """What the attempts of one call leave for each other."""

    def __init__(self, place: Place) -> None:
        self._file = None if place.call is None else place.runs / CALLS / f"{place.call}.json"
        self._known: dict[str, Any] = {"run": None, "attempts": [], "fatal": ""}
        if self._file is not None and self._file.exists():
            self._known |= json.loads(self._file.read_text(encoding="utf-8"))

    @property
    def fatal(self) -> str:
        """Why no attempt shall follow, or ""."""
        return str(self._known["fatal"])

    @property
    def num_attempts(self) -> int:
        return len(self._known["attempts"]) + 1

    def began(self, run_name: str) -> bool:
        """Whether an earlier attempt of this call began this run."""
        is_ours = bool(self._known["attempts"]) and self._known["run"] == run_name
        self._known["run"] = run_name
        return is_ours

    def note(self, step: int) -> None:
        """An attempt begins at a step (-1: from nothing). Raises WorldModelError if those before did not get on."""
        steps = [entry["step"] for entry in self._known["attempts"]]
        if len(steps) >= MAX_IDLE and all(earlier >= step for earlier in steps[-MAX_IDLE:]):
            raise WorldModelError(f"given up: {MAX_IDLE} attempts began at step {step} and none got on")
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._known["attempts"].append({"at": at, "step": step})
        self._write()

    def end(self, message: str) -> None:
        """No attempt shall follow."""
        self._known["fatal"] = message
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
