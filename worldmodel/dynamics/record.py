"""Frames as tensors to a clip's columns and back.

Owns: the inverse of the codec's codes, flags and buttons. Must not: read files, run a model.

A code that stands for no single stored value (*other*) becomes unknown in a clip, and *other* again on the way back.

Letters: T frames, B matches.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.clips.clip import Clip, Frames, Meta
from worldmodel.dataset.codes import button_bits, category_codes, flag_word
from worldmodel.melee.characters import INTERNAL_TO_EXTERNAL
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.schema import LAYOUT, PLAYERS, Buttons, Category, Field, Flags, column_name
from worldmodel.schema.field import OutOfRange

_OTHER = -1


def clip_of(
    states: State,
    context: Context,
    meta: Meta,
    *,
    first_frame: int,
    pads: Pads | None = None,
    truth: Frames | None = None,
    stage: int | None = None,
    characters: tuple[int, int] | None = None,
) -> Clip:
    """A clip of one match: states and pads (T,2,·), context (·) or (1,·). first_frame: Slippi's id of the first.

    stage: external id; default: what the code says, -1 where it stands for several (the last one does). characters:
    external ids at the start of the match; default: those of the clip's first frame.
    """
    frames = frames_of(states, context, pads)
    if stage is None:
        (stage,) = _stored_values(LAYOUT.the("stage"))[context.stage.reshape(1).cpu().numpy()].tolist()
    if characters is None:
        row = LAYOUT.the("character")
        inside = [int(frames.columns[column_name(row, player)][0]) for player in PLAYERS]
        characters = (INTERNAL_TO_EXTERNAL[inside[0]], INTERNAL_TO_EXTERNAL[inside[1]])
    return Clip(stage=stage, characters=characters, first_frame=first_frame, frames=frames, meta=meta, truth=truth)


def frames_of(states: State, context: Context, pads: Pads | None = None) -> Frames:
    """A clip's columns of one match: states and pads (T,2,·), context (·) or (1,·). What is missing has no column."""
    numbers, codes, flags = (_host(tensor) for tensor in (states.numbers, states.categories, states.flags))
    has_number, has_code, has_flag = (
        _host(tensor).reshape(-1)
        for tensor in (context.present_numbers, context.present_categories, context.present_flags)
    )
    pad_numbers, buttons = (None, None) if pads is None else (_host(pads.numbers), _host(pads.buttons))
    columns: dict[str, NDArray[Any]] = {}
    unknown: dict[str, NDArray[np.bool_]] = {}

    def put(row: Field, p: int, values: NDArray[Any]) -> None:
        columns[column_name(row, PLAYERS[p])] = np.ascontiguousarray(values.astype(row.dtype))

    for p, player in enumerate(PLAYERS):
        for k, row in enumerate(LAYOUT.numbers):
            if has_number[k]:
                put(row, p, numbers[:, p, k])
        for k, row in enumerate(LAYOUT.categories):
            if has_code[k]:
                values = _stored_values(row)[codes[:, p, k]]
                put(row, p, np.maximum(values, 0))
                if (values == _OTHER).any():
                    unknown[column_name(row, player)] = values == _OTHER
        for row, at in _flag_rows():
            if has_flag[at]:
                put(row, p, _word(row, flags[:, p, at : at + cast(Flags, row.codec).bits]))
        if pad_numbers is not None and buttons is not None:
            for k, row in enumerate(LAYOUT.pad_numbers):
                put(row, p, pad_numbers[:, p, k])
            masks = np.array(cast(Buttons, LAYOUT.pad_buttons.codec).masks, np.uint32)
            put(LAYOUT.pad_buttons, p, np.where(buttons[:, p], masks, np.uint32(0)).sum(-1))
    return Frames(columns, unknown)


