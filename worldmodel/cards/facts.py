"""Every number of a card that follows from the experiment and the dataset.

Owns: counts of examples, batches, rows, bytes. Must not: measure anything, know a time (that is `timing`), or decide
how a number is written.

An example is what one loss is about. In window mode that is a window: a game of F frames has F - context_len of them
(stride 1), which is the mission's arithmetic as well. The two systems differ in the split alone: theirs takes the first
nine tenths of the list of games, ours whole match groups by hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.cards.data import DataFacts, Lengths
from worldmodel.dataset.manifest import SplitCount
from worldmodel.dataset.windows import Windows
from worldmodel.models.base import make_model
from worldmodel.runs.card import Card
from worldmodel.training.config import Experiment, find_experiment, load_experiment

ROW_BYTES, VAL_ROW_BYTES = 600, 2000
"""Of a row of metrics with the row of pace that comes with it, and of a validation's, about."""


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
    if data.splits is not None:
        return Examples(*(_starts(data, experiment, of.num_games, of.num_frames) for of in _both(data.splits)))
    total = total_examples(data, experiment).value
    train = round(total * data.train_share)
    return Examples(Count(train, False), Count(total - train, False))


def total_examples(data: DataFacts, experiment: Experiment) -> Count:
    """Windows of all games."""
    if data.lengths is not None:
        return Count(windows_of(data.lengths.num_frames, experiment))
    return _starts(data, experiment, data.num_games, data.num_frames)


def _starts(data: DataFacts, experiment: Experiment, num_games: int, num_frames: int) -> Count:
    """Windows of some games out of totals alone: exact if every start is one and no game is too short for one."""
    rows, stride = experiment.data.rows, experiment.data.stride_frames
    starts = num_frames - (rows - 1) * num_games
    is_exact = stride == 1 and data.min_frames >= rows - 1
    # A game's last stride is half used in the mean.
    expected = starts if stride == 1 else starts / stride + num_games * (1 - 1 / stride) / 2
    return Count(max(0, round(expected)), is_exact)


def _both(splits: Mapping[str, SplitCount]) -> tuple[SplitCount, SplitCount]:
    return splits["train"], splits["val"]


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

    @property
    def num_checkpoints_kept(self) -> int:
        """On the disk at the most: the last ones, one for each epoch, and one more while it is written."""
        training = self.experiment.training
        return training.keep_last + training.epochs + 1

    @property
    def record_bytes(self) -> int:
        """Rows of metrics of the whole run, about."""
        training = self.experiment.training
        rows = self.rows_per_epoch * training.epochs
        return round(ROW_BYTES * rows + VAL_ROW_BYTES * self.validations_per_epoch * training.epochs)


def facts_of(experiment: Experiment, data: DataFacts) -> Facts:
    """Compute. The model is built once to count its parameters."""
    return Facts(
        experiment=experiment,
        data=data,
        num_parameters=make_model(experiment.model).num_parameters(),
        examples=count_examples(data, experiment),
        total=total_examples(data, experiment),
    )


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
