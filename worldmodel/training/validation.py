"""Validation inside a run: the evaluation's own teacher-forced pass, on a fixed sample of held-out windows.

Owns: which sample. Must not: define a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout, teacher_forced
from worldmodel.evaluation.heldout import HELD_OUT, Games
from worldmodel.evaluation.metrics import METRICS, GameSums
from worldmodel.evaluation.suite import baselines
from worldmodel.models.base import WorldModel
from worldmodel.tracking.progress import progress
from worldmodel.training.config import Experiment
from worldmodel.training.device import uses_bf16
from worldmodel.training.team import ALONE, Team

SEED = 20260225
"""Of the sample: the same in every run, so that runs can be compared."""

PREFIX = "val_"
"""Before the name of a metric: "val_change_acc", "val_pos_mae", "val_loss/total"."""


@dataclass(frozen=True, slots=True)
class Validation:
    """A fixed sample of held-out windows of a dataset, for an experiment."""

    dataset: Dataset
    experiment: Experiment
    games: Games
    device: torch.device
    team: Team = ALONE

    def measure(
        self, models: Mapping[str, WorldModel], *, on_progress: Callable[[], None] = lambda: None
    ) -> dict[str, dict[str, float | None]]:
        """Every metric of each model, under its `PREFIX`ed name. All in evaluation mode, with the run's precision.

        on_progress: is called whenever some windows are done.
        """
        data, training = self.experiment.data, self.experiment.training
        bf16 = uses_bf16(training, self.device)
        max_windows = None if training.val_windows == "all" else training.val_windows
        total = max_windows and max_windows * len(models) // self.team.world
        with (
            progress("validating", total, unit="windows") if self.team.is_lead else nullcontext() as bar,
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16),
        ):

            def tick(num_windows: int) -> None:
                on_progress()
                if bar is not None:
                    bar.advance(num_windows)

            found = teacher_forced.evaluate(
                models,
                self.dataset,
                self.games,
                length=data.length,
                burn_in=data.loss_from,
                weights=self.experiment.weights,
                max_windows=max_windows,
                seed=SEED,
                device=self.device,
                tick=tick,
                part=(self.team.rank, self.team.world),
            )
        return {
            name: {PREFIX + metric: value for metric, value in self._of_all(sums).overall().items()}
            for name, sums in found.models.items()
        }

    def _of_all(self, sums: GameSums) -> GameSums:
        """Sums over the games of all processes: each game has one that looked at it, so the order changes no bit."""
        for array in (sums.numerator, sums.denominator):
            self.team.sum_on_host(torch.from_numpy(array))
        return sums

    def baselines(self, *, on_progress: Callable[[], None] = lambda: None) -> dict[str, dict[str, float | None]]:
        """Every metric of each naive model, on the same windows."""
        models = {name: model.to(self.device) for name, model in baselines().items()}
        return self.measure(models, on_progress=on_progress)


def make_validation(
    dataset: Dataset, experiment: Experiment, device: torch.device, team: Team = ALONE
) -> Validation | None:
    """The sample of a run; None if `val_windows` is 0. Raises WrongUse if no held-out game is long enough.

    Its games are a seeded choice that fits into one block of memory; with `val_windows: all` they are all there are.
    """
    if experiment.training.val_windows == 0:
        return None
    long_enough = [
        number
        for number in dataset.rows(split=HELD_OUT).tolist()
        if dataset.num_frames_per_game[number] > experiment.data.length
    ]
    if not long_enough:
        raise WrongUse(
            f"{dataset.path} has no held-out game of more than {experiment.data.length} frames",
            "at least one to validate on (about one match in ten is held out)",
            "ingest more games, or set training.val_windows=0 to train without validation",
        )
    games = heldout.choose_games(dataset)
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(np.isin(games.num, long_enough)))
    fits = np.cumsum(games.num_frames[order]) <= min(heldout.BLOCK_FRAMES, experiment.data.block_frames)
    if experiment.training.val_windows == "all":
        fits[:] = True
    chosen = np.sort(order[fits]) if fits.any() else order[:1]
    return Validation(dataset, experiment, _only(games, chosen), device, team)


def beaten(values: Mapping[str, float | None], naive: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Metrics in which the model is *not* better than every naive model, of those that both have."""
    worse = []
    for metric in METRICS:
        name = PREFIX + metric.name
        mine = values.get(name)
        others = [value for baseline in naive.values() if (value := baseline.get(name)) is not None]
        if mine is None or not others:
            continue
        best = max(others) if metric.better == "higher" else min(others)
        if not (mine > best if metric.better == "higher" else mine < best):
            worse.append(name)
    return worse


def _only(games: Games, places: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Games:
    return Games(
        games.num[places],
        [games.id[place] for place in places],
        games.num_frames[places],
        [games.stage[place] for place in places],
        [games.character[place] for place in places],
    )
