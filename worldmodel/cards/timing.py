"""Times and costs of a run, out of how fast its parts are.

Owns: the one formula of a run's time, its interval, money. Must not: measure anything, read files, or word a number.

The formula counts what a run does: its start, steps (heavier ones as the schedule brings them), validations, what
training waits for checkpoints. The interval has two parts, multiplied:

- the spread of the steps: the whole run goes as fast as the fast stretches that were measured (10th percentile), or as
  slow as the slow ones (90th);
- what earlier estimates were worth: from the least to the greatest ratio of actual to estimated time, 1 among them.
  Few runs say little, so the factor that a card is pessimistic by counts as one more run: with n ratios the upper end
  is at least factor ** (1 / (n + 1)). Without any it is the factor itself.

A guess has no spread and no history of its own: it is taken times the factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from worldmodel.cards.facts import Facts
from worldmodel.runs.card import Estimate
from worldmodel.training.config import Experiment
from worldmodel.training.disturbance import OFF, CardNoise, Disturbance, Drift, make_disturbances
from worldmodel.training.self_forcing import OwnFrames

NUM_LOOKS = 500
"""Steps of a run that its schedule is looked at."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step: in the mean, in fast stretches, in slow ones."""

    mean_s: float
    low_s: float
    high_s: float

    def toward(self, other: StepTime, share: float) -> StepTime:
        """The mean step of a run in which a share of the way to `other` is gone."""
        ours, theirs = (self.mean_s, self.low_s, self.high_s), (other.mean_s, other.low_s, other.high_s)
        return StepTime(*(a + (b - a) * share for a, b in zip(ours, theirs, strict=True)))


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast the parts of a run are, in seconds.

    light, heavy: a step where the schedule asks least and most of it. start_s: from the process to the first step.
    validation_s: one look at the held-out sample. stall_s: training waits for a checkpoint. block_s: reading one of
    `num_blocks` blocks of an epoch, which goes on beside training; 0 if there is but one. source: who says so.
    is_plan: every part was measured, not a step alone.
    """

    light: StepTime
    heavy: StepTime
    start_s: float
    source: str
    validation_s: float = 0.0
    stall_s: float = 0.0
    block_s: float = 0.0
    num_blocks: int = 1
    is_measured: bool = False
    is_plan: bool = False

    @classmethod
    def guessed(cls, estimate: Estimate) -> Speeds:
        """Of the front matter: one time for every step."""
        step = StepTime(estimate.batch_s, estimate.batch_s, estimate.batch_s)
        return cls(step, step, estimate.load_s, estimate.source, is_measured=estimate.measured)


@dataclass(frozen=True, slots=True)
class Course:
    """What a run does until a step: its experiment, and counts that follow from its data."""

    experiment: Experiment
    steps_per_epoch: int
    num_steps: int
    until: int

    @classmethod
    def of(cls, facts: Facts) -> Course:
        """All of it."""
        num = facts.num_steps.value
        return cls(facts.experiment, max(1, facts.steps_per_epoch.value), num, num)

    @property
    def num_validations(self) -> float:
        training = self.experiment.training
        if training.val_windows == 0:
            return 0.0
        return self.until / self.steps_per_epoch * max(1, round(1 / training.val_every_fraction))

    def step(self, speeds: Speeds) -> StepTime:
        """The mean step so far."""
        loads = loads_of(self.experiment, self.num_steps, self.steps_per_epoch)
        part = loads[: max(1, round(len(loads) * self.until / max(1, self.num_steps)))]
        return speeds.light.toward(speeds.heavy, sum(part) / len(part))

    def num_checkpoints(self, stepping_s: float) -> int:
        """The first, at each epoch's end, and by the clock."""
        every_s = 60 * self.experiment.training.checkpoint_every_min
        return 1 + self.until // self.steps_per_epoch + int(stepping_s / every_s)

    def training_s(self, speeds: Speeds, step_s: float) -> float:
        """From the first step on, validations and saving included."""
        stepping_s = self.until * step_s
        if speeds.num_blocks > 1:
            reading_s = self.until / self.steps_per_epoch * speeds.num_blocks * speeds.block_s
            stepping_s = max(stepping_s, reading_s)
        return (
            stepping_s + self.num_validations * speeds.validation_s + self.num_checkpoints(stepping_s) * speeds.stall_s
        )

    def total_s(self, speeds: Speeds) -> float:
        """Of the process, as the parts say: nothing of what earlier estimates were worth is in it."""
        return speeds.start_s + self.training_s(speeds, self.step(speeds).mean_s)


