"""Where rollouts start: frozen lists of (game, row), a function of the seed, the games and the settings alone.

Owns: the kinds of starts, the choice within each, the digest of all. Must not: run a model.

A row is the last one that is given; the first dreamed one follows it. Starts do not depend on how much history a model
wants, so that models of any context are measured on the same ones.

Letters: S starts, E events.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.events import events_of
from worldmodel.dataset.store import Dataset
from worldmodel.evaluation.heldout import Games
from worldmodel.schema.events import EVENTS

EARLIEST_ROW = 130
"""No start before it: through the first 123 rows of a replay nobody can act."""

LEAD_FRAMES = 10
"""Conditioned starts lie so many frames before their event: the rollout has to produce it."""

EVENT_HORIZON = 30
"""Frames of a conditioned rollout."""

REFERENCE_SEEDS, REFERENCE_SEED, REFERENCE_HORIZON = 300, 42, 20
"""The reference's own scheme for rollout coherence."""


@dataclass(frozen=True, slots=True)
class Starts:
    """One list. at: (S, 2) int64, place of the game and row, sorted. event: (S, 2) int64 of conditioned ones, number
    of the event in `EVENTS` and its player; else empty (0, 2)."""

    horizon: int
    at: NDArray[np.int64]
    event: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)


def uniform(games: Games, *, num_starts: int, earliest: int, horizon: int, seed: int) -> Starts:
    """Spread evenly over games, uniform within each.

    A game's rows depend on the seed, its id and how many are taken, on no other game. Games of fewer than
    earliest + horizon + 1 frames cannot be used; with more games than starts, a seeded choice of games has one each;
    short games may have fewer than their share.
    """
    usable = np.flatnonzero(games.num_frames > earliest + horizon)
    if not len(usable) or not num_starts:
        return Starts(horizon, _none(), _none())
    share, rest = divmod(num_starts, len(usable))
    extra = set(np.random.default_rng(seed).permutation(usable)[:rest].tolist())
    parts = []
    for place in usable.tolist():
        choices = int(games.num_frames[place]) - horizon - earliest
        take = min(share + (place in extra), choices)
        generator = np.random.default_rng([seed, *games.id[place].encode()])
        rows = earliest + np.sort(generator.choice(choices, size=take, replace=False))
        parts.append(np.stack([np.full(take, place), rows], 1))
    return Starts(horizon, np.concatenate(parts), _none())


def before_events(
    dataset: Dataset, games: Games, *, num_starts: int, earliest: int, horizon: int = EVENT_HORIZON, seed: int
) -> Starts:
    """`LEAD_FRAMES` before an event of a player: at most `num_starts` of each kind, a seeded choice of all that are.

    Each event has its lot by the seed and its game's id; those with the lowest are taken.
    """
    ats, lots = [], []
    for place, number in enumerate(games.num.tolist()):
        happened_TPE, _ = events_of(dataset.game(number))
        row, player, event = np.nonzero(happened_TPE)
        start = row - LEAD_FRAMES
        fits = (start >= earliest) & (start + horizon < games.num_frames[place])
        lot = np.random.default_rng([seed, *games.id[place].encode(), 1]).random(len(row))
        ats.append(np.stack([np.full(int(fits.sum()), place), start[fits], event[fits], player[fits]], 1))
        lots.append(lot[fits])
    found, lot = np.concatenate(ats).reshape(-1, 4), np.concatenate(lots)
    chosen = []
    for kind in range(len(EVENTS)):
        members = np.flatnonzero(found[:, 2] == kind)
        chosen.append(members[np.argsort(lot[members], kind="stable")[:num_starts]])
    picked = found[np.concatenate(chosen)]
    picked = picked[np.lexsort(picked.T[::-1])]
    return Starts(horizon, picked[:, :2], picked[:, 2:])


def of_the_reference(games: Games, *, earliest: int) -> Starts:
    """300 draws of a held-out game and a frame of it, seed 42, with replacement: its games may repeat, ours are those
    of the held-out split, which stands for its "last tenth of the games"."""
    usable = np.flatnonzero(games.num_frames > earliest + REFERENCE_HORIZON)
    if not len(usable):
        return Starts(REFERENCE_HORIZON, _none(), _none())
    generator = np.random.default_rng(REFERENCE_SEED)
    place = generator.choice(usable, size=REFERENCE_SEEDS)
    row = generator.integers(earliest, games.num_frames[place] - REFERENCE_HORIZON)
    at = np.stack([place, row], 1)
    return Starts(REFERENCE_HORIZON, at[np.lexsort(at.T[::-1])], _none())


def digest(content_hash: str, games: Games, lists: Mapping[str, Starts]) -> str:
    """One hash of the data, and of every list: game ids, rows, events and horizons."""
    told = {
        name: [starts.horizon, [[games.id[place], row] for place, row in starts.at.tolist()], starts.event.tolist()]
        for name, starts in lists.items()
    }
    text = json.dumps([content_hash, told], separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _none() -> NDArray[np.int64]:
    return np.zeros((0, 2), np.int64)
