"""A run's parts, measured one by one on the device and the data that it will have. Nothing of it is kept but numbers.

Owns: what is done for each part, for how long, and where the bytes of its checkpoint go meanwhile. Must not: touch a
run folder, compute a total, or define a step, a validation or a checkpoint (training does).

Of steps two kinds are measured: as the schedule begins, and as it asks most (own frames at their full number, noise at
its full strength). The first step of a kind, with its compilation, is told apart. A stretch of steps ends with the
device's work done; within one nothing waits.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from worldmodel.cards.plans import Kept, Looked, Measured, Memory, Steps, Stretch
from worldmodel.cards.timing import load_at, looks
from worldmodel.dataset.store import open_dataset
from worldmodel.errors import WorldModelError
from worldmodel.evaluation import heldout
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.book import NAMES
from worldmodel.training.checkpoint import TrainState, restore
from worldmodel.training.config import Experiment
from worldmodel.training.device import uses_compile
from worldmodel.training.loop import chunks, make_state
from worldmodel.training.meter import Meter, Pace, memory_gb
from worldmodel.training.plan import Plan, Say, make_plan
from worldmodel.training.saver import Saver
from worldmodel.training.self_forcing import OwnFrames
from worldmodel.training.step import Chunk, Step
from worldmodel.training.validation import Validation

STRETCH_S = 0.25
"""Shortest stretch on a device that works behind the host's back."""
FEWEST_STRETCHES, MOST_STRETCHES = 5, 200
PROBE_WINDOWS = 256
"""Of a validation, to know how long a whole one takes."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How much to measure: about so many seconds of steps of each kind, and of a validation and its naive models."""

    steps_s: float = 20.0
    validation_s: float = 60.0


def measure(
    experiment: Experiment,
    data: Path,
    device: torch.device,
    disk: Path,
    *,
    is_target: bool = True,
    wishes: Wishes | None = None,
    say: Say = lambda text: None,
) -> tuple[Measured, Plan]:
    """Measure on a device. disk: a folder on the file system of the run folders. is_target: whether this is the device
    that the numbers are about; if not, no step and no validation is done.

    Raises WrongUse (see `make_plan`), OSError for a disk without room, and what a step raises: OutOfMemoryError, and
    NonFinite.
    """
    wishes = wishes or Wishes()
    if device.type == "cpu":
        settle_allocator()
    else:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.get_num_threads()
    torch.set_num_threads(experiment.training.threads or before)
    try:
        with Resident() as resident, scratch(disk) as folder:
            say("opening dataset and model")
            began = time.monotonic()
            plan = make_plan(experiment, open_dataset(data), device)
            state = make_state(experiment, device)
            open_s = time.monotonic() - began
            say(f"opened in {open_s:.1f} s; reading the first of {plan.batches.tier.num_blocks} block(s)")
            with contextlib.closing(_chunks(plan)) as feed:
                began = time.monotonic()
                first = next(feed)
                _settle(device)
                block_s = time.monotonic() - began
                step_kinds: tuple[Steps | None, Steps | None] = (None, None)
                if is_target:
                    step_kinds = _both_kinds(plan, state, itertools.chain([first], feed), wishes, say)
            del first
            reported = int(memory_gb(device) * 1e9)
            looked = None
            if is_target and plan.validation is not None:
                looked = _look(plan.validation, state, wishes, say)
            say("writing a checkpoint and reading it back")
            kept = _keep(plan, state, folder)
        tier = plan.batches.tier
        measured = Measured(
            open_s=open_s,
            block_s=block_s,
            num_blocks=tier.num_blocks if tier.streamed else 1,
            block_bytes=tier.block_bytes,
            tier=tier.name,
            checkpoint=kept,
            memory=_memory(device, resident.peak, reported),
            disk_free=shutil.disk_usage(disk).free,
            is_compiled=uses_compile(experiment.training, device),
            light=step_kinds[0],
            heavy=step_kinds[1],
            validation=looked,
        )
        return measured, plan
    finally:
        torch.set_num_threads(before)


# ---- steps -------------------------------------------------------------------------------------------------------

Feed = Iterator[tuple[Chunk, bool]]
"""Chunks of batches as training gets them, and whether each is its window's last."""


def _chunks(plan: Plan) -> Generator[tuple[Chunk, bool]]:
    """Epoch after epoch."""
    number = itertools.count(0, plan.experiment.data.carry)
    for epoch in itertools.count():
        for batch in plan.batches.epoch(epoch):
            yield from chunks(batch, plan, step=next(number))


def _both_kinds(plan: Plan, state: TrainState, feed: Feed, wishes: Wishes, say: Say) -> tuple[Steps, Steps]:
    """The lightest steps of the schedule, and the heaviest; the same twice if there is but one kind."""
    at = looks(plan.num_steps)
    loads = {step: load_at(plan.disturbances, plan.experiment, step, plan.steps_per_epoch) for step in at}
    step = Step(plan, state)
    found: list[Steps] = []
    for load in sorted({min(loads.values()), max(loads.values())}):
        places = [place for place in at if loads[place] == load]
        what = _in_words(plan, places[0])
        say(f"stepping: {what}")
        found.append(_steps(plan, step, feed, places, what, wishes.steps_s))
    return found[0], found[-1]


