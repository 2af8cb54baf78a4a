"""Batches of training windows on the device, in an order that depends on (seed, epoch, lanes) alone.

Owns: how windows of successive blocks become batches of one size. Must not: decide the order (that is `Windows`).

A batch of B windows is L lanes of b = B / L windows, in lane order. Each lane is one stream of windows over an epoch,
block after block; batch k takes windows k*b .. (k+1)*b - 1 of every lane, whether or not they straddle blocks. Of W
processes, number r holds lanes r*L/W .. (r+1)*L/W - 1, which are neighbouring slots of the batch, and reads no more
games than these touch. So neither blocks nor processes change what is in a batch.

The last batch of an epoch is filled up with repetitions whose `Context` says that nothing is present: they count
nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.rows import ROW
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import BlockPlan, Windows, dealt
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, DeviceBlock, Pads, State, bit_lookup, decode
from worldmodel.schema import LAYOUT
from worldmodel.training.tier import Home, Tier, choose_tier, read_ahead

Batch = tuple[State, Pads, Context]
"""State (B,rows,2,·), Pads (B,rows,2,·), Context (B,·)."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A block, and the windows that this process's lanes take from it. Row i is for batch `first_batch` + i."""

    block: DeviceBlock
    first_batch: int
    full: list[bool]
    """Whether the batch is all of this block."""
    has: NDArray[np.bool_]
    """(batches, local size)."""
    first: Tensor
    """(batches, local size) int32: first row in the block; beside its words."""
    game: Tensor
    """(batches, local size) int32: index of the game in the block; on the device."""

    def used_here(self) -> None:
        """Say that this thread's stream uses what another stream made, so that it is not freed under its kernels."""
        block = self.block
        context = block.context
        for tensor in (
            block.words, block.offsets, block.lookup, self.first, self.game,
            context.stage, context.present_numbers, context.present_categories, context.present_flags,
        ):  # fmt: skip
            if tensor.is_cuda:
                tensor.record_stream(torch.cuda.current_stream(tensor.device))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some slots of a batch."""

    slots: NDArray[np.int64]
    words: Tensor
    context: Context


class Batches:
    """All batches of a split, as far as one of `team_world` processes holds them.

    home: "device" or "host" instead of what memory suggests. Raises WrongUse if the processes cannot share the lanes.
    """

    def __init__(
        self,
        dataset: Dataset,
        windows: Windows,
        batch_size: int,
        device: torch.device,
        *,
        lanes: int,
        team_rank: int = 0,
        team_world: int = 1,
        home: Home | None = None,
    ) -> None:
        if batch_size % lanes:
            raise ValueError(f"{lanes} lanes do not divide a batch of {batch_size}")
        if lanes % team_world:
            raise WrongUse(
                f"{team_world} processes for {lanes} lanes of a batch",
                "a number of processes that divides the lanes",
                f"start fewer processes, or set data.lanes to a multiple of {team_world} in a new run",
            )
        self.dataset, self.windows, self.device, self.lanes = dataset, windows, device, lanes
        self.team_rank, self.team_world, self.home = team_rank, team_world, home
        self.size = batch_size
        """Windows of one batch, of all processes."""
        self.local_size = batch_size // team_world
        """Windows of one batch that this process holds."""
        self.first_slot = team_rank * self.local_size
        """Place of the first of them in the batch."""
        self.lane_size = batch_size // lanes
        self._num_lanes = lanes // team_world
        self._first_lane = team_rank * self._num_lanes
        self._ends = dealt(windows.num_windows, lanes)[self._first_lane :][: self._num_lanes]
        self._resident: tuple[NDArray[np.int64], DeviceBlock] | None = None

    @property
    def num_per_epoch(self) -> int:
        """Batches in an epoch, the same in each."""
        return -(-self.windows.num_windows // self.size)

    @cached_property
    def tier(self) -> Tier:
        """Where blocks lie, decided by the memory that is free when this is first asked for."""
        return choose_tier(self.windows, self.device, share=1 / self.team_world, home=self.home)

    def epoch(self, epoch: int, *, first_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from `first_batch` on. Blocks before it are not read.

        Raises NotADataset if a file that is read is not what the manifest says.
        """
        blocks = [block for block in self.windows.blocks(epoch) if self._reach(block) > first_batch * self.lane_size]
        loads = [partial(self._load, block, first_batch) for block in blocks]
        pieces: dict[int, list[_Piece]] = {}
        with closing(self._loaded(loads)) as found:
            for loaded in found:
                loaded.used_here()
                for i, is_full in enumerate(loaded.full):
                    batch = loaded.first_batch + i
                    if is_full:
                        words = loaded.block.cut(loaded.first[i], self.windows.rows)
                        yield self._finished(batch, words, loaded.block.context_of(loaded.game[i]))
                        continue
                    if len(slots := np.flatnonzero(loaded.has[i])):
                        pieces.setdefault(batch, []).append(self._piece(loaded, i, slots))
                    if batch in pieces and sum(len(piece.slots) for piece in pieces[batch]) == self.local_size:
                        yield self._joined(batch, pieces.pop(batch))
                # Let go of before the next one but one is read.
                del loaded
        last = self.num_per_epoch - 1
        if first_batch <= last and any(self._ends == 0):
            # Lanes without any window: there are fewer windows than lanes, and one batch.
            held = pieces.pop(last, [])
            yield self._joined(last, [*held, self._nothing(held)])
        assert not pieces, "every batch is whole"

    def locate(self, epoch: int, batch: int, slot: int) -> tuple[int, int] | None:
        """(game number, first row) of the window in a slot of a batch; None for one that only fills the batch up."""
        if not (0 <= batch < self.num_per_epoch and 0 <= slot < self.size):
            raise ValueError(f"batch {batch} of {self.num_per_epoch}, slot {slot} of {self.size}")
        lane, within = divmod(slot, self.lane_size)
        return self.windows.locate(epoch, lane, batch * self.lane_size + within, self.lanes)

    # ---- blocks ------------------------------------------------------------------------------------------------

    def _own_runs(self, block: BlockPlan) -> NDArray[np.int64]:
        """(own lanes, 3): first and last+1 place of a lane's windows in a block, and where its slots end.

        The last block that a lane has windows in also fills the lane's last batch.
        """
        runs = block.runs(self.lanes)[self._first_lane :][: self._num_lanes]
        ends_here = (runs[:, 1] == self._ends) & (runs[:, 0] < runs[:, 1])
        reach = np.where(ends_here, self.num_per_epoch * self.lane_size, runs[:, 1])
        return np.concatenate([runs, reach[:, None]], axis=1)

    def _reach(self, block: BlockPlan) -> int:
        """Last+1 place that a block fills in any lane of this process; 0 if none."""
        runs = self._own_runs(block)
        return int(np.where(runs[:, 0] < runs[:, 1], runs[:, 2], 0).max())

    def _loaded(self, loads: Sequence[Callable[[], _Loaded]]) -> Generator[_Loaded]:
        if self.tier.streamed:
            yield from read_ahead(loads)
        else:
            yield from (load() for load in loads)

    def _load(self, plan: BlockPlan, first_batch: int) -> _Loaded:
        """Read a block as far as this process needs it, and lay out its windows as batches."""
        b = self.lane_size
        hand = plan.hand(self.lanes, self._first_lane, self._num_lanes)
        runs = self._own_runs(plan)
        holds = runs[:, 0] < runs[:, 1]
        low = max(first_batch, int(runs[holds, 0].min()) // b)
        high = -(-int(runs[holds, 2].max()) // b)
        block = self._block(hand.games)
        offsets = np.concatenate([[0], np.cumsum(self.dataset.num_frames_per_game[hand.games])])
        game_LP = np.full((self._num_lanes, (high - low) * b), -1, np.int32)
        first_LP = np.full_like(game_LP, -1)
        taken = 0
        for lane, (begin, end, reach) in enumerate(runs.tolist()):
            starts = hand.starts[taken : taken + end - begin]
            taken += end - begin
            if begin == end:
                continue
            places = np.arange(max(begin, low * b), reach)
            game_n, row_n = starts[np.minimum(places, end - 1) - begin].T
            game_LP[lane, places - low * b] = game_n
            first_LP[lane, places - low * b] = offsets[game_n] + row_n

        def by_batch(of_lanes: NDArray[np.int32]) -> NDArray[np.int32]:
            return of_lanes.reshape(self._num_lanes, high - low, b).swapaxes(0, 1).reshape(high - low, self.local_size)

        first = by_batch(first_LP)
        has = first >= 0
        with self._beside_training():
            return _Loaded(
                block=block,
                first_batch=low,
                full=np.asarray(has.all(1)).tolist(),
                has=has,
                first=torch.from_numpy(first).to(block.words.device),
                game=torch.from_numpy(by_batch(game_LP)).to(self.device),
            )

    def _block(self, games: NDArray[np.int64]) -> DeviceBlock:
        if self._resident is not None and np.array_equal(self._resident[0], games):
            return self._resident[1]
        block = load_block(self.dataset, games)
        with self._beside_training():
            found = DeviceBlock.from_block(block, self.device, on_host=self.tier.name == "host")
        if not self.tier.streamed:
            self._resident = games, found
        return found

    @contextmanager
    def _beside_training(self) -> Iterator[None]:
        """Copy to the device on a stream of its own: on the training's, copies would wait for steps and steps for them.

        What was copied is there at the end of the context.
        """
        if self.device.type != "cuda":
            yield
            return
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            yield
        stream.synchronize()

    # ---- batches -----------------------------------------------------------------------------------------------

    @cached_property
    def _lookup(self) -> Tensor:
        return bit_lookup(self.device)

    def _finished(self, batch: int, words: Tensor, context: Context) -> Batch:
        """Decode, and hide what only fills up."""
        states, pads = decode(words, self._lookup)
        if batch == self.num_per_epoch - 1:
            place_LP = batch * self.lane_size + np.arange(self.lane_size)
            is_real = place_LP < self._ends[:, None]
            if not is_real.all():
                real = torch.from_numpy(is_real.reshape(-1, 1)).to(self.device)
                context = Context(
                    context.stage,
                    context.present_numbers & real,
                    context.present_categories & real,
                    context.present_flags & real,
                )
        return states, pads, context

    def _piece(self, loaded: _Loaded, i: int, slots: NDArray[np.int64]) -> _Piece:
        chosen = torch.from_numpy(slots)
        block, first, game = loaded.block, loaded.first[i], loaded.game[i]
        words = block.cut(first[chosen.to(first.device)], self.windows.rows)
        return _Piece(slots, words, block.context_of(game[chosen.to(game.device)]))

    def _nothing(self, held: list[_Piece]) -> _Piece:
        """Zeros for all slots that no piece holds."""
        slots = np.setdiff1d(np.arange(self.local_size), [slot for piece in held for slot in piece.slots])
        num = len(slots)

        def absent(count: int) -> Tensor:
            return torch.zeros(num, count, dtype=torch.bool, device=self.device)

        return _Piece(
            slots,
            torch.zeros(num, self.windows.rows, ROW.num_words, dtype=torch.int64, device=self.device),
            Context(
                torch.zeros(num, dtype=torch.int64, device=self.device),
                absent(len(LAYOUT.numbers)),
                absent(len(LAYOUT.categories)),
                absent(len(LAYOUT.flag_bits)),
            ),
        )

    def _joined(self, batch: int, pieces: list[_Piece]) -> Batch:
        """A batch of pieces from several blocks, its slots in order."""
        order = torch.from_numpy(np.argsort(np.concatenate([piece.slots for piece in pieces]))).to(self.device)

        def join(tensors: list[Tensor]) -> Tensor:
            return torch.cat(tensors).index_select(0, order)

        contexts = [piece.context for piece in pieces]
        return self._finished(
            batch,
            join([piece.words for piece in pieces]),
            Context(
                join([context.stage for context in contexts]),
                join([context.present_numbers for context in contexts]),
                join([context.present_categories for context in contexts]),
                join([context.present_flags for context in contexts]),
            ),
        )
