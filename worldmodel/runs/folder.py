"""The folder of one run: every filename in it, exclusive creation, finding the newest checkpoint that is whole.

    config.yaml       the resolved experiment, every default written out
    run.json          where it came from: code, data, machine, arguments
    games.txt         the games that it learns from, by the beginnings of their frames' hashes
    code.diff         what the code differed by from its commit (only in a changed checkout)
    events.jsonl      what happened: started, checkpoint, resumed, ended (one line each)
    metrics.jsonl     the curves: what depends on the experiment and the data alone
    pace.jsonl        speed, memory, time left: what depends on the machine
    lock              held by the process that trains the run
    status.json       what the run does just now, with its heartbeat
    rules.yaml        the kill rules that it is judged by (only if it has any)
    tracker.jsonl     how it was mirrored (only if it was), tracker.log: what the mirror's client said
    launch.json       how it was launched (only if it was)
    care.json         the process that looks after it, and the one that trains it; care.log: what the former said
    worker.out, .err  what a launched run said
    card.md           the card as it was launched (only if it was by one); closeout.json: what was made of its end
    ballast           room for the last words on a full disk
    stop              somebody asked it to stop
    checkpoints/      step-NNNNNNNNN/{state.pt, weights.safetensors, weights_ema.safetensors, meta.json}
    latest.json       name of the newest checkpoint, for other programs; this one looks for itself
    report/           what evaluation wrote

Owns: these names. Must not: read what is inside the files, except the checksums of a checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic

_STEP_PREFIX = "step-"
_META = "meta.json"
_META_HASH = "meta_sha256"
BALLAST_BYTES = 2**19
"""Enough for the last events, a status, a card and its picture."""


class NotARun(WrongUse):
    """A path that was said to be a run and is not."""


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """A checkpoint on disk. `meta`: what its writer said of it, with `files`: name -> sha256."""

    path: Path
    step: int

    @property
    def state(self) -> Path:
        """Everything needed to go on training."""
        return self.path / "state.pt"

    @property
    def weights(self) -> Path:
        """The weights alone, for use."""
        return self.path / "weights.safetensors"

    @property
    def weights_ema(self) -> Path:
        """The running mean of the weights, for use; there only if the run keeps one."""
        return self.path / "weights_ema.safetensors"

    @property
    def meta(self) -> dict[str, Any]:
        """The content of meta.json. Raises ValueError or OSError if it is damaged."""
        value = json.loads((self.path / _META).read_text(encoding="utf-8"))
        if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
            raise ValueError(f"{_META} is not a checkpoint's meta data")
        if value.pop(_META_HASH, None) not in (None, _hash_of(value)):  # none: written before there was one
            raise ValueError(f"{_META} does not have its checksum")
        return value

    def problem(self) -> str | None:
        """Why this checkpoint cannot be used, or None if every file is there with its checksum."""
        try:
            meta = self.meta
            if meta.get("step") != self.step or not meta["files"]:
                return f"{_META} speaks of another checkpoint"
            for name, expected in meta["files"].items():
                if sha256_of(self.path / name) != expected:
                    return f"{name} does not have its checksum"
        except (OSError, ValueError) as error:
            return str(error)
        return None


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a run, for use. problems: what was wrong with each newer checkpoint, which a reader must know."""

    path: Path
    sha256: str
    step: int
    problems: tuple[str, ...]


