"""Frames as tensors: what a state, a pad and a game's constants look like on a device, and how windows are cut.

Owns: the tensor forms and the alignment of state and pad (`aligned`). Must not: scale, embed or decode anything.

Letters: B sequences, T rows, N numbers, C categories, NF flags, A pad numbers, NB buttons.
The axis of size 2 is the player (p0, p1). Orders along N, C, NF, A, NB are those of `LAYOUT`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from worldmodel.dataset.rows import ROW, Part
from worldmodel.schema import LAYOUT, PLAYERS, Buttons

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


def with_column(values: Tensor, place: int, column: Tensor) -> Tensor:
    """Values (...,X) with another column (...) at one place of the last axis."""
    return torch.cat([values[..., :place], column.unsqueeze(-1), values[..., place + 1 :]], -1)


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
    """Whole games as rows of 64-bit words (see `dataset.rows`); a window of frames is one stretch of them.

    The rows lie on the device where windows are wanted or, where they do not fit there, on the host: then windows are
    cut on the host and their words go over. Either way they are decoded on the device.
    """

    words: Tensor
    """(F, ROW.num_words) int64, wherever the block lies."""
    offsets: Tensor
    """(G+1,) int64, beside the words."""
    context: Context
    """Of each game (G,·), on the device."""
    lookup: Tensor
    """(256,) int64 on the device: the eight bits of a byte as eight bools, in one word."""

    @classmethod
    def from_block(cls, block: Block, device: torch.device | str = "cpu", *, on_host: bool = False) -> DeviceBlock:
        """A NumPy block for a device. On the host (on_host: whatever the device) the words are the block's own."""

        def put(array: Any) -> Tensor:
            return torch.from_numpy(array).to(device)

        home = "cpu" if on_host else device
        return cls(
            words=torch.from_numpy(block.rows).view(torch.int64).to(home),
            offsets=torch.from_numpy(block.offsets).to(home),
            context=Context(
                put(block.stage).long(),
                put(block.present_numbers),
                put(block.present_categories),
                put(block.present_flags),
            ),
            lookup=bit_lookup(device),
        )

    @property
    def device(self) -> torch.device:
        """Where windows are wanted."""
        return self.lookup.device

    def gather(self, starts_B2: Tensor, rows: int) -> tuple[State, Pads, Context]:
        """Cut windows of `rows` rows: State (B,rows,2,·), Pads (B,rows,2,·), Context (B,·).

        starts_B2: int64, (index of the game in this block, first row in the game), beside the words. The window must
        lie in its game; that is the planner's duty and is not checked here, where it would cost a device sync.
        """
        game_B, row_B = starts_B2[:, 0], starts_B2[:, 1]
        first_B = self.offsets.index_select(0, game_B) + row_B
        states, pads = decode(self.cut(first_B, rows), self.lookup)
        return states, pads, self.context_of(game_B.to(self.device))

    def cut(self, first_B: Tensor, rows: int) -> Tensor:
        """The words of windows (B, rows, ROW.num_words), on the device. first_B: rows of the block, where that lies."""
        # All windows that there are, overlapping in memory: taking some is one copy of one stretch each.
        num_starts = max(0, len(self.words) - rows + 1)
        windows = self.words.as_strided((num_starts, rows * ROW.num_words), (ROW.num_words, 1))
        if self.words.device == self.device:
            return windows.index_select(0, first_B).view(-1, rows, ROW.num_words)
        # Page-locked memory goes over while the host moves on; PyTorch keeps it until the copy is done.
        staged = torch.empty(len(first_B), rows * ROW.num_words, dtype=torch.int64, pin_memory=True)
        torch.index_select(windows, 0, first_B, out=staged)
        return staged.to(self.device, non_blocking=True).view(-1, rows, ROW.num_words)

    def context_of(self, game_B: Tensor) -> Context:
        """What is constant over windows of games, by their index in this block (on the device)."""
        return self.context.map(lambda tensor: tensor.index_select(0, game_B))


def bit_lookup(device: torch.device | str) -> Tensor:
    """(256,) int64: a byte's bits, lowest first, as eight bools in one word."""
    bits = torch.arange(256, dtype=torch.uint8)[:, None] >> torch.arange(8, dtype=torch.uint8) & 1
    return bits.contiguous().view(torch.int64).flatten().to(device)


def decode(words_BTW: Tensor, lookup: Tensor) -> tuple[State, Pads]:
    """Rows of words (B,T,ROW.num_words) as frames. Numbers are views of the words, not copies."""

    def values(part: Part, dtype: torch.dtype) -> Tensor:
        flat = words_BTW.view(dtype)[..., part.begin : part.end]
        return torch.unflatten(flat, -1, (len(PLAYERS), part.count))

    # One look-up for all bytes of bits, which lie beside each other: five times as fast as shifting them on a CPU.
    packed = words_BTW.view(torch.uint8)[..., ROW.flags.begin : ROW.buttons.end]
    bits = lookup.index_select(0, packed.int().flatten()).view(torch.bool).view(*packed.shape, 8)
    flags, buttons = bits[..., : ROW.flags.num_bytes, :], bits[..., ROW.flags.num_bytes :, :]
    flags = torch.unflatten(flags, -2, (len(PLAYERS), ROW.flags.count)).flatten(-2)
    return (
        State(
            values(ROW.numbers, torch.float32),
            values(ROW.categories, torch.int16).long(),
            flags[..., : len(LAYOUT.flag_bits)],
        ),
        Pads(values(ROW.pad_numbers, torch.float32), buttons[..., : len(_BUTTONS.masks)]),
    )


_BUTTONS = cast(Buttons, LAYOUT.pad_buttons.codec)
