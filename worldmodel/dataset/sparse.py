"""Sparse tables at rest: their Arrow schemas, and rows of one game as a table.

Owns: how items and stage events lie on disk. A column that a game's version lacks is null.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldmodel.dataset.shard import GAME, TIME, arrow_type
from worldmodel.schema.sparse import SPARSE_TABLES

SPARSE_SCHEMA = {
    table.name: pa.schema(
        [(GAME, pa.int32()), (TIME, pa.int32())] + [(column.name, arrow_type(column.dtype)) for column in table.columns]
    )
    for table in SPARSE_TABLES
}
"""By table name: `game`, `t` (frame index), and the table's own columns."""


def sparse_table(name: str, game: int, columns: dict[str, NDArray[np.generic]]) -> pa.Table:
    """Rows of one game; `columns` has "t" and those columns that the game's version records."""
    schema, num_rows = SPARSE_SCHEMA[name], len(columns[TIME])
    arrays = [
        pa.array(np.full(num_rows, game, np.int32))
        if field.name == GAME
        else pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def sparse_columns(table: pa.Table) -> dict[str, NDArray[np.generic]]:
    """The inverse of `sparse_table`, for rows of one game (at least one)."""
    return {name: table[name].to_numpy() for name in table.schema.names if name != GAME and not table[name].null_count}
