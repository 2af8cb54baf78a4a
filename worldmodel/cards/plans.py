"""Plans that were measured, and what became of them: `plans.jsonl` beside the cards, one line for each.

Owns: the shape of both kinds of lines, which plan holds for a card or a run, reading and adding lines durably.
Must not: measure, or compute a time (that is `timing`).

A plan holds for whatever does the same work per step: its key leaves out of the experiment what a step's time does not
depend on (how long, how often, how strongly), so that a change of epochs or of the learning rate asks for no new plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, TypeAdapter, ValidationError

from worldmodel.cards.timing import Speeds, StepTime
from worldmodel.errors import WrongUse
from worldmodel.runs.ledger import EntryCode, EntryData
from worldmodel.runs.planned import SAME_MOMENT, Told
from worldmodel.runs.strict import Strict
from worldmodel.tracking.jsonl import JsonlWriter

BUSY = 0.6
"""Load of each core from which on a machine is not the measurement's own."""

SAME_WORK = (
    "training.epochs", "training.lr", "training.weight_decay", "training.warmup_fraction", "training.grad_clip",
    "training.seed", "training.log_every_steps", "training.log_every_s", "training.val_every_fraction",
    "training.val_windows", "training.checkpoint_every_min", "training.keep_last", "loss_weights.",
    "scheduled_sampling.", "context_noise.", "symmetry.", "emphasis.", "self_forcing.begin", "self_forcing.reach",
)  # fmt: skip
"""Keys, and beginnings of keys, that a step's time does not depend on. That a section is there at all counts."""


# ---- what is measured --------------------------------------------------------------------------------------------


class Stretch(Strict):
    """Some steps in a row, and the seconds that they took together."""

    num_steps: PositiveInt
    seconds: float


class Steps(Strict):
    """Steps of one kind. what: in words; at_step: where in the schedule; first_s: the first, with its compilation."""

    what: str
    at_step: int
    first_s: float
    stretches: list[Stretch]

    @property
    def num_steps(self) -> int:
        return sum(stretch.num_steps for stretch in self.stretches)

    @property
    def time(self) -> StepTime:
        """Mean, and the 10th and 90th percentile of the stretches."""
        each = np.array([stretch.seconds / stretch.num_steps for stretch in self.stretches])
        mean = sum(stretch.seconds for stretch in self.stretches) / self.num_steps
        low, high = (float(value) for value in np.percentile(each, (10, 90)))
        return StepTime(mean, min(low, mean), max(high, mean))

    @property
    def compile_s(self) -> float:
        """What the first step took more than another: compilation, and memory that is asked for the first time."""
        return max(0.0, self.first_s - self.time.mean_s)


class Looked(Strict):
    """A validation. num_windows were looked at, of num_all in a real one; naive_s: as much with the naive models."""

    num_windows: PositiveInt
    num_all: PositiveInt
    seconds: float
    naive_s: float

    @property
    def all_s(self) -> float:
        """A real one, extrapolated if only a share was looked at."""
        return self.seconds * self.num_all / self.num_windows

    @property
    def all_naive_s(self) -> float:
        return self.naive_s * self.num_all / self.num_windows


class Kept(Strict):
    """A checkpoint. stall_s: training waited; write_s: until it was on the disk; read_s: checked and read back."""

    num_bytes: int
    stall_s: float
    write_s: float
    read_s: float


class Memory(Strict):
    """Bytes. host: resident at the most, of host_room that this process may have; device: likewise, none on a CPU.

    reported: what a run with this memory writes into its record.
    """

    host: int
    host_room: int
    reported: int
    device: int | None = None
    device_room: int | None = None


class Measured(Strict):
    """All that was measured. light is heavy if the schedule knows one kind of step; both none on another device.

    open_s: dataset and model; block_s: until the first batch, of `num_blocks` blocks of an epoch.
    """

    open_s: float
    block_s: float
    num_blocks: int
    block_bytes: int
    tier: str
    checkpoint: Kept
    memory: Memory
    disk_free: int
    is_compiled: bool = False
    light: Steps | None = None
    heavy: Steps | None = None
    validation: Looked | None = None

    @property
    def kinds(self) -> list[Steps]:
        """The kinds of steps that there are."""
        if self.light is None or self.heavy is None:
            return []
        return [self.heavy] if self.light == self.heavy else [self.light, self.heavy]

    @property
    def compile_s(self) -> float:
        """What first steps took more than others."""
        return sum(kind.compile_s for kind in self.kinds)

    @property
    def start_s(self) -> float:
        """Until the first step, as a launched run has it: it looks once and reads its first checkpoint back."""
        kept, looked = self.checkpoint, self.validation
        looks_s = looked.all_s + looked.all_naive_s if looked else 0.0
        return self.open_s + self.block_s + self.compile_s + kept.write_s + kept.read_s + looks_s


# ---- lines of the file -------------------------------------------------------------------------------------------


