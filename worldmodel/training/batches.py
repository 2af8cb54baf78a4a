"""Batches of training windows on the device, in an order that depends on (seed, epoch) alone.

Owns: how windows of successive blocks become batches of one size. Must not: decide the order (that is `Windows`).

An epoch is one stream of windows, block after block; batch k is windows k*B .. (k+1)*B - 1 of it, whether or not they
straddle blocks. What is left at the end of an epoch and does not fill a batch is left out; fewer windows than one
batch are one small batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import Windows
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, DeviceBlock, Pads, State

Batch = tuple[State, Pads, Context]
"""State (B,rows,2,·), Pads (B,rows,2,·), Context (B,·)."""


@dataclass(frozen=True, slots=True)
class Batches:
    """All batches of a split."""

    dataset: Dataset
    windows: Windows
    batch_size: int
    device: torch.device
    lanes: int = field(default=1, kw_only=True)
    team_rank: int = field(default=0, kw_only=True)
    team_world: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        if self.lanes % self.team_world:
            raise WrongUse(
                f"{self.team_world} processes for {self.lanes} lanes of a batch",
                "a number of processes that divides the lanes",
                f"start fewer processes, or set data.lanes to a multiple of {self.team_world} in a new run",
            )

    @property
    def local_size(self) -> int:
        """Windows of one batch that this process holds."""
        return self.size // self.team_world

    @property
    def first_slot(self) -> int:
        """Place of the first of them in the batch."""
        return self.team_rank * self.local_size

    @property
    def num_per_epoch(self) -> int:
        """Batches in an epoch, the same in each."""
        return max(1, self.windows.num_windows // self.batch_size)

    @property
    def size(self) -> int:
        """Windows of one batch."""
        return min(self.batch_size, self.windows.num_windows)

    def epoch(self, epoch: int, *, first_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from `first_batch` on. Blocks before it are not read."""
        begin, end = first_batch * self.size, self.num_per_epoch * self.size
        held: list[Batch] = []
        num_held = position = 0
        for plan in self.windows.blocks(epoch):
            low, high = max(begin, position), min(end, position + len(plan.starts))
            starts = plan.starts[low - position : max(0, high - position)] if high > low else plan.starts[:0]
            position += len(plan.starts)
            if not len(starts):
                continue
            block = DeviceBlock.from_block(load_block(self.dataset, plan.games), self.device)
            starts_n2 = torch.from_numpy(starts).to(self.device)
            taken = 0
            while taken < len(starts):
                piece = starts_n2[taken : taken + self.size - num_held]
                held.append(block.gather(piece, self.windows.rows))
                taken, num_held = taken + len(piece), num_held + len(piece)
                if num_held == self.size:
                    yield held[0] if len(held) == 1 else _joined(held)
                    held, num_held = [], 0
            # Freed before the next one is read: one block at a time is what memory is planned for.
            del block, starts_n2
        assert not held, "the last batch of an epoch is whole"


def _joined(parts: list[Batch]) -> Batch:
    """Pieces of one batch that came from several blocks."""

    def cat(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors, 0)

    states, pads, contexts = zip(*parts, strict=True)
    return (
        State(cat([s.numbers for s in states]), cat([s.categories for s in states]), cat([s.flags for s in states])),
        Pads(cat([p.numbers for p in pads]), cat([p.buttons for p in pads])),
        Context(
            cat([c.stage for c in contexts]),
            cat([c.present_numbers for c in contexts]),
            cat([c.present_categories for c in contexts]),
            cat([c.present_flags for c in contexts]),
        ),
    )
