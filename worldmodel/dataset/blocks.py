"""Some games as rows of bytes in the order of the layout: what training and evaluation read.

Owns: the step from columns at rest to rows. Must not: scale, normalise, or import torch.

F: frames of all games of the block, one after the other; G: games; 2: players. N, C, NF, A: numbers, categories,
flags of the state and numbers of the pad, in the orders of `LAYOUT`. How a row lies in memory is said by `ROW`.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.codes import button_bits, category_codes, flag_word
from worldmodel.dataset.rows import ROW
from worldmodel.dataset.shard import Shard
from worldmodel.dataset.store import Dataset
from worldmodel.schema import LAYOUT, PLAYERS, Field, Flags, column_name

FILL_ROWS = 4096
"""Rows filled at a time, all columns of them: they stay in the cache, where a column of the whole block would not."""

Coder = Callable[[NDArray[np.generic]], NDArray[np.generic]]
Reader = Callable[[int, int], NDArray[np.generic]]
"""Rows start : stop of a column of a shard, coded."""


@dataclass(frozen=True, slots=True)
class Block:
    """Exact values; what a game does not record is 0 here and False in `present_*`."""

    rows: NDArray[np.uint8]
    """(F, ROW.num_bytes), C-contiguous."""
    offsets: NDArray[np.int64]
    """(G+1,): frames of game g are offsets[g] : offsets[g+1]."""
    games: NDArray[np.int64]
    """(G,) game numbers, as asked for."""
    stage: NDArray[np.int16]
    """(G,) codes."""
    present_numbers: NDArray[np.bool_]
    """(G, N)."""
    present_categories: NDArray[np.bool_]
    """(G, C)."""
    present_flags: NDArray[np.bool_]
    """(G, NF)."""

    @classmethod
    def zeros(cls, games: NDArray[np.int64], num_frames: NDArray[np.int64]) -> Block:
        """A block of games of given lengths, to be filled."""
        offsets = np.zeros(len(games) + 1, np.int64)
        np.cumsum(num_frames, out=offsets[1:])
        return cls(
            rows=_mapped_zeros(int(offsets[-1])),
            offsets=offsets,
            games=games,
            stage=np.zeros(len(games), np.int16),
            present_numbers=np.zeros((len(games), len(LAYOUT.numbers)), np.bool_),
            present_categories=np.zeros((len(games), len(LAYOUT.categories)), np.bool_),
            present_flags=np.zeros((len(games), len(LAYOUT.flag_bits)), np.bool_),
        )

    @property
    def num_frames(self) -> int:
        return int(self.offsets[-1])

    # ---- views into `rows`, to read and to write ---------------------------------------------------------------

    @property
    def numbers(self) -> NDArray[np.float32]:
        """(F, 2, N) in the units of the schema."""
        return ROW.numbers.of(self.rows)

    @property
    def categories(self) -> NDArray[np.int16]:
        """(F, 2, C) codes 0 .. vocab-1."""
        return ROW.categories.of(self.rows)

    @property
    def flags(self) -> NDArray[np.uint8]:
        """(F, 2, ceil(NF/8)): flag k is bit k % 8 of byte k // 8."""
        return ROW.flags.of(self.rows)

    @property
    def pad_numbers(self) -> NDArray[np.float32]:
        """(F, 2, A)."""
        return ROW.pad_numbers.of(self.rows)

    @property
    def buttons(self) -> NDArray[np.uint8]:
        """(F, 2): bit k is the k-th of the masks of `LAYOUT.pad_buttons`."""
        return ROW.buttons.of(self.rows)[..., 0]


def _mapped_zeros(num_rows: int) -> NDArray[np.uint8]:
    """Rows of zeros in a mapping of their own: they go back to the system when the block is let go of, whatever the
    allocator keeps, and in huge pages where the system has them, as windows are cut from anywhere in them."""
    num_bytes = num_rows * ROW.num_bytes
    if num_bytes < _OWN_MAPPING_BYTES or not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros((num_rows, ROW.num_bytes), np.uint8)
    mapping = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Advice: a kernel without huge pages refuses it, and then pages are small.
        with suppress(OSError):
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, np.uint8).reshape(num_rows, ROW.num_bytes)


_OWN_MAPPING_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class _Span:
    """Rows `source` of a shard go to rows `target` of the block."""

    source: int
    target: int
    num_rows: int


def load_block(dataset: Dataset, game_numbers: Sequence[int] | NDArray[np.int64]) -> Block:
    """Read games, in the order given. Memory: the block, and little more.

    Raises NotADataset if a file that is read is not what the manifest says.
    """
    games = np.asarray(game_numbers, np.int64)
    num_frames = dataset.num_frames_per_game[games]
    block = Block.zeros(games, num_frames)
    stage_row = LAYOUT.the("stage")
    block.stage[:] = category_codes(stage_row, dataset.game_column(stage_row.name)[games])[0]
    shard_of = dataset.shard_of_game[games]
    for number in np.unique(shard_of).tolist():
        members = np.flatnonzero(shard_of == number)
        spans = _spans(dataset.offset_of_game[games[members]], block.offsets[members], num_frames[members])
        shard = dataset.checked_shard(number)
        _mark_present(block, shard, members)
        _fill(block, shard, spans)
    return block


