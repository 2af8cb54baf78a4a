"""Grounds for a scripted night: cards that are launched by the verb as a person does, and ways to hurt their runs.

Everything is real: processes, signals, a full disk where one may be mounted, a tracker that dies, a clock that jumps.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldmodel.cards.new import Wishes, new_card
from worldmodel.cards.view import Places, View
from worldmodel.dataset.ingest import ingest
from worldmodel.launch import board
from worldmodel.launch.base import read_care
from worldmodel.launch.closeout import read_closed
from worldmodel.launch.local import stop_processes
from worldmodel.launch.outcome import Outcome
from worldmodel.launch.record import LiveRecord
from worldmodel.launch.results import BLOCK, end_words
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate
from worldmodel.runs.card import CardFile, new_review
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import is_alive

EVERY_MIN = 0.01
"""Between two checkpoints: what may be lost is 0.6 s of work, and what the one under way takes to be written."""
SMALL = (
    "model={arch: mamba2, d_model: 32, n_layers: 1, d_state: 8, headdim: 16}",
    "training.threads=1",
    "training.batch_size=4",
    "training.log_every_steps=1",
    "training.log_every_s=0.2",
    "training.val_windows=64",
    "training.val_every_fraction=0.5",
)
EPOCHS, LONG = 4, 400
KILL = ({"rule": "non_finite"}, {"rule": "out_of_memory"}, {"rule": "stale", "minutes": 10})
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
/* The clock on the wall is JUMP_S ahead as soon as the file JUMP_FILE is there; no other clock is touched. */
static long ahead(void) {
  const char *file = getenv("JUMP_FILE"), *by = getenv("JUMP_S");
  return file && by && access(file, F_OK) == 0 ? atol(by) : 0;
}
int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(id, at);
  if (!done && id == CLOCK_REALTIME) at->tv_sec += ahead();
  return done;
}
int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""
NO_ROOM = '''
"""Loaded by every Python process of a run: its disk takes nothing more as soon as a file says so."""
import errno, os
_sync = os.fsync
def fsync(handle):
    if os.path.exists(os.environ["FULL_FILE"]) and "/runs/" in os.readlink(f"/proc/self/fd/{handle}"):
        raise OSError(errno.ENOSPC, "No space left on device")
    _sync(handle)
os.fsync = fsync
'''


class NotHere(Exception):
    """A scenario needs something that this machine has not."""


def wait_for(is_so: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """What `is_so` gives as soon as it is true."""
    until = time.monotonic() + seconds
    while not (found := is_so()):
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(0.05)
    return found


def make_dataset(place: Path, num_games: int = 48) -> Path:
    """Generated games of at most 300 frames."""
    replays = place / "replays"
    replays.mkdir(parents=True)
    for name, data in generate(num_games, 1, rules=Rules(max_frames=300)):
        (replays / name).write_bytes(data)
    ingest(iter_sources([replays]), place / "dataset", filters=(), min_frames=1, workers=1)
    return place / "dataset"


@dataclass
class Lost:
    """What a kill cost: steps done by the run's own record, and those of its newest checkpoint."""

    at_step: int
    checkpoint_step: int
    step_s: float

    @property
    def steps(self) -> int:
        return self.at_step - self.checkpoint_step

    @property
    def seconds(self) -> float:
        return self.steps * self.step_s