def _steps(plan: Plan, step: Step, feed: Feed, places: list[int], what: str, seconds: float) -> Steps:
    """Stretches of steps, at changing places of the schedule, until the time is over and there are enough."""
    state, device = step.state, plan.device
    meter = Meter(NAMES, row_steps=2**40, step=0, device=device, where=plan.where)
    pace = Pace(torch.device("cpu"))
    next_place = itertools.cycle(places)
    carried: ModelState | None = None

    def run(num: int) -> float:
        nonlocal carried
        began = time.monotonic()
        for _ in range(num):
            state.step = next(next_place)
            chunk, is_last = next(feed)
            carried = step(chunk, meter, pace, carried=carried)
            carried = None if is_last else carried
        _settle(device)
        return time.monotonic() - began

    state.model.train()
    first_s, second_s = run(1), run(1)
    num = max(1, round(STRETCH_S / max(second_s, 1e-6))) if device.type == "cuda" else 1
    stretches: list[Stretch] = []
    while len(stretches) < FEWEST_STRETCHES or sum(stretch.seconds for stretch in stretches) < seconds:
        stretches.append(Stretch(num_steps=num, seconds=run(num)))
        if len(stretches) == MOST_STRETCHES:
            break
    # A carried window is not left half done: the next kind begins with a whole one.
    while carried is not None:
        run(1)
    meter.fetch(partial=True)  # a loss that is not finite is said now, not at night
    return Steps(what=what, at_step=places[0], first_s=first_s, stretches=stretches)


def _in_words(plan: Plan, step: int) -> str:
    """What a step of the schedule is disturbed by."""
    own = next((one for one in plan.disturbances if isinstance(one, OwnFrames)), None)
    words = []
    if own is not None and own.num_frames(step):
        words.append(f"{own.num_frames(step)} own frames")
    others = [one for one in plan.disturbances if one is not own]
    if load_at(others, plan.experiment.model_copy(update={"self_forcing": None}), step, plan.steps_per_epoch):
        words.append("noise")
    return f"with {' and '.join(words)}" if words else "undisturbed"


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---- validation --------------------------------------------------------------------------------------------------


def _look(validation: Validation, state: TrainState, wishes: Wishes, say: Say) -> Looked:
    """A whole validation, or as many windows of it as fit into the time."""
    experiment = validation.experiment
    data = experiment.data
    possible = len(heldout.windows(validation.games.num_frames, length=data.length, burn_in=data.loss_from))
    asked = experiment.training.val_windows
    num_all = possible if asked == "all" else min(asked, possible)
    models: dict[str, WorldModel] = {"raw": state.model}
    if state.ema is not None:
        models["ema"] = state.ema

    def both(num: int) -> tuple[float, float]:
        of_some = experiment.model_copy(
            update={"training": experiment.training.model_copy(update={"val_windows": num})}
        )
        some = replace(validation, experiment=of_some)
        began = time.monotonic()
        some.measure(models)
        between = time.monotonic()
        some.baselines()
        return between - began, time.monotonic() - between

    probe = min(PROBE_WINDOWS, num_all)
    both(probe)  # what is asked for the first time takes longer
    probed_s = sum(both(probe))
    num = min(num_all, max(probe, int(probe * wishes.validation_s / probed_s)))
    say(f"validating on {num:,} of {num_all:,} windows")
    seconds, naive_s = both(num)
    return Looked(num_windows=num, num_all=num_all, seconds=seconds, naive_s=naive_s)


# ---- checkpoint --------------------------------------------------------------------------------------------------


def _keep(plan: Plan, state: TrainState, folder: Path) -> Kept:
    """Written as training does it, beside a thread of its own; then checked and loaded. Raises OSError."""
    run = RunFolder(folder)
    saver = Saver(run, plan.experiment, plan.steps_per_epoch)
    try:
        saver.save(state, reason="plan")
        saver.settle()
        (saved,) = saver.finished()
    finally:
        saver.close()
    began = time.monotonic()
    checkpoint, problems = run.newest_checkpoint()
    if problems:
        raise WorldModelError(f"a checkpoint could not be read back: {'; '.join(problems)}")
    restore(checkpoint, state)
    num_bytes = sum(file.stat().st_size for file in checkpoint.path.iterdir())
    return Kept(num_bytes=num_bytes, stall_s=saved.stalled_s, write_s=saved.seconds, read_s=time.monotonic() - began)


@contextmanager
def scratch(disk: Path) -> Iterator[Path]:
    """A folder on a disk for the time of the `with`. What a killed plan left there goes first."""
    for left in disk.glob(f"{_SCRATCH}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(_SCRATCH).partition("-")[0] or 0)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}-", dir=disk) as folder:
        yield Path(folder)


_SCRATCH = f"{atomic.ASIDE}plan-"


# ---- memory ------------------------------------------------------------------------------------------------------


class Resident:
    """The most memory that this process held during the `with`, in bytes: looked at from a thread of its own."""

    def __init__(self, *, every_s: float = 0.02) -> None:
        self.peak = 0
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="resident", daemon=True)

    def __enter__(self) -> Resident:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.peak = max(self.peak, int(process.memory_info().rss))
            if self._over.wait(self._every_s):
                return


def _memory(device: torch.device, peak: int, reported: int) -> Memory:
    machine, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    room = min([int(machine.available + own), *_limits()])
    if device.type != "cuda":
        return Memory(host=peak, host_room=room, reported=max(reported, int(memory_gb(device) * 1e9)))
    free, _ = torch.cuda.mem_get_info(device)
    return Memory(
        host=peak,
        host_room=room,
        reported=max(reported, int(memory_gb(device) * 1e9)),
        device=torch.cuda.max_memory_reserved(device),
        device_room=free + torch.cuda.memory_reserved(device),
    )


def _limits() -> Iterator[int]:
    """What a container allows, where it says so."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            yield int(Path(file).read_text(encoding="ascii"))