def _spans(sources: NDArray[np.int64], targets: NDArray[np.int64], num_rows: NDArray[np.int64]) -> list[_Span]:
    """Games as spans of at most FILL_ROWS rows; neighbours that stay neighbours share spans."""
    joined: list[_Span] = []
    for source, target, rows in zip(sources.tolist(), targets.tolist(), num_rows.tolist(), strict=True):
        last = joined[-1] if joined else None
        if last and last.source + last.num_rows == source and last.target + last.num_rows == target:
            joined[-1] = _Span(last.source, last.target, last.num_rows + rows)
        else:
            joined.append(_Span(source, target, rows))
    return [
        _Span(span.source + at, span.target + at, min(FILL_ROWS, span.num_rows - at))
        for span in joined
        for at in range(0, span.num_rows, FILL_ROWS)
    ]


def _mark_present(block: Block, shard: Shard, members: NDArray[np.int64]) -> None:
    """All games of a shard record the same fields."""
    for present, rows in (
        (block.present_numbers, LAYOUT.numbers),
        (block.present_categories, LAYOUT.categories),
        (block.present_flags, [flag.field for flag in LAYOUT.flag_bits]),
    ):
        present[members] = [shard.has(column_name(row, PLAYERS[0])) for row in rows]


def _fill(block: Block, shard: Shard, spans: list[_Span]) -> None:
    """Copy what one shard holds of the block's games."""
    columns: list[tuple[Reader, NDArray[Any]]] = []
    flags: list[tuple[list[Reader], NDArray[np.uint8]]] = []
    for p, player in enumerate(PLAYERS):
        wanted: list[tuple[Field, NDArray[Any], Coder | None]]
        wanted = [(row, block.numbers[:, p, k], None) for k, row in enumerate(LAYOUT.numbers)]
        wanted += [(row, block.categories[:, p, k], _category_coder(row)) for k, row in enumerate(LAYOUT.categories)]
        wanted += [(row, block.pad_numbers[:, p, k], None) for k, row in enumerate(LAYOUT.pad_numbers)]
        wanted += [(LAYOUT.pad_buttons, block.buttons[:, p], _button_coder)]
        columns += [
            (_reader(shard, column_name(row, player), coder), out)
            for row, out, coder in wanted
            if shard.has(column_name(row, player))
        ]
        words = [
            _reader(shard, column_name(row, player), _flag_coder(row, shift))
            for shift, row in _FLAG_ROWS
            if shard.has(column_name(row, player))
        ]
        flags.append((words, block.flags[:, p]))
    for span in spans:
        start, stop = span.source, span.source + span.num_rows
        target = slice(span.target, span.target + span.num_rows)
        for read, out in columns:
            out[target] = read(start, stop)
        for readers, flag_bytes in flags:
            word = np.zeros(span.num_rows, np.dtype("<u8"))
            for read in readers:
                word |= read(start, stop)  # type: ignore[arg-type]
            flag_bytes[target] = word.view(np.uint8).reshape(span.num_rows, 8)[:, : ROW.flags.count]


def _reader(shard: Shard, name: str, coder: Coder | None) -> Reader:
    """A column that the shard has. Distinct values of a dictionary column are coded once."""
    if name not in shard.names:  # derived
        if coder is None:
            return lambda start, stop: shard.column(name, start, stop)
        return lambda start, stop: coder(shard.column(name, start, stop))
    values, indices = shard.encoding(name)
    if indices is not None:
        table = coder(values) if coder else values
        return lambda start, stop: shard.entries(name, table, indices[start:stop])
    if coder is None:
        return lambda start, stop: values[start:stop]
    return lambda start, stop: coder(values[start:stop])


def _flag_rows() -> list[tuple[int, Field]]:
    """(position of its first flag in `LAYOUT.flag_bits`, row)."""
    if len(LAYOUT.flag_bits) > 64:
        raise ValueError(f"{len(LAYOUT.flag_bits)} flags do not fit into one 64-bit word")
    return [
        (k, flag.field)
        for k, flag in enumerate(LAYOUT.flag_bits)
        if flag.bit == 0 and isinstance(flag.field.codec, Flags)
    ]


_FLAG_ROWS = _flag_rows()


def _flag_coder(row: Field, shift: int) -> Coder:
    return lambda values: flag_word(row, values) << np.uint64(shift)


def _category_coder(row: Field) -> Coder:
    return lambda values: category_codes(row, values)[0]


def _button_coder(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return button_bits(LAYOUT.pad_buttons, values)
