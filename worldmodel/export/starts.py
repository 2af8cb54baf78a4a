"""Stretches of matches that a graph is judged on: held-out ones of a dataset, or matches made on the spot.

Owns: the choice. Must not: run a model.

Letters: S stretches, R rows of each.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, Split, open_dataset
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, DeviceBlock, Pads, State
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games

_SYNTHETIC_GAMES = 8
_SYNTHETIC_SEED = 20_261_123
_INGESTED_FRAMES = 1850
"""Of a match that is no fragment."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """States and pads (S,R,2,·), context (S,·). about: what they are, for a report."""

    states: State
    pads: Pads
    context: Context
    about: dict[str, object]

    def __len__(self) -> int:
        return self.context.stage.shape[0]


def held_out(dataset: Dataset, *, num: int, rows: int, seed: int) -> Stretches:
    """Stretches of held-out games, a seeded choice. Raises WrongUse if there is no game that is long enough."""
    return _cut(dataset, "val", num=num, rows=rows, seed=seed, kind="held-out games")


def synthetic(*, num: int, rows: int, seed: int) -> Stretches:
    """Stretches of matches that are generated now."""
    with tempfile.TemporaryDirectory() as folder:
        replays, path = Path(folder) / "replays", Path(folder) / "dataset"
        write_games(replays, _SYNTHETIC_GAMES, _SYNTHETIC_SEED + seed, rules=_rules(rows))
        ingest(iter_sources([replays]), path, workers=1)
        return _cut(open_dataset(path), "all", num=num, rows=rows, seed=seed, kind="synthetic matches")


def _rules(rows: int) -> Rules:
    """Of matches that last long enough, for the stretches and for the filters of ingest."""
    return Rules(stocks=4, max_frames=max(_INGESTED_FRAMES, 2 * rows))


def _cut(dataset: Dataset, split: Split, *, num: int, rows: int, seed: int, kind: str) -> Stretches:
    games = dataset.rows(split=split)
    lengths = np.array(dataset.games.take(games)["num_frames"].to_pylist(), np.int64)
    games, lengths = games[lengths >= rows], lengths[lengths >= rows]
    if not len(games):
        raise WrongUse(
            f"{dataset.path} has no held-out game of {rows} frames",
            "at least one",
            "leave --data out, or ask for fewer --frames",
        )
    chance = np.random.default_rng(seed)
    chosen = chance.permutation(np.resize(chance.permutation(len(games)), num))
    used, place = np.unique(chosen, return_inverse=True)
    first = chance.integers(lengths[chosen] - rows + 1)
    block = DeviceBlock.from_block(load_block(dataset, games[used]))
    states, pads, context = block.gather(torch.from_numpy(np.stack([place, first], 1)), rows)
    about: dict[str, object] = {"kind": kind, "content_hash": dataset.content_hash, "games": len(used), "seed": seed}
    return Stretches(states, pads, context, about)
