"""Every number of a card that follows from the experiment and the dataset.

Owns: counts of examples, batches, rows, checkpoints; times and costs out of a step's time. Must not: measure anything,
or decide how a number is written.

An example is what one loss is about. In window mode that is a window: a game of F frames has F - context_len of them
(stride 1), which is the mission's arithmetic as well. The two systems differ in the split alone: theirs takes the first
nine tenths of the list of games, ours whole match groups by hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.cards.data import DataFacts, Lengths
from worldmodel.dataset.windows import Windows
from worldmodel.models.base import make_model
from worldmodel.runs.card import Card, Estimate
from worldmodel.runs.prices import Price
from worldmodel.training.config import Experiment, find_experiment, load_experiment


@dataclass(frozen=True, slots=True)
class Count:
    """A number, and whether it is exact or the expected value of one that is not known yet."""

    value: int
    is_exact: bool = True

    def __str__(self) -> str:
        return f"{self.value:,}" if self.is_exact else f"about {self.value:,}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A card's experiment. as_shipped: the file without the card's overrides."""

    path: Path
    experiment: Experiment
    as_shipped: Experiment
    overrides: tuple[str, ...]


def resolve(card: Card) -> Resolved:
    """The experiment that a card speaks of. Its interval of checkpoints stands over the file's. Raises WrongUse."""
    path = find_experiment(card.config)
    as_shipped = load_experiment(path)
    overrides = list(card.overrides)
    experiment = load_experiment(path, overrides=overrides) if overrides else as_shipped
    if experiment.training.checkpoint_every_min != card.checkpoints.every_min:
        overrides.append(f"training.checkpoint_every_min={card.checkpoints.every_min:g}")
        experiment = load_experiment(path, overrides=overrides)
    return Resolved(path, experiment, as_shipped, tuple(overrides))


def windows_of(lengths: NDArray[np.int64], experiment: Experiment) -> int:
    """Windows of an epoch over games of these lengths: training's own arithmetic."""
    data = experiment.data
    return Windows(
        lengths, rows=data.rows, stride=data.stride_frames, seed=0, block_frames=data.block_frames
    ).num_windows


@dataclass(frozen=True, slots=True)
class Examples:
    """Windows of each split."""

    train: Count
    val: Count

    @property
    def total(self) -> Count:
        """Exact in more cases than its parts: without a known split the sum over all games may still be."""
        return Count(self.train.value + self.val.value, self.train.is_exact)


def count_examples(data: DataFacts, experiment: Experiment, lengths: Lengths | None = None) -> Examples:
    """Windows of both splits, exact where lengths are known. lengths: another split than the dataset's own."""
    lengths = lengths or data.lengths
    if lengths is not None:
        train, val = (windows_of(lengths.of(split), experiment) for split in ("train", "val"))
        return Examples(Count(train), Count(val))
    total = total_examples(data, experiment).value
    train = round(total * data.train_share)
    return Examples(Count(train, False), Count(total - train, False))