def tensors_of(frames: Frames, stage: int) -> tuple[State, Pads, Context]:
    """A clip's frames as a batch of one match: (1,T,2,·), (1,T,2,·), (1,·). Pads that it lacks are neutral.

    Raises ValueError for a value that the codec refuses (ingest would have refused its game).
    """
    num_t = len(frames)

    def stacked(rows: tuple[Field, ...], dtype: Any, code: Any) -> Tensor:
        out = np.zeros((1, num_t, len(PLAYERS), len(rows)), dtype)
        for p, player in enumerate(PLAYERS):
            for k, row in enumerate(rows):
                values = frames.columns.get(column_name(row, player))
                if values is not None:
                    out[0, :, p, k] = code(row, values, frames.unknown.get(column_name(row, player)))
        return torch.from_numpy(out)

    def plain(row: Field, values: NDArray[Any], unknown: NDArray[np.bool_] | None) -> NDArray[Any]:
        return values

    def coded(row: Field, values: NDArray[Any], unknown: NDArray[np.bool_] | None) -> NDArray[Any]:
        codes = category_codes(row, values)[0]
        return codes if unknown is None else np.where(unknown, cast(Category, row.codec).vocab - 1, codes)

    flags = np.zeros((1, num_t, len(PLAYERS), len(LAYOUT.flag_bits)), np.bool_)
    buttons = np.zeros((1, num_t, len(PLAYERS), len(cast(Buttons, LAYOUT.pad_buttons.codec).masks)), np.bool_)
    for p, player in enumerate(PLAYERS):
        for row, at in _flag_rows():
            values = frames.columns.get(column_name(row, player))
            if values is not None:
                bits = cast(Flags, row.codec).bits
                flags[0, :, p, at : at + bits] = _bits(flag_word(row, values), bits)
        values = frames.columns.get(column_name(LAYOUT.pad_buttons, player))
        if values is not None:
            buttons[0, :, p] = _bits(button_bits(LAYOUT.pad_buttons, values), buttons.shape[-1])
    return (
        State(
            stacked(LAYOUT.numbers, np.float32, plain),
            stacked(LAYOUT.categories, np.int64, coded),
            torch.from_numpy(flags),
        ),
        Pads(stacked(LAYOUT.pad_numbers, np.float32, plain), torch.from_numpy(buttons)),
        _context(frames, stage),
    )


def _context(frames: Frames, stage: int) -> Context:
    def present(rows: tuple[Field, ...]) -> Tensor:
        return torch.tensor([[column_name(row, PLAYERS[0]) in frames.columns for row in rows]])

    return Context(
        torch.from_numpy(category_codes(LAYOUT.the("stage"), np.array([stage]))[0]).long(),
        present(LAYOUT.numbers),
        present(LAYOUT.categories),
        present(tuple(flag.field for flag in LAYOUT.flag_bits)),
    )


def _host(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


@cache
def _flag_rows() -> tuple[tuple[Field, int], ...]:
    """Rows of flags, each with the place of its first bit in `LAYOUT.flag_bits`."""
    return tuple((flag.field, at) for at, flag in enumerate(LAYOUT.flag_bits) if flag.bit == 0)


def _word(row: Field, bits: NDArray[np.bool_]) -> NDArray[Any]:
    """Stored values of a row's flags (T,bits)."""
    if cast(Flags, row.codec).true_when == "positive":
        return np.where(bits[:, 0], 1.0, -1.0)
    return (bits.astype(np.uint64) << np.arange(bits.shape[1], dtype=np.uint64)).sum(1)  # type: ignore[no-any-return]


def _bits(words: NDArray[Any], num: int) -> NDArray[np.bool_]:
    """(T,) words to (T,num) bools, lowest bit first."""
    shifted = words[:, None].astype(np.uint64) >> np.arange(num, dtype=np.uint64)
    return np.asarray(shifted & np.uint64(1), np.bool_)


@cache
def _stored_values(row: Field) -> NDArray[np.int64]:
    """The stored value of each code (vocab,); `_OTHER` for the code that stands for many."""
    codec = cast(Category, row.codec)
    values = np.arange(codec.vocab, dtype=np.int64) - codec.offset
    for value, code in reversed(codec.alias):
        values[code] = value
    if codec.out_of_range is OutOfRange.OTHER:
        values[-1] = _OTHER
    return values
