"""What a run will do, decided and said before its first step.

Owns: counts of steps, the schedule, the held-out sample, and telling all that. Must not: train.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import Windows
from worldmodel.errors import WrongUse
from worldmodel.nn.codec import ELEMENTS
from worldmodel.nn.frames import DeviceBlock
from worldmodel.schema import LAYOUT, PLAYERS, column_name
from worldmodel.training.batches import Batches
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.device import uses_bf16, uses_compile
from worldmodel.training.disturbance import Disturbance, Slots, make_disturbances
from worldmodel.training.emphasis import Emphasizer, make_emphasis
from worldmodel.training.optim import Schedule
from worldmodel.training.symmetry import Symmetries, make_symmetries
from worldmodel.training.team import ALONE, Team
from worldmodel.training.validation import Validation, make_validation

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is known of a run before its first step."""

    experiment: Experiment
    batches: Batches
    validation: Validation | None
    schedule: Schedule
    symmetries: Symmetries | None
    disturbances: list[Disturbance]
    emphasis: Emphasizer | None
    device: torch.device
    team: Team = ALONE

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.num_per_epoch * self.experiment.data.carry

    @property
    def num_steps(self) -> int:
        """Steps of the whole run: epochs are totals."""
        return self.schedule.num_steps

    @property
    def targets_per_step(self) -> float:
        """Frames that a step has a loss on, all processes together; the mean over the steps of a window."""
        data = self.experiment.data
        return self.batches.size * (data.rows - 1 - data.loss_from) / data.carry

    @property
    def slots(self) -> Slots:
        """This process's part of every batch."""
        return Slots(self.batches.first_slot, self.batches.local_size, self.batches.size)

    def validates_after(self, step: int) -> bool:
        """Whether the sample is looked at when `step` steps are done. Always between two windows of carried state."""
        parts = max(1, round(1 / self.experiment.training.val_every_fraction))
        carry = self.experiment.data.carry
        done, in_window = divmod((step - 1) % self.steps_per_epoch + 1, carry)
        return not in_window and done in {
            round(self.batches.num_per_epoch * part / parts) for part in range(1, parts + 1)
        }

    def place(self, step: int) -> tuple[int, int]:
        """(epoch, batch of the epoch) of a step, both from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return epoch, within // self.experiment.data.carry

    def where(self, step: int, slot: int) -> str:
        """The game and frames of a slot of a step's batch, in words, and what is not finite in them."""
        epoch, batch = self.place(step)
        found = self.batches.locate(epoch, batch, slot)
        if found is None:
            return f"slot {slot}, which only fills up the epoch's last batch"
        number, first = found
        data, dataset = self.experiment.data, self.batches.dataset
        chunk = step % data.carry
        begin = first + chunk * data.length + 1
        target = begin + (data.loss_from if chunk == 0 else 0)
        game_id = dataset.games["game_id"][number].as_py()
        text = f"game {game_id} (number {number}), frames t = {target} to {begin + data.length - 1}"
        block = DeviceBlock.from_block(load_block(dataset, np.array([number])))
        states, pads, _ = block.gather(torch.tensor([[0, begin - 1]]), data.length + 1)
        for rows, values in ((LAYOUT.numbers, states.numbers), (LAYOUT.pad_numbers, pads.numbers)):
            for _, t, player, index in (~values.isfinite()).nonzero().tolist()[:1]:
                return f"{text}: {column_name(rows[index], PLAYERS[player])} is not finite at t = {begin - 1 + t}"
        return text


