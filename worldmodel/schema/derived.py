"""Named functions of derived fields: computed from stored columns when read, never stored.

Owns: the functions that `Field.derive` names. Each takes a getter of stored columns of one player and returns a column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from worldmodel.schema.field import Flags
from worldmodel.schema.fields import FIELDS, HITSTUN_FLAG

Columns = Callable[[str], NDArray[np.generic]]
"""`columns(name)` gives the stored column of that name, for the player at hand."""


def _flag_mask(name: str) -> tuple[str, np.uint64]:
    for field in FIELDS:
        if isinstance(field.codec, Flags) and name in field.codec.names:
            return field.name, np.uint64(1 << field.codec.names.index(name))
    raise KeyError(f"no flag named {name!r} in the schema")


def hitstun(columns: Columns) -> NDArray[np.float32]:
    """Frames of hitstun left (T,): `misc_as` where the hitstun flag is set, else 0.

    Outside hitstun `misc_as` holds other things, often an integer's bits: masked before anyone computes with it.
    """
    source, mask = _flag_mask(HITSTUN_FLAG)
    in_hitstun = np.bitwise_and(columns(source).astype(np.uint64, copy=False), mask) != 0
    return np.where(in_hitstun, columns("misc_as"), np.float32(0)).astype(np.float32)


DERIVED: dict[str, tuple[Callable[[Columns], NDArray[np.generic]], tuple[str, ...]]] = {
    "hitstun": (hitstun, ("misc_as", "state_flags")),
}
"""Name in `Field.derive` -> (function, the stored fields that it needs). Missing if any of them is."""
