"""Which windows of which games make an epoch, and in which order: arithmetic, no index of all frames is ever built.

Owns: the order of samples. Must not: read frames. The order is a pure function of (games, settings, seed, epoch):
never of workers, devices or how often it was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One block: load these games, then take these windows from it, in this order."""

    games: NDArray[np.int64]
    """(G,) game numbers, ascending."""
    starts: NDArray[np.int64]
    """(n, 2): index of the game within `games`, first row of the window within the game."""


class Windows:
    """All windows of `rows` rows over some games.

    num_frames: (G,) frames of each game. games: (G,) their game numbers, in the same order; default 0 .. G-1.
    rows: rows of a window (context + 1: row 0 is only "the state before"). Games shorter than that have none.
    stride: rows from one window's start to the next's. Where the last window of a game leaves rows over, an epoch
    starts its windows at a random phase within them, so that over epochs every row is seen; the number stays.
    block_frames: a block holds at most this many frames, and at least one game. If everything fits there is one
    block with the same games in each epoch; else games are shuffled into blocks anew.
    shuffle: False: games ascending, windows in order, phase 0 (evaluation).
    """

    def __init__(
        self,
        num_frames: NDArray[np.int64],
        *,
        rows: int,
        stride: int,
        seed: int,
        block_frames: int,
        games: NDArray[np.int64] | None = None,
        shuffle: bool = True,
    ) -> None:
        if rows < 1 or stride < 1 or block_frames < 1:
            raise ValueError(f"rows {rows}, stride {stride}, block_frames {block_frames}: all must be at least 1")
        num_frames = np.asarray(num_frames, np.int64)
        games = np.arange(len(num_frames)) if games is None else np.asarray(games, np.int64)
        if games.shape != num_frames.shape:
            raise ValueError(f"{len(games)} game numbers for {len(num_frames)} games")
        long_enough = num_frames >= rows
        order = np.argsort(games[long_enough], kind="stable")
        self.rows, self.stride, self.seed, self.block_frames, self.shuffle = rows, stride, seed, block_frames, shuffle
        self.games: NDArray[np.int64] = games[long_enough][order]
        self.num_frames: NDArray[np.int64] = num_frames[long_enough][order]
        self._num_starts = (self.num_frames - rows) // stride + 1
        self._slack = (self.num_frames - rows) % stride

    @property
    def num_windows(self) -> int:
        """Windows in an epoch, the same in each."""
        return int(self._num_starts.sum())

    def blocks(self, epoch: int) -> Iterator[BlockPlan]:
        """The blocks of an epoch, in order."""
        rng = np.random.default_rng([self.seed, epoch])
        phase = np.zeros_like(self._slack)
        if self.shuffle:
            phase = rng.integers(0, self._slack + 1)
        for block, members in enumerate(self._cut(rng)):
            num_starts = self._num_starts[members]
            which = np.repeat(np.arange(len(members)), num_starts)
            first = np.cumsum(num_starts) - num_starts
            nth = np.arange(len(which)) - first[which]
            starts = np.stack([which, phase[members][which] + nth * self.stride], axis=1)
            if self.shuffle:
                starts = starts[np.random.default_rng([self.seed, epoch, block]).permutation(len(starts))]
            yield BlockPlan(self.games[members], starts)

    def _cut(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Positions in `self.games`, block by block, each ascending."""
        order = np.arange(len(self.games))
        if self.shuffle and self.num_frames.sum() > self.block_frames:
            order = rng.permutation(len(self.games))
        start, frames = 0, 0
        for i, num_frames in enumerate(self.num_frames[order].tolist()):
            if i > start and frames + num_frames > self.block_frames:
                yield np.sort(order[start:i])
                start, frames = i, 0
            frames += num_frames
        if start < len(order):
            yield np.sort(order[start:])
