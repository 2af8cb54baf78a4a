"""From stored values to what a codec row says they are: category codes, flag bits, button bits.

Owns: alias, offset and out-of-range policies, applied. Must not: know where values are stored.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from worldmodel.schema import Buttons, Category, Field, Flags
from worldmodel.schema.field import OutOfRange


def category_codes(row: Field, values: NDArray[np.generic]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Codes 0 .. vocab-1 of stored values, and which of them were outside the vocabulary.

    With OutOfRange.OTHER the last code means *other*: values outside get it, and whatever lands on it counts as
    outside. With OutOfRange.REJECT ingest has refused games with such values; one that is here is a ValueError.
    """
    codec = cast(Category, row.codec)
    wide = values.astype(np.int64)
    codes = wide + codec.offset
    for value, code in codec.alias:
        codes[wide == value] = code
    last = codec.vocab - 1 if codec.out_of_range is OutOfRange.OTHER else codec.vocab
    outside = (codes < 0) | (codes >= last)
    if codec.out_of_range is OutOfRange.REJECT and outside.any():
        raise ValueError(f"{row.name} holds {wide[outside][0]}, which ingest rejects")
    codes[outside] = last
    return codes.astype(np.int16), outside


def flag_word(row: Field, values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """The flags of a row as one word: bit k is its flag k."""
    codec = cast(Flags, row.codec)
    if codec.true_when == "nonzero":
        return np.asarray(np.not_equal(values, 0), np.uint64)
    if codec.true_when == "positive":
        return np.asarray(np.greater(values, 0), np.uint64)
    return np.bitwise_and(values.astype(np.uint64), np.uint64((1 << codec.bits) - 1))


def button_bits(row: Field, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bit k: button `masks[k]` is down."""
    codec = cast(Buttons, row.codec)
    wide, bits = values.astype(np.uint32), np.zeros(values.shape, np.uint8)
    for k, mask in enumerate(codec.masks):
        bits |= ((wide & np.uint32(mask)) != 0).astype(np.uint8) << np.uint8(k)
    return bits
