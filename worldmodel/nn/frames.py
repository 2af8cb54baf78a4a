"""Frames as tensors: what a state, a pad and a game's constants look like on a device, and how windows are cut.

Owns: the tensor forms and the alignment of state and pad (`aligned`). Must not: scale, embed or decode anything.

Letters: B sequences, T rows, N numbers, C categories, NF flags, A pad numbers, NB buttons.
The axis of size 2 is the player (p0, p1). Orders along N, C, NF, A, NB are those of `LAYOUT`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldmodel.schema import LAYOUT

if TYPE_CHECKING:
    from worldmodel.dataset.blocks import Block

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class State:
    """What the game holds after a frame: numbers (...,2,N) in the units of the schema, codec codes (...,2,C) int64,
    flags (...,2,NF) bool. What a game's replay lacks is 0 here and said to be missing by `Context`."""

    numbers: Tensor
    categories: Tensor
    flags: Tensor

    def map(self, function: Map) -> State:
        """The same function on each tensor."""
        return State(function(self.numbers), function(self.categories), function(self.flags))

    def __getitem__(self, index: Any) -> State:
        """Index leading axes: `states[:, :-1]`, `states[:, 0]`. Never reaches the player axis unless asked to."""
        return State(self.numbers[index], self.categories[index], self.flags[index])

    def to(self, device: torch.device | str) -> State:
        return self.map(lambda tensor: tensor.to(device))

    def double(self) -> State:
        """Numbers in float64, for exactness tests."""
        return State(self.numbers.double(), self.categories, self.flags)


@dataclass(frozen=True, slots=True)
class Pads:
    """Both controllers in a frame: numbers (...,2,A), buttons (...,2,NB) bool."""

    numbers: Tensor
    buttons: Tensor

    def map(self, function: Map) -> Pads:
        return Pads(function(self.numbers), function(self.buttons))

    def __getitem__(self, index: Any) -> Pads:
        return Pads(self.numbers[index], self.buttons[index])

    def to(self, device: torch.device | str) -> Pads:
        return self.map(lambda tensor: tensor.to(device))

    def double(self) -> Pads:
        return Pads(self.numbers.double(), self.buttons)


@dataclass(frozen=True, slots=True)
class Context:
    """What is constant over a sequence: the stage's code (B,) int64, and which fields its replay has (B,·) bool."""

    stage: Tensor
    present_numbers: Tensor
    present_categories: Tensor
    present_flags: Tensor

    def map(self, function: Map) -> Context:
        return Context(
            function(self.stage),
            function(self.present_numbers),
            function(self.present_categories),
            function(self.present_flags),
        )

    def __getitem__(self, index: Any) -> Context:
        return self.map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Context:
        return self.map(lambda tensor: tensor.to(device))


def over_rows(mask: Tensor, like: Tensor) -> Tensor:
    """A per-sequence tensor (B,X) with axes of size 1 put in, so that it broadcasts against `like` (B,...,X)."""
    return mask.view(mask.shape[0], *(1,) * (like.ndim - mask.ndim), *mask.shape[1:])


def aligned(states: State, pads: Pads) -> tuple[State, Pads, State]:
    """The one place that pairs rows: (previous states, pads now, states now), each one row shorter than the input.

    Row t holds the pads consumed in frame t and the state after it. So state[t] is predicted from states up to t-1
    and pads up to t. Takes (B,T,...) with T >= 2; pads of row 0 are unused.
    """
    return states[:, :-1], pads[:, 1:], states[:, 1:]


def stack_rows(rows: list[State]) -> State:
    """States (B,...) of successive frames as one (B,T,...)."""
    return State(
        torch.stack([row.numbers for row in rows], 1),
        torch.stack([row.categories for row in rows], 1),
        torch.stack([row.flags for row in rows], 1),
    )


@dataclass(frozen=True, slots=True)
class DeviceBlock:
    """Whole games on a device, in the narrow types of `Block`; windows are cut by indexing whole batches at once."""

    numbers: Tensor
    categories: Tensor
    flags: Tensor
    pad_numbers: Tensor
    buttons: Tensor
    offsets: Tensor
    context: Context
    button_shifts: Tensor
    flag_shifts: Tensor

    @classmethod
    def from_block(cls, block: Block, device: torch.device | str = "cpu") -> DeviceBlock:
        """Copy a NumPy block to a device."""

        def put(array: Any) -> Tensor:
            return torch.from_numpy(array).to(device)

        return cls(
            numbers=put(block.numbers),
            categories=put(block.categories),
            flags=put(block.flags),
            pad_numbers=put(block.pad_numbers),
            buttons=put(block.buttons),
            offsets=put(block.offsets),
            context=Context(
                put(block.stage).long(),
                put(block.present_numbers),
                put(block.present_categories),
                put(block.present_flags),
            ),
            button_shifts=torch.arange(len(LAYOUT.pad_buttons.codec.masks), dtype=torch.uint8, device=device),  # type: ignore[union-attr]
            flag_shifts=torch.arange(8, dtype=torch.uint8, device=device),
        )

    def gather(self, starts_B2: Tensor, rows: int) -> tuple[State, Pads, Context]:
        """Cut windows of `rows` rows: State (B,rows,2,·), Pads (B,rows,2,·), Context (B,·).

        starts_B2: int64, (index of the game in this block, first row in the game). The window must lie in its game;
        that is the planner's duty and is not checked here, where it would cost a device sync.
        """
        game_B, row_B = starts_B2[:, 0], starts_B2[:, 1]
        first_B = self.offsets.index_select(0, game_B) + row_B
        index = (first_B[:, None] + torch.arange(rows, device=first_B.device)).flatten()

        def cut(tensor: Tensor) -> Tensor:
            return torch.unflatten(tensor.index_select(0, index), 0, (-1, rows))

        packed = cut(self.flags).unsqueeze(-1) >> self.flag_shifts
        flags = (packed & 1).flatten(-2)[..., : len(LAYOUT.flag_bits)].bool()
        buttons = ((cut(self.buttons).unsqueeze(-1) >> self.button_shifts) & 1).bool()
        state = State(cut(self.numbers), cut(self.categories).long(), flags)
        return (
            state,
            Pads(cut(self.pad_numbers), buttons),
            self.context.map(lambda tensor: tensor.index_select(0, game_B)),
        )
