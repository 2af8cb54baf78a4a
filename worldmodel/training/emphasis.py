"""Weights of rows in the loss: more where the action state changes, and where rare events happen.

Owns: how much a row of a player counts. Must not: say what an event is (that is `schema.events`), or sum a loss.

A row that meets several conditions has the greatest of their weights; one that meets none has 1. An event's weight is
found before the run, on a fixed sample of training windows, such that its rows have the wanted share of all weight
there. Where a replay cannot tell whether an event happened, its rows are not emphasised for it.

Letters: B sequences, T rows, P the two players, K conditions: the change of the action state, then the events.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset
from worldmodel.dynamics.events import events_between
from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout
from worldmodel.nn.frames import Context, DeviceBlock, State, aligned
from worldmodel.schema import LAYOUT
from worldmodel.schema.events import EVENTS
from worldmodel.training.config import Emphasis, Experiment

SAMPLE_FRAMES = 400_000
"""Frames of whole games that the sample is taken from; 80 MB of a block."""
SAMPLE_ROWS = 200_000
"""Rows that count, in the sample, at the most: a death is about one player's row in 3,000."""
SEED = 20260301
"""Of the sample: the same in every run, so that one experiment on one dataset has one set of weights."""

CHANGE = "action_change"
"""Name of the condition that is no event: the action state is another than before."""

_BATCH_ROWS = 16_384
_ROUNDS = 500
_ACTION_STATE = LAYOUT.category("action_state")


@dataclass(frozen=True, slots=True)
class Condition:
    """One reason to emphasise a row. frequency: share of the sample's rows; share: of its weight."""

    name: str
    weight: float
    frequency: float
    share: float
    wanted: float | None

    def describe(self) -> str:
        """One line."""
        rows = f"{1000 * self.frequency:.3g} of 1,000 rows" if self.frequency else "not once in the sample"
        text = f"  {self.name}: {rows}, weight {self.weight:.3g}, {self.share:.1%} of the loss's row weight"
        if self.wanted is not None and abs(self.share - self.wanted) > 0.01 * self.wanted:
            text += f" instead of {self.wanted:.1%}: max_weight or another event's weight is in the way"
        return text


class Emphasizer:
    """Row weights of batches. Made by `make_emphasis`."""

    def __init__(self, conditions: tuple[Condition, ...], num_rows: int) -> None:
        self.conditions, self.num_rows = conditions, num_rows
        self._names = tuple(condition.name for condition in conditions)

    def __call__(self, previous: State, target: State, context: Context) -> Tensor:
        """(B,T,2) float32, from the true frames before and after each row (B,T,2,·). Waits for nothing."""
        met_BTPK = conditions_met(previous, target, context, self._names)
        weight = torch.zeros(met_BTPK.shape[:-1], device=met_BTPK.device)
        for condition, met in zip(self.conditions, met_BTPK.unbind(-1), strict=True):
            weight = torch.maximum(weight, met * condition.weight)
        return torch.where(weight > 0, weight, torch.ones_like(weight))

    def describe(self) -> list[str]:
        """Each condition with its frequency and weight, for people, before the run."""
        head = f"emphasis, as found on {self.num_rows:,} rows of players in training windows; all other rows weigh 1"
        return [head, *(condition.describe() for condition in self.conditions)]


def make_emphasis(experiment: Experiment, dataset: Dataset, device: torch.device | str = "cpu") -> Emphasizer | None:
    """The row weights that an experiment asks for, None if it asks for none. A function of its arguments alone.

    Raises WrongUse for an event that the schema has not, or shares that leave nothing for all other rows.
    """
    settings = experiment.emphasis
    if settings is None or (settings.action_change == 1 and not settings.events):
        return None
    _check(settings)
    wanted = {CHANGE: None, **settings.events} if settings.action_change != 1 else dict(settings.events)
    met_RK, counts = _sample(experiment, dataset, tuple(wanted), device)
    weights = solve_weights(met_RK, counts, list(wanted.values()), settings)
    row = row_weights(met_RK, weights) * counts
    conditions = tuple(
        Condition(
            name, float(weights[k]), float(counts[met_RK[:, k]].sum() / counts.sum()),
            float(row[met_RK[:, k]].sum() / row.sum()), share,
        )
        for k, (name, share) in enumerate(wanted.items())
    )  # fmt: skip
    return Emphasizer(conditions, int(counts.sum()))