@dataclass
class Grounds:
    """One scenario's place: its cards, its runs, its processes."""

    place: Path
    data: Path
    environment: dict[str, str] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cards, self.runs, self.tmp = self.place / "cards", self.place / "runs", self.place / "tmp"
        self.tmp.mkdir(parents=True)

    def card(self, name: str, *overrides: str, epochs: int = EPOCHS, sign: bool = True, **front: Any) -> Path:
        """A card in order, and signed."""
        more = {
            "kill": [*KILL],
            "checkpoints": {"every_min": EVERY_MIN, "publish": False},
            "estimate": {"batch_s": 0.02, "load_s": 2.0, "source": "a guess"},
            "backend": {"name": "local", "usd_per_hour": 2.0, "retries": 2},
            "targets": [
                {"metric": "val_loss/total", "better": "lower", "baseline": 9.0, "baseline_from": "x", "target": 8.0}
            ],
        }
        wishes = Wishes(name=name, goal="to see how it ends", more=more | front)
        every = [*SMALL, f"training.epochs={epochs}", *overrides]
        view: View = new_card("tiny", self.data, Places(self.cards, self.runs), overrides=every, wishes=wishes)
        if sign:
            review = new_review(by="Night", verdict="approve", comment="", hash=view.hash)
            view.file.with_review(review).document.write()
        return view.file.path

    def verb(self, *words: str | Path, **environment: str) -> subprocess.Popen[str]:
        """A verb in a process of its own, under a terminal's rules: the leader of a session."""
        return subprocess.Popen(
            [sys.executable, "-m", "worldmodel", *map(str, words)],
            cwd=self.place,
            env={**os.environ, "TMPDIR": str(self.tmp), **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def launch(self, name: str, *more: str) -> RunFolder:
        """`worldmodel card launch`, until it is well begun."""
        done = self.verb("card", "launch", name, "--cards", self.cards, "--runs", self.runs, *more)
        said = done.communicate(timeout=300)[0]
        assert done.returncode == 0, said
        return RunFolder(self.runs / name)

    def resume(self, run: RunFolder) -> None:
        """`worldmodel launch --resume`."""
        done = self.verb("launch", "--resume", run.path, "--runs", self.runs, "--retries", "2")
        said = done.communicate(timeout=300)[0]
        assert done.returncode == 0, said

    # ---- seeing ------------------------------------------------------------------------------------------------

    def step(self, run: RunFolder) -> int:
        """The last step that the run has written of."""
        return LiveRecord(run).look().step

    def wait_step(self, run: RunFolder, step: int) -> None:
        wait_for(lambda: self.step(run) >= step, f"{run.id} at step {step}")

    def worker(self, run: RunFolder) -> int:
        process = wait_for(lambda: read_care(run).get("worker"), f"{run.id} has a worker")
        return int(process["pid"])

    def wait_over(self, run: RunFolder, seconds: float = 240) -> Outcome:
        """Until it has ended, and whoever looks after it has closed it out; else by looking at it, as a person does."""

        def is_over() -> bool:
            supervisor = read_care(run).get("supervisor")
            is_alone = not (supervisor and is_alive(supervisor))
            return is_alone and board.look(run, close=False).is_over

        wait_for(is_over, f"{run.id} has ended", seconds)
        looked = self.verb("runs", self.runs)
        said = looked.communicate(timeout=120)[0]
        assert looked.returncode == 0, said
        outcome = self.outcome(run)
        assert outcome.on_card, f"{run.id}: the card was not written"
        assert self.on_card(run.id).replace("**", "").startswith(told(outcome)), "the card says something else"
        return outcome

    def outcome(self, run: RunFolder) -> Outcome:
        found = read_closed(run)
        assert found is not None, f"{run.id} was not closed out: {run.care_log.read_text()[-500:]}"
        return found

    def on_card(self, name: str) -> str:
        """The block of results as it stands on the card."""
        return CardFile.read(self.cards / f"{name}.md").document.block(BLOCK)

    def note_loss(self, run: RunFolder) -> Lost:
        """After a death: what was done, and what is on the disk."""
        record = LiveRecord(run).look()
        steps = [row["step_ms"] for row in record.pace] or [0.0]
        found = Lost(record.step, run.newest_checkpoint()[0].step, sorted(steps)[len(steps) // 2] / 1000)
        self.lost.append(found)
        return found

    # ---- hurting -----------------------------------------------------------------------------------------------

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(pid, number)

    def end_all(self) -> None:
        """Nobody of this scenario stays behind."""
        for run in board.all_runs(self.runs):
            if not board.look(run, close=False).is_over:
                stop_processes(run, wait_s=10)
            for process in map(read_care(run).get, ("supervisor", "worker")):
                if process and is_alive(process):
                    os.kill(process["pid"], signal.SIGKILL)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own in a folder. Raises NotHere where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        raise NotHere("only root may mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise NotHere("a small disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing more fits."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def no_room_by_decree(grounds: Grounds) -> Path:
    """A file whose being there makes every durable write in the run folders fail as on a full disk."""
    path = grounds.place / "injected"
    path.mkdir()
    (path / "sitecustomize.py").write_text(NO_ROOM)
    flag = grounds.place / "is-full"
    before = os.environ.get("PYTHONPATH", "")
    grounds.environment |= {"PYTHONPATH": os.pathsep.join(filter(None, (str(path), before))), "FULL_FILE": str(flag)}
    return flag


def clock_that_jumps(grounds: Grounds, seconds: int) -> Path:
    """A file whose being there sets the clock on the wall of every process. Raises NotHere without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise NotHere("no C compiler for a clock that jumps")
    source, library = grounds.place / "clock.c", grounds.place / "clock.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    flag = grounds.place / "jumped"
    grounds.environment |= {"LD_PRELOAD": str(library), "JUMP_FILE": str(flag), "JUMP_S": str(seconds)}
    return flag


def same_record(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs wrote the same curves, byte for byte, and end with the same weights."""
    weights = [run.newest_checkpoint()[0].weights.read_bytes() for run in (one, other)]
    return one.metrics.read_bytes() == other.metrics.read_bytes() and weights[0] == weights[1]


def events_of(run: RunFolder) -> list[Mapping[str, Any]]:
    return LiveRecord(run).look().events


def told(outcome: Outcome) -> str:
    """The end as it stands on the card, without its emphasis."""
    return end_words(outcome).replace("**", "")


def as_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value
