"""One shard: the frames of some games, as an Arrow IPC file with one record batch, memory-mapped to read.

Owns: how a column lies on disk, and back. Must not: know of games tables or manifests beyond a shard's own entry.

A column is the plain array of its values or, for `narrow` fields, where that is smaller, a dictionary of the distinct
*bit patterns* with uint8 or uint16 indices: exact for every NaN and for -0.0. A field that the shard's games do not
record is absent. `game` and `t` come first, then the players' columns, then the frame's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from worldmodel.dataset.manifest import SHARDS, FileInfo, NotADataset, ShardInfo, SparseInfo, file_info
from worldmodel.runs.atomic import ASIDE
from worldmodel.schema import LAYOUT, Column, Field, column_name
from worldmodel.schema.derived import DERIVED

STORED: tuple[Column, ...] = tuple(column for column in LAYOUT.columns if column.field.stored)
"""The frame columns at rest, in order."""

_ARROW = {
    "f4": pa.float32(), "u1": pa.uint8(), "i1": pa.int8(), "u2": pa.uint16(), "i4": pa.int32(), "u4": pa.uint32(),
    "u8": pa.uint64(), "bool": pa.bool_(),
}  # fmt: skip

GAME, TIME = "game", "t"
"""Two columns that place each row: the game's number, and the index of the frame in it. For queries that join."""

PLAIN_SCHEMA = pa.schema(
    [(GAME, pa.int32()), (TIME, pa.int32())] + [(column.name, _ARROW[column.field.dtype]) for column in STORED]
)
"""Every column with its plain type: what all shards together look like to a query engine."""


def arrow_type(dtype: str) -> pa.DataType:
    """Arrow's type for a schema dtype."""
    return _ARROW[dtype]