class RunFolder:
    """One run on disk. Make it with `create`, find it with `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.provenance = path / "run.json"
        self.games = path / "games.txt"
        self.code_diff = path / "code.diff"
        self.events = path / "events.jsonl"
        self.metrics = path / "metrics.jsonl"
        self.pace = path / "pace.jsonl"
        self.lock = path / "lock"
        self.status = path / "status.json"
        self.rules = path / "rules.yaml"
        self.tracker = path / "tracker.jsonl"
        self.tracker_log = path / "tracker.log"
        self.launch = path / "launch.json"
        self.out = path / "worker.out"
        self.err = path / "worker.err"
        self.care = path / "care.json"
        self.care_log = path / "care.log"
        self.stop = path / "stop"
        self.card = path / "card.md"
        self.closeout = path / "closeout.json"
        self.ballast = path / "ballast"
        self.checkpoints = path / "checkpoints"
        self.latest = path / "latest.json"
        self.report = path / "report"

    @property
    def id(self) -> str:
        """Name of the run."""
        return self.path.name

    @classmethod
    def create(cls, root: Path, *, experiment: str, name: str | None = None, now: datetime | None = None) -> RunFolder:
        """A new folder under `root`, made by this call and nobody else.

        Its name is `name`, or `experiment` with the time (UTC) and, if taken, a number. Raises WrongUse when `name`
        is taken or is no name.
        """
        if name is not None and (not name or Path(name).name != name or name.startswith(".")):
            raise WrongUse(f"run name {name!r}", "a plain folder name", "use letters, digits and '-'")
        if root.exists() and not root.is_dir():
            raise WrongUse(f"{root} is a file", "a folder for runs", "name another folder")
        root.mkdir(parents=True, exist_ok=True)
        for candidate in _names(experiment, name, now or datetime.now(UTC)):
            try:
                (root / candidate).mkdir()
            except FileExistsError:
                continue
            run = cls(root / candidate)
            run.checkpoints.mkdir()
            return run
        raise WrongUse(f"{root / (name or '')} exists", "a new run name", "resume that run, or choose another name")

    @classmethod
    def take(cls, path: Path) -> RunFolder:
        """A folder that a launcher made for a run which has not begun. Raises WrongUse if one has."""
        run = cls(path)
        if not run.launch.is_file() or run.config.exists() or run.provenance.exists():
            raise WrongUse(
                f"{path}", "a folder that a launcher made, with no run in it yet", "resume it, or launch anew"
            )
        run.checkpoints.mkdir(exist_ok=True)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises NotARun when the folder lacks the files that every run has."""
        run = cls(path)
        if not path.is_dir():
            raise NotARun(f"no folder {path}", "the folder of a run", "check the path, or start one with train")
        missing = [file.name for file in (run.config, run.provenance) if not file.is_file()]
        if missing and run.checkpoints.is_dir():
            raise NotARun(
                f"{path} ended while it was being made (no {' and no '.join(missing)})",
                "the folder of a run",
                "nothing was trained yet: delete it, and start again with worldmodel train CONFIG --data DATASET",
            )
        if missing:
            raise NotARun(f"{path} has no {' and no '.join(missing)}", "the folder of a run", "check the path")
        return run

    # ---- room for the last words -----------------------------------------------------------------------------

    def take_ballast(self) -> None:
        """Fill a little of the disk, to have it back when all else is full. Without room even for that: none."""
        with contextlib.suppress(OSError):
            if not self.ballast.exists():
                atomic.write_bytes(self.ballast, b"\xa5" * BALLAST_BYTES)  # not zeros, which a file system may omit

    def drop_ballast(self) -> bool:
        """Give that room back; whether there was any."""
        try:
            self.ballast.unlink()
        except OSError:
            return False
        return True

    # ---- checkpoints -----------------------------------------------------------------------------------------

    def all_checkpoints(self) -> list[CheckpointFolder]:
        """Every finished checkpoint folder, oldest first, whether or not its files are whole."""
        if not self.checkpoints.is_dir():
            return []
        found = []
        for path in self.checkpoints.iterdir():
            digits = path.name.removeprefix(_STEP_PREFIX)
            if path.name.startswith(_STEP_PREFIX) and digits.isdigit():
                found.append(CheckpointFolder(path, int(digits)))
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def newest_checkpoint(self) -> tuple[CheckpointFolder, list[str]]:
        """The newest whole checkpoint, and what was wrong with each newer one.

        Raises WrongUse when there is none.
        """
        problems: list[str] = []
        for checkpoint in reversed(self.all_checkpoints()):
            problem = checkpoint.problem()
            if problem is None:
                return checkpoint, problems
            problems.append(f"{checkpoint.path.name}: {problem}")
        if not problems:
            raise WrongUse(
                f"{self.path} has no usable checkpoint: it ended before the first was saved",
                "at least one whole checkpoint",
                f"nothing is lost: start again with {self._first_command()}, and delete this folder",
            )
        raise WrongUse(
            f"{self.path} has no usable checkpoint ({'; '.join(problems)})",
            "at least one whole checkpoint",
            f"bring back an undamaged copy, or start again with {self._first_command()}",
        )

    def newest_weights(self, *, ema: bool = False) -> Weights:
        """Of the newest whole checkpoint; ema: the running mean. Raises WrongUse if there is none, or keeps no mean."""
        checkpoint, problems = self.newest_checkpoint()
        path = checkpoint.weights_ema if ema else checkpoint.weights
        if not path.is_file():
            raise WrongUse(
                f"{self.id} keeps no running mean of its weights", "training.ema in its experiment", "leave ema out"
            )
        told = tuple(f"a newer checkpoint was damaged: {problem}" for problem in problems)
        return Weights(path, checkpoint.meta["files"][path.name], checkpoint.step, told)

    def _first_command(self) -> str:
        """The command that began this run, as far as run.json tells it."""
        try:
            told = json.loads(self.provenance.read_text(encoding="utf-8"))
            about, data = told["experiment"], told["dataset"]["path"]
            epochs = [] if about["epochs"] is None else ["--epochs", str(about["epochs"])]
            words = ["worldmodel", "train", about["file"], *about["overrides"], "--data", data, *epochs]
        except (OSError, ValueError, KeyError, TypeError):
            return "worldmodel train CONFIG --data DATASET"
        return shlex.join(words)

    @contextmanager
    def removed_if_no_room(self) -> Iterator[None]:
        """For the beginning of a run: if the disk is full (any OSError) before the first checkpoint, the folder goes.

        What cannot be gone on with is not left lying about, and its bytes are given back. A launched run keeps its
        folder, in which its end is told.
        """
        try:
            yield
        except OSError:
            if not self.all_checkpoints() and not self.launch.exists():
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    @contextmanager
    def new_checkpoint(self, step: int, meta: dict[str, Any]) -> Iterator[CheckpointFolder]:
        """Write a checkpoint's files inside the `with`; it appears, with checksums, when the block ends well."""
        target = self.checkpoints / f"{_STEP_PREFIX}{step:09d}"
        with atomic.new_folder(target) as aside:
            yield CheckpointFolder(aside, step)
            files = {file.name: sha256_of(file) for file in sorted(aside.iterdir())}
            meta = json.loads(json.dumps(meta | {"step": step, "files": files}, allow_nan=False))
            atomic.write_json(aside / _META, meta | {_META_HASH: _hash_of(meta)})
        atomic.write_json(self.latest, {"step": step, "checkpoint": str(target.relative_to(self.path))})

    def drop_checkpoints(self, keep: set[int]) -> None:
        """Delete checkpoints whose step is not in `keep`, and what killed writers left aside."""
        for checkpoint in self.all_checkpoints():
            if checkpoint.step not in keep:
                # Renamed first: one that is half deleted when the process is killed is no checkpoint.
                checkpoint.path.rename(checkpoint.path.with_name(f"{atomic.ASIDE}dropped-{checkpoint.path.name}"))
        for left_over in self.checkpoints.glob(f"{atomic.ASIDE}*"):
            shutil.rmtree(left_over)
        for file in self.path.glob(f"{atomic.ASIDE}*"):
            if not file.name.endswith(self.status.name):  # the heartbeat's, which is just being written
                file.unlink(missing_ok=True)


def _names(experiment: str, name: str | None, now: datetime) -> Iterator[str]:
    if name is not None:
        yield name
        return
    stem = f"{experiment}-{now:%Y%m%d-%H%M%S}"
    yield stem
    for number in range(2, 1000):
        yield f"{stem}-{number}"


def _hash_of(meta: dict[str, Any]) -> str:
    """Of a checkpoint's meta data, whatever the order and the spaces in the file."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Of a whole file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