@dataclass(frozen=True, slots=True)
class Timing:
    """A run's times in seconds and costs in US dollars. usd_per_hour: None without a price, and so are costs.

    ratios: actual over estimated time of earlier runs. factor: how far off estimates have been before anybody counted.
    """

    facts: Facts
    speeds: Speeds
    usd_per_hour: float | None
    factor: float
    ratios: tuple[float, ...] = ()

    @property
    def course(self) -> Course:
        return Course.of(self.facts)

    @property
    def usual(self) -> float:
        """What an estimate is multiplied by to be right half of the time."""
        return median(self.ratios) if self.ratios else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """What an estimate is multiplied by at its best and at its worst."""
        if not self.speeds.is_plan:
            return 1.0, self.factor
        return interval_of(self.ratios, self.factor)

    @property
    def step(self) -> StepTime:
        return self.course.step(self.speeds)

    @property
    def step_s(self) -> float:
        return self.step.mean_s

    @property
    def epoch_s(self) -> float:
        return self.training_s / self.facts.experiment.training.epochs

    @property
    def training_s(self) -> float:
        return self.usual * self.course.training_s(self.speeds, self.step.mean_s)

    @property
    def start_s(self) -> float:
        return self.usual * self.speeds.start_s

    @property
    def total_s(self) -> float:
        """From the start of the process to its end."""
        return self.start_s + self.training_s

    @property
    def low_s(self) -> float:
        """The lower end of the interval of `total_s`."""
        return self.interval[0] * (self.speeds.start_s + self.course.training_s(self.speeds, self.step.low_s))

    @property
    def pessimistic_s(self) -> float:
        """The upper end."""
        return self.interval[1] * (self.speeds.start_s + self.course.training_s(self.speeds, self.step.high_s))

    @property
    def usd(self) -> float | None:
        return self._cost(self.total_s)

    @property
    def low_usd(self) -> float | None:
        return self._cost(self.low_s)

    @property
    def pessimistic_usd(self) -> float | None:
        return self._cost(self.pessimistic_s)

    def _cost(self, seconds: float) -> float | None:
        return None if self.usd_per_hour is None else seconds / 3600 * self.usd_per_hour

    @property
    def between_rows_s(self) -> float:
        """From one row of metrics to the next."""
        return self.facts.experiment.training.log_every_steps * self.step_s

    @property
    def between_lines_s(self) -> float:
        """From one line on the screen to the next: they go by the clock, and never within a step."""
        return max(self.facts.experiment.training.log_every_s, self.step_s)

    @property
    def lines_per_epoch(self) -> float:
        return self.epoch_s / self.between_lines_s

    @property
    def num_checkpoints(self) -> int:
        """Written over the run."""
        return self.course.num_checkpoints(self.usual * self.facts.num_steps.value * self.step_s)


def interval_of(ratios: Sequence[float], factor: float) -> tuple[float, float]:
    """From the least to the greatest ratio, widened as long as there are few (see above)."""
    upper = max([1.0, *ratios, factor ** (1 / (len(ratios) + 1))])
    return min([1.0, *ratios]), upper


# ---- schedules ---------------------------------------------------------------------------------------------------


def loads_of(experiment: Experiment, num_steps: int, steps_per_epoch: int, *, num: int = NUM_LOOKS) -> list[float]:
    """How much a step asks for, between 0 and 1, at `num` steps evenly over a run (fewer if it has fewer)."""
    disturbances = make_disturbances(experiment, num_steps, steps_per_epoch, torch.device("cpu"))
    return [load_at(disturbances, experiment, step, steps_per_epoch) for step in looks(num_steps, num)]


def looks(num_steps: int, num: int = NUM_LOOKS) -> list[int]:
    """Steps evenly over a run, the first among them."""
    count = max(1, min(num_steps, num))
    return [index * num_steps // count for index in range(count)]


def load_at(disturbances: Sequence[Disturbance], experiment: Experiment, step: int, steps_per_epoch: int) -> float:
    """0: nothing is disturbed; 1: the heaviest. Own frames weigh by their number, and noise beside them hardly counts;
    by itself it costs the same however strong it is."""
    own = next((one for one in disturbances if isinstance(one, OwnFrames)), None)
    if own is not None and experiment.self_forcing is not None:
        return own.num_frames(step) / experiment.self_forcing.max_frames
    return float(any(_is_on(one, step, steps_per_epoch) for one in disturbances))


def _is_on(disturbance: Disturbance, step: int, steps_per_epoch: int) -> bool:
    if isinstance(disturbance, CardNoise):
        return disturbance.strength(step // steps_per_epoch) != OFF
    return isinstance(disturbance, Drift) and disturbance.strength(step).rate > 0