def make_plan(experiment: Experiment, dataset: Dataset, device: torch.device, team: Team = ALONE) -> Plan:
    """Decide the whole run. Raises WrongUse when the dataset holds nothing to train or to validate on."""
    data, training = experiment.data, experiment.training
    games = dataset.rows(split="train")
    windows = Windows(
        dataset.num_frames_per_game[games],
        games=games,
        rows=data.rows,
        stride=data.stride_frames,
        seed=training.seed,
        block_frames=data.block_frames,
    )
    if windows.num_windows == 0:
        raise WrongUse(
            f"{dataset.path} has no training game of more than {data.rows - 1} frames ({len(games)} games to train on)",
            "at least one",
            "ingest more games, or show shorter contexts",
        )
    batches = Batches(
        dataset,
        windows,
        training.batch_size,
        device,
        lanes=experiment.lanes,
        team_rank=team.rank,
        team_world=team.world,
    )
    if batches.local_size % training.accumulate:
        raise WrongUse(
            f"training.accumulate {training.accumulate} for {batches.local_size} windows of each process",
            "a divisor of that",
            "change accumulate, batch_size or the number of processes",
        )
    schedule = Schedule.of(training, training.epochs * batches.num_per_epoch * data.carry)
    steps_per_epoch = batches.num_per_epoch * data.carry
    return Plan(
        experiment,
        batches,
        make_validation(dataset, experiment, device, team),
        schedule,
        make_symmetries(experiment, device),
        make_disturbances(experiment, schedule.num_steps, steps_per_epoch, device),
        make_emphasis(experiment, dataset, device),
        device,
        team,
    )


def announce(plan: Plan, state: TrainState, say: Say) -> None:
    """Everything one should know before the first step."""
    experiment, training = plan.experiment, plan.experiment.training
    done = state.step / plan.steps_per_epoch
    left = max(0, plan.num_steps - state.step)
    say(
        f"model {experiment.model.arch}, {state.model.num_parameters():,} parameters, {experiment.model.heads} heads, "
        f"{'bf16' if uses_bf16(training, plan.device) else 'fp32'} on {plan.device}, "
        f"{'compiled' if uses_compile(training, plan.device) else 'not compiled'}"
        f"{', kernels of our own' if training.kernels == 'triton' else ''}"
    )
    for line in describe(plan):
        say(line)
    if state.step:
        say(
            f"resumed at step {state.step:,}: {done:g} of {training.epochs} epochs are done, "
            f"{training.epochs - done:g} to go, {left:,} steps"
        )


def describe(plan: Plan) -> list[str]:
    """Data, order, schedule, disturbances, validation: line by line."""
    training, data = plan.experiment.training, plan.experiment.data
    windows = plan.batches.windows
    lines = [
        f"{data.mode} mode: {data.length} frames shown, loss on {data.length - data.loss_from}; "
        f"{windows.num_windows:,} windows of {len(windows.games):,} games an epoch"
    ]
    if data.carry > 1:
        lines.append(f"a window is {data.carry} steps, the state carried from one to the next")
    lines.append(
        f"{plan.steps_per_epoch:,} steps an epoch of {plan.batches.size:,} windows "
        f"({plan.targets_per_step:,.0f} target frames), {training.epochs} epochs in total, {plan.num_steps:,} steps"
    )
    lines.append(plan.batches.tier.describe())
    if plan.team.world > 1 or training.accumulate > 1:
        lines.append(
            f"every batch is shared by {plan.team.world} processes, {plan.batches.local_size} windows each, "
            f"in {training.accumulate} parts"
        )
    rates = "  ".join(f"{step:,}: {lr:.3g}" for step, lr in plan.schedule.table())
    lines.append(f"learning rate by step  {rates}")
    if training.ema is not None:
        lines.append(f"a running mean of the weights (decay {training.ema:g}) is kept and validated beside them")
    if plan.symmetries is not None:
        lines += plan.symmetries.describe()
    for disturbance in plan.disturbances:
        lines += disturbance.describe()
    if plan.emphasis is not None:
        lines += plan.emphasis.describe()
    masked = missing_fields(plan.batches.dataset)
    lines.append(f"masked where a game lacks it: {', '.join(masked)}" if masked else "every game has every field")
    if plan.validation is None:
        lines.append("NO VALIDATION: training.val_windows is 0")
    else:
        size = "all" if training.val_windows == "all" else f"up to {training.val_windows:,}"
        lines.append(f"validated on {size} windows of {len(plan.validation.games)} held-out games")
    return lines


def missing_fields(dataset: Dataset) -> list[str]:
    """Fields with a head that some games do not record, with the share of games that do."""
    shards = [(dataset.shard(info.number), info.num_games) for info in dataset.manifest.shards]
    out = []
    for row in dict.fromkeys(ELEMENTS):
        have = sum(num_games for shard, num_games in shards if shard.has(column_name(row, PLAYERS[0])))
        if have < dataset.num_games:
            out.append(f"{row.name} ({have / dataset.num_games:.0%} have it)")
    return out