def total_examples(data: DataFacts, experiment: Experiment) -> Count:
    """Windows of all games. From totals alone it is exact if every start is one and no game is too short for one."""
    if data.lengths is not None:
        return Count(windows_of(data.lengths.num_frames, experiment))
    rows, stride = experiment.data.rows, experiment.data.stride_frames
    starts = data.num_frames - (rows - 1) * data.num_games
    is_exact = stride == 1 and data.min_frames >= rows - 1
    # A game's last stride is half used in the mean.
    expected = starts if stride == 1 else starts / stride + data.num_games * (1 - 1 / stride) / 2
    return Count(max(0, round(expected)), is_exact)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known before a run starts, but for its times."""

    experiment: Experiment
    data: DataFacts
    num_parameters: int
    examples: Examples
    total: Count

    @property
    def batches_per_epoch(self) -> Count:
        """Batches; the last one of an epoch may be filled up."""
        train = self.examples.train
        return Count(-(-train.value // self.experiment.training.batch_size), train.is_exact)

    @property
    def steps_per_epoch(self) -> Count:
        """Updates of the weights: a batch of carried sequences is several."""
        batches = self.batches_per_epoch
        return Count(batches.value * self.experiment.data.carry, batches.is_exact)

    @property
    def num_steps(self) -> Count:
        """Of the whole run: epochs are totals."""
        steps = self.steps_per_epoch
        return Count(steps.value * self.experiment.training.epochs, steps.is_exact)

    @property
    def targets_per_window(self) -> int:
        """Frames of a window that have a loss."""
        data = self.experiment.data
        return data.rows - 1 - data.loss_from

    @property
    def rows_per_epoch(self) -> float:
        """Rows of metrics: each is the mean of `log_every_steps` steps, so a run has the same rows at any speed."""
        return self.steps_per_epoch.value / self.experiment.training.log_every_steps

    @property
    def validations_per_epoch(self) -> int:
        """Looks at the held-out sample."""
        training = self.experiment.training
        return 0 if training.val_windows == 0 else max(1, round(1 / training.val_every_fraction))

    @property
    def validated(self) -> Count:
        """Windows of a look at the held-out sample."""
        asked, there = self.experiment.training.val_windows, self.examples.val
        return there if asked == "all" else Count(min(asked, there.value), there.is_exact or asked < there.value)

    @property
    def checkpoint_bytes(self) -> int:
        """Of one checkpoint: weights twice (state, and for use), two moments; with a running mean two more copies."""
        copies = 4 + (2 if self.experiment.training.ema is not None else 0)
        return 4 * copies * self.num_parameters


def facts_of(experiment: Experiment, data: DataFacts) -> Facts:
    """Compute. The model is built once to count its parameters."""
    return Facts(
        experiment=experiment,
        data=data,
        num_parameters=make_model(experiment.model).num_parameters(),
        examples=count_examples(data, experiment),
        total=total_examples(data, experiment),
    )


# ---- times -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timing:
    """What follows from a step's time. All in seconds and US dollars; usd is None without a price."""

    facts: Facts
    estimate: Estimate
    usd_per_hour: float | None
    pessimistic_factor: float

    @property
    def epoch_s(self) -> float:
        return self.facts.steps_per_epoch.value * self.estimate.batch_s

    @property
    def training_s(self) -> float:
        return self.facts.num_steps.value * self.estimate.batch_s

    @property
    def total_s(self) -> float:
        """From the start of the process to its end."""
        return self.training_s + self.estimate.load_s

    @property
    def pessimistic_s(self) -> float:
        return self.total_s * self.pessimistic_factor

    @property
    def usd(self) -> float | None:
        return None if self.usd_per_hour is None else self.total_s / 3600 * self.usd_per_hour

    @property
    def pessimistic_usd(self) -> float | None:
        return None if self.usd is None else self.usd * self.pessimistic_factor

    @property
    def between_rows_s(self) -> float:
        """From one row of metrics to the next."""
        return self.facts.experiment.training.log_every_steps * self.estimate.batch_s

    @property
    def between_lines_s(self) -> float:
        """From one line on the screen to the next: they go by the clock, and never within a step."""
        return max(self.facts.experiment.training.log_every_s, self.estimate.batch_s)

    @property
    def lines_per_epoch(self) -> float:
        return self.epoch_s / self.between_lines_s

    @property
    def num_checkpoints(self) -> int:
        """Written over the run: by the clock, at each epoch's end, and the first."""
        training = self.facts.experiment.training
        return 1 + training.epochs + int(self.training_s / (60 * training.checkpoint_every_min))


def timing_of(facts: Facts, card: Card, price: Price | None) -> Timing | None:
    """None if the card has no step time yet."""
    if card.estimate is None:
        return None
    usd_per_hour = card.backend.usd_per_hour or (price.usd_per_hour if price else None)
    return Timing(facts, card.estimate, usd_per_hour, card.budget.pessimistic_factor)


# ---- commands ----------------------------------------------------------------------------------------------------


def launch_words(card: Card, resolved: Resolved) -> Sequence[str]:
    """The command that starts a card's run, word by word. Only the mission's own is spelled out."""
    if card.backend.name == "modal":
        words = ["modal", "run", "--detach", MODAL_DOOR, "--encoded-file", _data_path(card)]
        return [*words, "--epochs", str(resolved.experiment.training.epochs), "--run-name", card.run]
    return ["worldmodel", "card", "launch", card.run]


def resume_words(card: Card, resolved: Resolved) -> Sequence[str]:
    """The command that goes on with a card's run from its newest whole checkpoint. Epochs are totals."""
    if card.backend.name == "modal":
        words = ["modal", "run", "--detach", MODAL_DOOR, "--resume", card.run]
        words += ["--encoded-file", _data_path(card)]
        return [*words, "--epochs", str(resolved.experiment.training.epochs)]
    return ["worldmodel", "launch", "--resume", card.run]


def _data_path(card: Card) -> str:
    return card.data.on_backend or card.data.path or "DATASET"


MODAL_DOOR = "worldmodel/scripts/modal_train.py::train"
"""Path of the mission's card, word for word."""