class Shard:
    """A shard open for reading. Arrays are read-only views of the file wherever the values lie there plain."""

    def __init__(self, folder: Path, info: ShardInfo) -> None:
        """Looks at the file's footer alone. Raises NotADataset if that cannot be read."""
        self.info = info
        path = folder / info.file.name
        try:
            self._map = pa.memory_map(str(path))
            self._batch = pa.ipc.open_file(self._map).get_batch(0)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).strip().partition("\n")[0]
            raise NotADataset(f"{path} cannot be read ({reason})", "a shard", "unpack or ingest again") from error
        self.names = frozenset(self._batch.schema.names)

    def has(self, name: str) -> bool:
        """Whether the shard's games record the column, or all that a derived column is computed from."""
        column = LAYOUT.column[name]
        return name in self.names if column.field.stored else self._needs(column) <= self.names

    def encoding(self, name: str) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
        """(distinct values, indices into them) of a dictionary column, (values, None) of a plain one; whole shard."""
        array = self._batch.column(name)
        if isinstance(array, pa.DictionaryArray):
            return array.dictionary.to_numpy(), array.indices.to_numpy()
        return array.to_numpy(), None

    def column(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Rows start : stop of a column, stored or derived, that the shard `has`."""
        column = LAYOUT.column[name]
        if not column.field.stored:
            assert column.field.derive is not None
            function, _ = DERIVED[column.field.derive]
            return function(lambda field: self.column(column_name(_field(field), column.player), start, stop))
        return self.stored(name, start, stop)

    def stored(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.generic]:
        """Rows of a column of the file. Raises NotADataset for one that is damaged so that it cannot be read."""
        values, indices = self.encoding(name)
        return values[start:stop] if indices is None else self.entries(name, values, indices[start:stop])

    def entries(self, name: str, table: NDArray[Any], indices: NDArray[np.generic]) -> NDArray[Any]:
        """Rows of a dictionary column out of a table that has an entry for each of its values. Raises NotADataset."""
        try:
            rows: NDArray[Any] = table[indices]
            return rows
        except IndexError as error:
            raise self._damaged(name, error) from error

    def counts(self, name: str, values: NDArray[Any], indices: NDArray[Any]) -> NDArray[np.int64]:
        """How often each value of a dictionary column occurs. Raises NotADataset."""
        try:
            found = np.bincount(indices, minlength=len(values))
        except ValueError as error:  # an index below 0
            raise self._damaged(name, error) from error
        if len(found) > len(values):
            raise self._damaged(name, f"index {len(found) - 1} of {len(values)} values")
        return found

    def _damaged(self, name: str, why: object) -> NotADataset:
        what = f"shard {self.info.number}: {name} is damaged ({why})"
        return NotADataset(what, "what was written", "unpack or ingest again")

    def sparse_tables(self, folder: Path) -> dict[str, pa.Table]:
        """Its sparse tables, in memory."""
        tables = {}
        for name, table in self.info.sparse.items():
            with pa.OSFile(str(folder / table.file.name)) as source:
                tables[name] = pa.ipc.open_file(source).read_all()
        return tables

    @staticmethod
    def _needs(column: Column) -> frozenset[str]:
        assert column.field.derive is not None
        return frozenset(column_name(_field(field), column.player) for field in DERIVED[column.field.derive][1])


def _field(name: str) -> Field:
    return LAYOUT.by_name[name]


# ---- writing ---------------------------------------------------------------------------------------------------


def write_shard(
    folder: Path,
    number: int,
    parts: Sequence[dict[str, NDArray[np.generic]]],
    sparse: dict[str, pa.Table],
    *,
    num_games: int,
    is_open: bool,
) -> ShardInfo:
    """Write the files of a shard, durably, under names that hold their content. Returns what the manifest says of it.

    parts: stretches of rows, one after the other; each has every column that the games record, `game` and `t`.
    Nothing of the dataset changes until a manifest names the files. Raises OSError.
    """
    present = [(GAME, True)]
    present += [(column.name, column.field.narrow) for column in STORED if column.name in parts[0]]
    arrays = [_encoded(np.concatenate([part[name] for part in parts]), narrow=narrow) for name, narrow in present]
    times = _counted(np.concatenate([part[TIME] for part in parts]))
    batch = pa.record_batch([arrays[0], times, *arrays[1:]], names=[GAME, TIME, *(name for name, _ in present[1:])])
    tables = {name: table.combine_chunks() for name, table in sparse.items() if table.num_rows}
    return ShardInfo(
        number=number,
        file=_write_batch(folder, number, "arrow", batch, compression=None),
        num_frames=batch.num_rows,
        num_games=num_games,
        absent=tuple(column.name for column in STORED if column.name not in parts[0]),
        sparse={
            name: SparseInfo(
                _write_batch(folder, number, f"{name}.arrow", table.to_batches()[0], compression="zstd"), table.num_rows
            )
            for name, table in tables.items()
        },
        open=is_open,
    )


def _write_batch(folder: Path, number: int, suffix: str, batch: pa.RecordBatch, *, compression: str | None) -> FileInfo:
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    shards = folder / SHARDS
    aside = f"{SHARDS}/{ASIDE}{os.getpid()}-{number:05d}.{suffix}"
    with pa.OSFile(str(folder / aside), "wb") as sink, pa.ipc.new_file(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    info = file_info(folder, aside)
    with (folder / aside).open("rb") as file:
        os.fsync(file.fileno())
    name = f"{number:05d}-{info.crc32}.{suffix}"
    (folder / aside).rename(shards / name)
    return FileInfo(f"{SHARDS}/{name}", info.num_bytes, info.crc32)


def _encoded(values: NDArray[np.generic], *, narrow: bool) -> pa.Array:
    plain = pa.array(values)
    if not narrow or not len(values):
        return plain
    # Values come in runs, so only the runs' values are looked up. All of it is Arrow's, which needs no interpreter
    # lock: the thread that parses goes on meanwhile.
    runs = pa.compute.run_end_encode(pa.array(values.view(np.dtype(f"u{values.itemsize}"))), run_end_type=pa.int32())
    encoded = runs.values.dictionary_encode()
    distinct = encoded.dictionary.to_numpy()
    for index_type in (pa.uint8(), pa.uint16()):
        num_bytes = len(values) * index_type.byte_width + distinct.nbytes
        if len(distinct) <= 1 << index_type.bit_width and num_bytes < values.nbytes:
            indices = pa.RunEndEncodedArray.from_arrays(runs.run_ends, encoded.indices.cast(index_type))
            table = pa.array(distinct.view(values.dtype))
            return pa.DictionaryArray.from_arrays(pa.compute.run_end_decode(indices), table, safe=False)
    return plain


def _counted(times: NDArray[np.generic]) -> pa.Array:
    """Frame indices, as indices into 0, 1, 2 ... where those fit two bytes."""
    top = int(times.max(initial=0)) + 1
    if top > 1 << 16:
        return pa.array(times)
    table = pa.array(np.arange(top, dtype=times.dtype))
    return pa.DictionaryArray.from_arrays(pa.array(times.astype(np.uint16)), table, safe=False)


# ---- identity --------------------------------------------------------------------------------------------------


def frames_hash(columns: dict[str, NDArray[np.generic]], sparse: dict[str, dict[str, NDArray[np.generic]]]) -> str:
    """Identity of the stored content of one game: of every column, dense and sparse, bit for bit; 32 hex digits.

    Each column is first reduced to 64 bits by a sum of words times fixed odd weights: any change of one word changes
    it for certain, others with a chance of about 2^-63 to miss. It guards against accidents, not against adversaries,
    and costs a tenth of a cryptographic hash.
    """
    digest = hashlib.blake2b(digest_size=16)
    for column in STORED:
        if column.name in columns:
            _absorb(digest, column.name, columns[column.name])
    for table in sorted(sparse):
        for name in sorted(sparse[table]) if len(sparse[table][TIME]) else ():
            _absorb(digest, f"{table}/{name}", sparse[table][name])
    return digest.hexdigest()


def _absorb(digest: hashlib.blake2b, name: str, values: NDArray[np.generic]) -> None:
    raw = np.ascontiguousarray(values).view(np.uint8)
    whole = len(raw) // 8 * 8
    words = raw[:whole].view(np.dtype("<u8"))
    mixed = int(np.dot(words, _weights(len(words)))) & (1 << 64) - 1
    digest.update(f"{name} {values.dtype.str} {len(values)} {mixed:016x} {raw[whole:].tobytes().hex()}\n".encode())


_WEIGHTS: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]


def _weights(num: int) -> NDArray[np.uint64]:
    """Odd pseudo-random numbers: the SplitMix64 sequence (Steele, Lea, Flood 2014) of seed 0, lowest bit set."""
    if len(_WEIGHTS[0]) < num:
        z = np.arange(1, max(num, 1 << 15) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        _WEIGHTS[0] = (z ^ (z >> np.uint64(31))) | np.uint64(1)
    return _WEIGHTS[0][:num]
