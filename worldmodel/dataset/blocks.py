"""Some games as dense arrays in the order of the layout: what training and evaluation read.

Owns: the step from columns at rest to arrays per codec group. Must not: scale, normalise, or import torch.

F: frames of all games of the block, one after the other; G: games; 2: players. N, C, NF, A: numbers, categories,
flags of the state and numbers of the pad, in the orders of `LAYOUT`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.codes import button_bits, category_codes, flag_word
from worldmodel.dataset.shard import Shard
from worldmodel.dataset.store import Dataset
from worldmodel.schema import LAYOUT, PLAYERS, Field, Flags, column_name

NUM_FLAG_BYTES = (len(LAYOUT.flag_bits) + 7) // 8

Coder = Callable[[NDArray[np.generic]], NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Block:
    """Exact values; what a game does not record is 0 here and False in `present_*`."""

    numbers: NDArray[np.float32]
    """(F, 2, N) in the units of the schema."""
    categories: NDArray[np.int16]
    """(F, 2, C) codes 0 .. vocab-1."""
    flags: NDArray[np.uint8]
    """(F, 2, ceil(NF/8)): flag k is bit k % 8 of byte k // 8."""
    pad_numbers: NDArray[np.float32]
    """(F, 2, A)."""
    buttons: NDArray[np.uint8]
    """(F, 2): bit k is the k-th of the masks of `LAYOUT.pad_buttons`."""
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

    @property
    def num_frames(self) -> int:
        return int(self.offsets[-1])


@dataclass(frozen=True, slots=True)
class _Span:
    """Rows `source` of a shard go to rows `target` of the block."""

    source: int
    target: int
    num_rows: int


def load_block(dataset: Dataset, game_numbers: Sequence[int] | NDArray[np.int64]) -> Block:
    """Read games, in the order given. Memory: the block, plus a few columns of one shard."""
    games = np.asarray(game_numbers, np.int64)
    num_frames = dataset.num_frames_per_game[games]
    offsets = np.zeros(len(games) + 1, np.int64)
    np.cumsum(num_frames, out=offsets[1:])
    total, num_games = int(offsets[-1]), len(games)
    stage_row = LAYOUT.the("stage")
    block = Block(
        numbers=np.zeros((total, 2, len(LAYOUT.numbers)), np.float32),
        categories=np.zeros((total, 2, len(LAYOUT.categories)), np.int16),
        flags=np.zeros((total, 2, NUM_FLAG_BYTES), np.uint8),
        pad_numbers=np.zeros((total, 2, len(LAYOUT.pad_numbers)), np.float32),
        buttons=np.zeros((total, 2), np.uint8),
        offsets=offsets,
        games=games,
        stage=category_codes(stage_row, dataset.game_column(stage_row.name)[games])[0],
        present_numbers=np.zeros((num_games, len(LAYOUT.numbers)), np.bool_),
        present_categories=np.zeros((num_games, len(LAYOUT.categories)), np.bool_),
        present_flags=np.zeros((num_games, len(LAYOUT.flag_bits)), np.bool_),
    )
    shard_of = dataset.shard_of_game[games]
    for number in np.unique(shard_of).tolist():
        members = np.flatnonzero(shard_of == number)
        spans = _spans(dataset.offset_of_game[games[members]], offsets[members], num_frames[members])
        _fill(block, dataset.shard(number), members, spans)
    return block


def _spans(sources: NDArray[np.int64], targets: NDArray[np.int64], num_rows: NDArray[np.int64]) -> list[_Span]:
    """Games as spans of rows; neighbours that stay neighbours are one span."""
    spans: list[_Span] = []
    for source, target, rows in zip(sources.tolist(), targets.tolist(), num_rows.tolist(), strict=True):
        last = spans[-1] if spans else None
        if last and last.source + last.num_rows == source and last.target + last.num_rows == target:
            spans[-1] = _Span(last.source, last.target, last.num_rows + rows)
        else:
            spans.append(_Span(source, target, rows))
    return spans


def _fill(block: Block, shard: Shard, members: NDArray[np.int64], spans: list[_Span]) -> None:
    """Copy what one shard holds of the block's games."""
    for k, row in enumerate(LAYOUT.numbers):
        block.present_numbers[members, k] = shard.has(column_name(row, PLAYERS[0]))
    for k, row in enumerate(LAYOUT.categories):
        block.present_categories[members, k] = shard.has(column_name(row, PLAYERS[0]))
    for k, flag in enumerate(LAYOUT.flag_bits):
        block.present_flags[members, k] = shard.has(column_name(flag.field, PLAYERS[0]))
    for p, player in enumerate(PLAYERS):
        for k, row in enumerate(LAYOUT.numbers):
            _copy(shard, column_name(row, player), spans, block.numbers[:, p, k])
        for k, row in enumerate(LAYOUT.categories):
            _copy(shard, column_name(row, player), spans, block.categories[:, p, k], _category_coder(row))
        for k, row in enumerate(LAYOUT.pad_numbers):
            _copy(shard, column_name(row, player), spans, block.pad_numbers[:, p, k])
        _copy(shard, column_name(LAYOUT.pad_buttons, player), spans, block.buttons[:, p], _button_coder)
        _fill_flags(block, shard, spans, p, player)


def _copy(shard: Shard, name: str, spans: list[_Span], out: NDArray[np.generic], coder: Coder | None = None) -> None:
    """Write a column's spans to `out` (F,), coded. Distinct values of a dictionary column are coded once."""
    if not shard.has(name):
        return
    for span, values in zip(spans, _coded(shard, name, spans, coder), strict=True):
        out[span.target : span.target + span.num_rows] = values


def _coded(shard: Shard, name: str, spans: list[_Span], coder: Coder | None) -> list[NDArray[np.generic]]:
    if name not in shard.names:  # derived
        values = [shard.column(name, span.source, span.source + span.num_rows) for span in spans]
        return [coder(v) for v in values] if coder else values
    values_or_table, indices = shard.encoding(name)
    if indices is None:
        plain = [values_or_table[span.source : span.source + span.num_rows] for span in spans]
        return [coder(v) for v in plain] if coder else plain
    table = coder(values_or_table) if coder else values_or_table
    return [table[indices[span.source : span.source + span.num_rows]] for span in spans]


def _fill_flags(block: Block, shard: Shard, spans: list[_Span], p: int, player: str) -> None:
    words = [np.zeros(span.num_rows, np.dtype("<u8")) for span in spans]
    for shift, row in _FLAG_ROWS:
        name = column_name(row, player)
        if shard.has(name):
            for word, values in zip(words, _coded(shard, name, spans, _flag_coder(row, shift)), strict=True):
                word |= values  # type: ignore[arg-type]
    for span, word in zip(spans, words, strict=True):
        as_bytes = word.view(np.uint8).reshape(span.num_rows, 8)[:, :NUM_FLAG_BYTES]
        block.flags[span.target : span.target + span.num_rows, p] = as_bytes


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
