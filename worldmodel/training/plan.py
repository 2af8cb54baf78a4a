"""What a run will do, decided and said before its first step.

Owns: counts of steps, the schedule, the held-out sample, and telling all that. Must not: train.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import Windows
from worldmodel.errors import WrongUse
from worldmodel.nn.codec import ELEMENTS
from worldmodel.schema import PLAYERS, column_name
from worldmodel.training import disturbance
from worldmodel.training.batches import Batches
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.optim import Schedule
from worldmodel.training.validation import Validation, make_validation

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is known of a run before its first step."""

    experiment: Experiment
    batches: Batches
    validation: Validation | None
    schedule: Schedule
    device: torch.device

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.num_per_epoch

    @property
    def num_steps(self) -> int:
        """Steps of the whole run: epochs are totals."""
        return self.schedule.num_steps

    @property
    def targets_per_step(self) -> int:
        """Frames that a step has a loss on."""
        return self.batches.size * (self.experiment.data.length - self.experiment.data.loss_from)

    def validates_after(self, step: int) -> bool:
        """Whether the sample is looked at when `step` steps are done."""
        parts = max(1, round(1 / self.experiment.training.val_every_fraction))
        done = (step - 1) % self.steps_per_epoch + 1
        return done in {round(self.steps_per_epoch * part / parts) for part in range(1, parts + 1)}


def make_plan(experiment: Experiment, dataset: Dataset, device: torch.device) -> Plan:
    """Decide the whole run. Raises WrongUse when the dataset holds nothing to train or to validate on."""
    data, training = experiment.data, experiment.training
    games = dataset.rows(split="train")
    windows = Windows(
        dataset.num_frames_per_game[games],
        games=games,
        rows=data.length + 1,
        stride=data.stride_frames,
        seed=training.seed,
        block_frames=data.block_frames,
    )
    if windows.num_windows == 0:
        raise WrongUse(
            f"{dataset.path} has no training game of more than {data.length} frames ({len(games)} games to train on)",
            "at least one",
            "ingest more games, or show shorter contexts",
        )
    batches = Batches(dataset, windows, training.batch_size, device)
    schedule = Schedule.of(training, training.epochs * batches.num_per_epoch)
    return Plan(experiment, batches, make_validation(dataset, experiment, device), schedule, device)


def announce(plan: Plan, state: TrainState, say: Say) -> None:
    """Everything one should know before the first step."""
    experiment, training, data = plan.experiment, plan.experiment.training, plan.experiment.data
    windows = plan.batches.windows
    say(
        f"model {experiment.model.arch}, {state.model.num_parameters():,} parameters, {experiment.model.heads} heads, "
        f"{training.precision} on {plan.device}"
    )
    say(
        f"{data.mode} mode: {data.length} frames shown, loss on {data.length - data.loss_from}; "
        f"{windows.num_windows:,} windows of {len(windows.games):,} games an epoch"
    )
    say(
        f"{plan.steps_per_epoch:,} steps an epoch of {plan.batches.size:,} windows "
        f"({plan.targets_per_step:,} target frames), {training.epochs} epochs in total, {plan.num_steps:,} steps"
    )
    if state.step:
        left = max(0, plan.num_steps - state.step)
        say(f"resumed at step {state.step:,} ({state.step / plan.steps_per_epoch:.2f} epochs): {left:,} steps left")
    rates = "  ".join(f"{step:,}: {lr:.3g}" for step, lr in plan.schedule.table())
    say(f"learning rate by step  {rates}")
    for line in disturbance.describe(experiment.scheduled_sampling, training.epochs):
        say(line)
    masked = missing_fields(plan.batches.dataset)
    say(f"masked where a game lacks it: {', '.join(masked)}" if masked else "every game has every field")
    if plan.validation is None:
        say("NO VALIDATION: training.val_windows is 0")
    else:
        say(f"validated on up to {training.val_windows:,} windows of {len(plan.validation.games)} held-out games")


def missing_fields(dataset: Dataset) -> list[str]:
    """Fields with a head that some games do not record, with the share of games that do."""
    shards = [(dataset.shard(info.number), info.num_games) for info in dataset.manifest.shards]
    out = []
    for row in dict.fromkeys(ELEMENTS):
        have = sum(num_games for shard, num_games in shards if shard.has(column_name(row, PLAYERS[0])))
        if have < dataset.num_games:
            out.append(f"{row.name} ({have / dataset.num_games:.0%} have it)")
    return out