def conditions_met(previous: State, target: State, context: Context, names: tuple[str, ...]) -> Tensor:
    """(B,T,2,K) bool: which of the named conditions each row meets. CHANGE, if asked for, is the first."""
    parts = []
    if CHANGE in names:
        parts.append((previous.categories != target.categories)[..., _ACTION_STATE : _ACTION_STATE + 1])
    if events := names[len(parts) :]:
        parts.append(events_between(previous, target, context, events))
    return torch.cat(parts, -1)


def solve_weights(
    met_RK: NDArray[np.bool_], counts_R: NDArray[np.int64], wanted_K: list[float | None], settings: Emphasis
) -> NDArray[np.float64]:
    """Weight of each condition (K,), at most `max_weight`: its rows have the wanted share of all weight.

    Row r stands for `counts_R` rows that meet the same conditions. Wanted is None for the change of the action state,
    whose weight is given. Each event's weight is moved by the ratio of wanted and present odds until all fit; an event
    that never happens in the sample is as rare as can be.
    """
    weights = np.ones(len(wanted_K))
    for k, wanted in enumerate(wanted_K):
        if wanted is None:
            weights[k] = settings.action_change
    for _ in range(_ROUNDS):
        before = weights.copy()
        for k, wanted in enumerate(wanted_K):
            if wanted is None:
                continue
            row_R = row_weights(met_RK, weights) * counts_R
            mine = row_R[met_RK[:, k]].sum()
            rest = row_R.sum() - mine
            weights[k] = min(settings.max_weight, weights[k] * wanted / (1 - wanted) * rest / mine if mine else np.inf)
        if np.allclose(weights, before, rtol=1e-9, atol=0):
            break
    return weights


def row_weights(met_RK: NDArray[np.bool_], weights_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of each row (R,): the greatest of the conditions it meets, 1 if it meets none."""
    found: NDArray[np.float64] = np.where(met_RK, weights_K, 0.0).max(-1, initial=0.0)
    return np.where(found > 0, found, 1.0)


def _check(settings: Emphasis) -> None:
    for name in settings.events:
        if name not in EVENTS:
            near = difflib.get_close_matches(name, EVENTS, 1)
            raise WrongUse(
                f"emphasis.events.{name}",
                f"one of {', '.join(EVENTS)}",
                f"did you mean {near[0]!r}?" if near else "see docs/fields.md, Events",
            )
    if sum(settings.events.values()) >= 1:
        raise WrongUse(
            f"emphasis.events: shares that sum to {sum(settings.events.values()):g}",
            "less than 1",
            "leave something for the rows in which nothing happens",
        )


def _sample(
    experiment: Experiment, dataset: Dataset, names: tuple[str, ...], device: torch.device | str
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Combinations of conditions (R,K) in rows that count of a fixed sample of training windows, and how often each."""
    data, num_rows = experiment.data, experiment.data.length - experiment.data.loss_from
    games = dataset.rows(split="train")
    games = np.random.default_rng(SEED).permutation(games[dataset.num_frames_per_game[games] > data.length])
    if not len(games):
        raise WrongUse(
            f"no training game of more than {data.length} frames to see how often things happen",
            "at least one",
            "ingest more games, or show shorter contexts",
        )
    num_frames = dataset.num_frames_per_game[games]
    num_games = max(1, int(np.searchsorted(num_frames.cumsum(), SAMPLE_FRAMES, side="right")))
    games, num_frames = games[:num_games], num_frames[:num_games]
    windows_W3 = heldout.windows(num_frames, length=data.length, burn_in=data.loss_from)
    windows_W3 = heldout.sample(windows_W3, max(1, SAMPLE_ROWS // (2 * num_rows)), seed=SEED)
    block = DeviceBlock.from_block(load_block(dataset, games), device)
    # Rows before `loss_from` do not count; the one just before is needed to see what changes.
    starts = torch.from_numpy(windows_W3[:, :2] + np.array([0, data.loss_from])).to(device)
    width = len(names)
    bits = 2 ** torch.arange(width, device=starts.device)
    found = torch.zeros(2**width, dtype=torch.int64, device=starts.device)
    for first in range(0, len(starts), max(1, _BATCH_ROWS // (num_rows + 1))):
        part = starts[first : first + max(1, _BATCH_ROWS // (num_rows + 1))]
        states, pads, context = block.gather(part, num_rows + 1)
        previous, _, target = aligned(states, pads)
        word = (conditions_met(previous, target, context, names) * bits).sum(-1)
        found += torch.bincount(word.flatten(), minlength=2**width)
    counts = found.cpu().numpy()
    seen = np.flatnonzero(counts)
    return (seen[:, None] >> np.arange(width)) & 1 != 0, counts[seen]
