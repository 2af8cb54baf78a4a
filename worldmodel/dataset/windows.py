"""Which windows of which games make an epoch, and in which order: arithmetic, no index of all frames is ever built.

Owns: the order of samples. Must not: read frames. The order is a pure function of (games, settings, seed, epoch,
lanes): never of processes, devices or how often it was asked.

An epoch is dealt to L lanes. Of the windows of all blocks in a row, window i counts for lane i mod L, so that lanes
differ by one window at most, at any time. Within a block each lane takes that many neighbouring windows, so that it
touches only its share of the games (and one more at each end), and shuffles them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Hand:
    """What some neighbouring lanes take from a block, lane after lane, each in its order."""

    games: NDArray[np.int64]
    """(G,) numbers of the games that hold it, ascending."""
    starts: NDArray[np.int32]
    """(n, 2): index of the game within `games`, first row of the window within the game."""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One block of an epoch: its games, and the windows that they have. The order of these is worked out on demand."""

    games: NDArray[np.int64]
    """(G,) game numbers, ascending."""
    num_frames: int
    num_starts: NDArray[np.int64]
    """(G,) windows of each game."""
    phase: NDArray[np.int64]
    """(G,) first row of each game's first window."""
    stride: int
    begin: int
    """Windows of the epoch before this block."""
    shuffle_seed: tuple[int, ...] | None
    """None: windows stay in order."""

    @property
    def num_windows(self) -> int:
        return int(self.num_starts.sum())

    @property
    def starts(self) -> NDArray[np.int32]:
        """All windows of the block as one lane has them: (n, 2), see `Hand`."""
        return self.hand(1).starts

    def runs(self, lanes: int) -> NDArray[np.int64]:
        """(lanes, 2): first and last+1 place, in each lane's stream over the epoch, of its windows in this block."""
        return np.stack([dealt(self.begin, lanes), dealt(self.begin + self.num_windows, lanes)], axis=1)

    def hand(self, lanes: int, first_lane: int = 0, num_lanes: int | None = None) -> Hand:
        """What `num_lanes` of all `lanes` take, from `first_lane` on; default: all from there."""
        last_lane = lanes if num_lanes is None else first_lane + num_lanes
        runs = self.runs(lanes)
        edges = np.concatenate([[0], np.cumsum(runs[:, 1] - runs[:, 0])])
        low, high = int(edges[first_lane]), int(edges[last_lane])
        # Windows low : high of the block in the order of games; game g has windows ends[g] : ends[g+1].
        ends = np.concatenate([[0], np.cumsum(self.num_starts)])
        first = int(np.searchsorted(ends, low, side="right")) - 1
        last = int(np.searchsorted(ends, high, side="left")) if high > low else first
        counts = np.diff(np.clip(ends[first : last + 1], low, high))
        which = np.repeat(np.arange(last - first, dtype=np.int32), counts)
        nth = np.arange(low, high) - ends[first:last][which]
        starts = np.stack([which, self.phase[first:last][which] + nth * self.stride], axis=1, dtype=np.int32)
        if self.shuffle_seed is not None:
            for lane in range(first_lane, last_lane):
                own = starts[edges[lane] - low : edges[lane + 1] - low]
                own[:] = own[np.random.default_rng([*self.shuffle_seed, lane]).permutation(len(own))]
        return Hand(self.games[first:last], starts)


def dealt(num: int, lanes: int) -> NDArray[np.int64]:
    """(lanes,): how many of the first `num` windows of an epoch count for each lane."""
    return (num + lanes - 1 - np.arange(lanes)) // lanes


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

    @property
    def is_one_block(self) -> bool:
        """Whether all games are one block, the same in each epoch."""
        return len(self.games) < 2 or int(self.num_frames.sum()) <= self.block_frames

    def blocks(self, epoch: int) -> Iterator[BlockPlan]:
        """The blocks of an epoch, in order. Cheap: the order within a block is worked out by `BlockPlan`."""
        rng = np.random.default_rng([self.seed, epoch])
        phase = np.zeros_like(self._slack)
        if self.shuffle:
            phase = rng.integers(0, self._slack + 1)
        begin = 0
        for number, members in enumerate(self._cut(rng)):
            plan = BlockPlan(
                games=self.games[members],
                num_frames=int(self.num_frames[members].sum()),
                num_starts=self._num_starts[members],
                phase=phase[members],
                stride=self.stride,
                begin=begin,
                # From 1, as the generator of [seed, epoch, 0, 0] is that of [seed, epoch], which cuts the blocks.
                shuffle_seed=(self.seed, epoch, 1 + number) if self.shuffle else None,
            )
            begin += plan.num_windows
            yield plan

    def locate(self, epoch: int, lane: int, place: int, lanes: int) -> tuple[int, int] | None:
        """(game number, first row) of a window by its place in a lane's stream. None past the stream's end."""
        for block in self.blocks(epoch):
            begin, end = block.runs(lanes)[lane].tolist()
            if begin <= place < end:
                hand = block.hand(lanes, lane, 1)
                game, row = hand.starts[place - begin].tolist()
                return int(hand.games[game]), row
        return None

    def _cut(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Positions in `self.games`, block by block, each ascending."""
        order = np.arange(len(self.games))
        if self.shuffle and not self.is_one_block:
            order = rng.permutation(len(self.games))
        start, frames = 0, 0
        for i, num_frames in enumerate(self.num_frames[order].tolist()):
            if i > start and frames + num_frames > self.block_frames:
                yield np.sort(order[start:i])
                start, frames = i, 0
            frames += num_frames
        if start < len(order):
            yield np.sort(order[start:])