class Machine(Strict):
    """Where. gpu: its name as the driver tells it. load: processes that wanted a core before it began, per core."""

    device: str
    gpu: str | None = None
    num_cpus: int
    system: str
    load: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether others were at work, so that what was measured is slower than it need be."""
        return self.load > BUSY


class Plan(Strict):
    """A measured plan. work: key of what was measured. ratios: of earlier plans, as they were known on that day.

    gpu_meant: what its card called the device. why_not: if it was not measured on that device, why; then there are no
    times of steps in it.
    """

    kind: Literal["plan"] = "plan"
    at: str
    name: str
    work: str
    data: EntryData
    machine: Machine
    code: EntryCode
    measured: Measured
    ratios: list[float] = Field(default_factory=list)
    gpu_meant: str | None = None
    why_not: str | None = None
    told: Told | None = None

    @property
    def id(self) -> str:
        """In a few words: what outcomes call it by."""
        return f"{self.name} {self.at}"

    @property
    def source(self) -> str:
        where = self.machine.gpu or self.machine.device
        busy = f" while others were at work (load {self.machine.load:.1f} a core)" if self.machine.is_busy else ""
        return f"measured on {where}{busy}, {self.at[:16].replace('T', ' ')}"

    @property
    def speeds(self) -> Speeds | None:
        """What times follow from; None if this is not the device."""
        found = self.measured
        if found.heavy is None or found.light is None:
            return None
        return Speeds(
            light=found.light.time,
            heavy=found.heavy.time,
            start_s=found.start_s,
            source=self.source,
            validation_s=found.validation.all_s if found.validation else 0.0,
            stall_s=found.checkpoint.stall_s,
            block_s=found.block_s,
            num_blocks=found.num_blocks,
            is_measured=True,
            is_plan=True,
        )


class Pair(Strict):
    """An estimate and what came of it."""

    estimate: float
    actual: float

    @property
    def ratio(self) -> float | None:
        """Actual over estimate."""
        return self.actual / self.estimate if self.estimate > 0 else None


class Outcome(Strict):
    """What became of a plan: a run that has ended. total_s: of the steps that it did, the estimate likewise."""

    kind: Literal["outcome"] = "outcome"
    at: str
    run: str
    plan: str
    ended: str
    step: int
    num_steps: int
    total_s: Pair
    epoch_s: Pair
    memory: Pair | None = None
    usd: Pair | None = None
    stall_s: Pair | None = None


Line = Annotated[Plan | Outcome, Field(discriminator="kind")]
_LINE: TypeAdapter[Plan | Outcome] = TypeAdapter(Line)


@dataclass(frozen=True, slots=True)
class Plans:
    """The file's content, oldest first; of several outcomes of a run and a plan the last one."""

    plans: tuple[Plan, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

    def newest(self, *, work: str, content_hash: str, before: str | None = None) -> list[Plan]:
        """Plans of the same work on the same data, the newest first. before: that were there when a run began."""
        limit = datetime.fromisoformat(before) + SAME_MOMENT if before else None
        found = [
            plan
            for plan in self.plans
            if plan.work == work
            and plan.data.content_hash == content_hash
            and (limit is None or datetime.fromisoformat(plan.at) <= limit)
        ]
        return sorted(found, key=lambda plan: plan.at, reverse=True)

    def ratios(self, gpu: str | None) -> list[float]:
        """Actual over estimated time of every run that had a plan: on this device, or of all where it has none."""
        of_device = {plan.id for plan in self.plans if plan.machine.gpu == gpu}
        alike = [outcome for outcome in self.outcomes if outcome.plan in of_device] or self.outcomes
        return [ratio for outcome in alike if (ratio := outcome.total_s.ratio) is not None]


def read_plans(file: Path) -> Plans:
    """What a file holds; a torn last line is none. Raises WrongUse with file and line."""
    if not file.exists():
        return Plans()
    plans: list[Plan] = []
    outcomes: dict[tuple[str, str], Outcome] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        if not line.strip():
            continue
        try:
            found = _LINE.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"][1:])) or "the line"
            raise WrongUse(f"{file}:{number}: {key}: {first['msg']}", "a plan or an outcome", "mend it") from None
        if isinstance(found, Plan):
            plans.append(found)
        else:
            outcomes[found.run, found.plan] = found
    return Plans(tuple(plans), tuple(outcomes.values()))


def add(file: Path, lines: Iterable[Plan | Outcome]) -> None:
    """Add lines, on the disk when this returns. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with JsonlWriter(file, durable=True) as writer:
        for line in lines:
            writer.write(line.model_dump(mode="json", exclude_none=True))


# ---- which plan holds --------------------------------------------------------------------------------------------


def work_of(config: Mapping[str, Any]) -> str:
    """Key of the work of a step, out of an experiment's dotted keys: 16 hex digits."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        section, _, rest = key.partition(".")
        if not key.startswith(SAME_WORK):
            kept[key] = value
        elif rest and section not in ("training", "loss_weights"):
            kept[section] = "on"
    kept = {key: value for key, value in kept.items() if value is not None}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_device(wanted: str | None, gpu: str | None) -> bool:
    """Whether a driver's name of a device is what a card means: every part of "A100-40GB" is in it, as a whole word."""
    if wanted is None or gpu is None:
        return wanted is None and gpu is None
    words = set(re.split(r"[\s\-_]+", gpu.lower()))
    return all(part in words for part in re.split(r"[\s\-_]+", wanted.lower()))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
