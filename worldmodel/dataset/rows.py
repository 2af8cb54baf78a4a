"""How the exact values of one frame lie in one row of bytes.

Owns: the places of the parts in a row, computed from `LAYOUT`. Must not: know where rows are kept, or import torch.

A frame is one row, so that a window of frames is one stretch of memory, and cutting it is one copy. The widest values
come first, so every part is aligned to its type; the row is filled up to whole 64-bit words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.schema import LAYOUT, PLAYERS

WORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Values of one type, of both players: (2, count) of `dtype` at byte `offset` of a row."""

    dtype: np.dtype[Any]
    count: int
    offset: int

    @property
    def num_bytes(self) -> int:
        return len(PLAYERS) * self.count * self.dtype.itemsize

    @property
    def begin(self) -> int:
        """Offset counted in values of the part's own type."""
        return self.offset // self.dtype.itemsize

    @property
    def end(self) -> int:
        return self.begin + len(PLAYERS) * self.count

    def of(self, rows: NDArray[np.uint8]) -> NDArray[Any]:
        """(F, 2, count): a view into rows (F, ROW.num_bytes), to read and to write."""
        raw = rows[:, self.offset : self.offset + self.num_bytes]
        return raw.view(self.dtype).reshape(len(rows), len(PLAYERS), self.count)


@dataclass(frozen=True, slots=True)
class RowLayout:
    """The parts of a row. Orders within a part are those of `LAYOUT`."""

    numbers: Part
    pad_numbers: Part
    categories: Part
    flags: Part
    """Bytes: flag k is bit k % 8 of byte k // 8."""
    buttons: Part
    """One byte: bit k is the k-th of the masks of `LAYOUT.pad_buttons`."""
    num_bytes: int

    @property
    def num_words(self) -> int:
        return self.num_bytes // WORD_BYTES


def _row_layout() -> RowLayout:
    parts: dict[str, Part] = {}
    offset = 0
    for name, dtype, count in (
        ("numbers", np.float32, len(LAYOUT.numbers)),
        ("pad_numbers", np.float32, len(LAYOUT.pad_numbers)),
        ("categories", np.int16, len(LAYOUT.categories)),
        ("flags", np.uint8, -(-len(LAYOUT.flag_bits) // 8)),
        ("buttons", np.uint8, 1),
    ):
        parts[name] = Part(np.dtype(dtype), count, offset)
        offset += parts[name].num_bytes
    return RowLayout(**parts, num_bytes=-(-offset // WORD_BYTES) * WORD_BYTES)


ROW = _row_layout()
"""The layout of a row. There is one."""
