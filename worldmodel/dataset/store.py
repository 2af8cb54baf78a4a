"""A dataset open for reading: games, frames, splits.

Owns: the public surface for reading. Must not: change anything on disk.
"""

from __future__ import annotations

import difflib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
from numpy.typing import NDArray

from worldmodel.dataset.games import check_games
from worldmodel.dataset.manifest import NotADataset, check_file, check_files, read_manifest
from worldmodel.dataset.shard import GAME, PLAIN_SCHEMA, STORED, TIME, Shard
from worldmodel.dataset.sparse import SPARSE_SCHEMA
from worldmodel.schema import LAYOUT

Split = Literal["train", "val", "all"]


class MissingColumn(KeyError):
    """The game does not record the column, or there is no such column."""

    def __str__(self) -> str:
        return str(self.args[0])


def open_dataset(path: str | Path, *, verify: bool = False) -> Dataset:
    """Open a dataset folder. `verify` compares checksums of all files (reads everything); sizes are always compared.

    Raises NotADataset, SchemaMismatch (both WrongUse).
    """
    dataset = Dataset(Path(path))
    check_files(dataset.path, dataset.manifest, checksums=False)
    if verify:
        dataset.verify()
    return dataset


class Dataset:
    """Read access. `games` has one row per game; the row index is the game's number everywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = read_manifest(path)
        self._shards: dict[int, Shard] = {}
        self._checked: set[int] = set()

    def __repr__(self) -> str:
        return f"<Dataset {self.path}: {self.num_games:,} games, {self.num_frames:,} frames, {self.content_hash[:12]}>"

    @property
    def num_games(self) -> int:
        return self.manifest.num_games

    @property
    def num_frames(self) -> int:
        return self.manifest.num_frames

    @property
    def content_hash(self) -> str:
        """Identity of the games' content and of the schema it is stored by; not of their order, salt or location."""
        return self.manifest.content_hash

    def verify(self) -> None:
        """Compare every file with its checksum and every game with its hash. Raises NotADataset where they differ."""
        check_files(self.path, self.manifest, checksums=True)
        for info in self.manifest.shards:
            shard = self.shard(info.number)
            columns = {column.name: shard.stored(column.name) for column in STORED if shard.has(column.name)}
            try:
                check_games(self.games, info.number, columns, shard.sparse_tables(self.path))
            except ValueError as error:
                raise NotADataset(f"{self.path}: {error}", "what was ingested", "ingest or unpack again") from None

    # ---- games -------------------------------------------------------------------------------------------------

    @cached_property
    def games(self) -> pa.Table:
        """One row per game (see `worldmodel.dataset.games` for its columns)."""
        check_file(self.path, self.manifest.games, checksum=True)
        return pa.parquet.read_table(self.path / self.manifest.games.name).combine_chunks()

    @cached_property
    def files(self) -> pa.Table:
        """One row per input file ever seen: sha256, name, outcome, reason, detail."""
        return pa.parquet.read_table(self.path / self.manifest.files.name)

    def game_column(self, name: str) -> NDArray[Any]:
        """A column of the games table as a NumPy array."""
        return self.games.column(name).to_numpy()  # type: ignore[no-any-return]

    @cached_property
    def num_frames_per_game(self) -> NDArray[np.int64]:
        """(G,)."""
        return self.game_column("num_frames").astype(np.int64)

    @cached_property
    def shard_of_game(self) -> NDArray[np.int64]:
        """(G,) number of the shard that holds the game."""
        return self.game_column("shard").astype(np.int64)

    @cached_property
    def offset_of_game(self) -> NDArray[np.int64]:
        """(G,) row of the game's first frame in its shard."""
        return self.game_column("row_offset").astype(np.int64)

    def rows(self, split: Split = "all") -> NDArray[np.int64]:
        """Game numbers of a split, ascending."""
        if split == "all":
            return np.arange(self.num_games)
        return np.flatnonzero(self.game_column("split") == split)

    def game(self, number: int) -> Game:
        """A game by number. Raises IndexError."""
        if not 0 <= number < self.num_games:
            raise IndexError(f"game {number} of {self.num_games}")
        return Game(self, number)

    # ---- frames ------------------------------------------------------------------------------------------------

    def shard(self, number: int) -> Shard:
        """A shard, memory-mapped on first use."""
        if number not in self._shards:
            self._shards[number] = Shard(self.path, self.manifest.shards[number])
        return self._shards[number]

    def checked_shard(self, number: int) -> Shard:
        """A shard for reading whole games: its file is compared with its checksum, once for this object.

        Damage would else become wrong frames without a word, or a signal that ends the process where a mapped file is
        too short. Raises NotADataset.
        """
        if number not in self._checked:
            check_file(self.path, self.manifest.shards[number].file, checksum=True)
            self._checked.add(number)
        return self.shard(number)

    def frames(self, columns: list[str] | None = None) -> pa.dataset.Dataset:
        """All frames for DuckDB, Polars or pyarrow: a lazy dataset over the shards, missing values null.

        `columns`: the only ones to show. Besides those of the layout there are `game` (number) and `t` (frame index).
        """
        schema = (
            PLAIN_SCHEMA
            if columns is None
            else pa.schema([PLAIN_SCHEMA.field(name if name in (GAME, TIME) else _known(name)) for name in columns])
        )
        return self._over([shard.file.name for shard in self.manifest.shards], schema)

    def sparse(self, table: str) -> pa.dataset.Dataset:
        """A sparse table ("items", "fod_platforms" ...) of all games, lazily, with columns `game` and `t`."""
        infos = [shard.sparse[table] for shard in self.manifest.shards if table in shard.sparse]
        return self._over([info.file.name for info in infos], SPARSE_SCHEMA[table])

    def _over(self, names: list[str], schema: pa.Schema) -> pa.dataset.Dataset:
        if not names:
            return pa.dataset.dataset(schema.empty_table())
        return pa.dataset.dataset([str(self.path / name) for name in names], schema=schema, format="ipc")


class Game:
    """One game. `game["p0.percent"]` is its column (num_frames,), a read-only view of the file where possible."""

    __slots__ = ("_dataset", "_offset", "_shard", "num_frames", "number")

    def __init__(self, dataset: Dataset, number: int) -> None:
        self._dataset, self.number = dataset, number
        self.num_frames = int(dataset.num_frames_per_game[number])
        self._offset = int(dataset.offset_of_game[number])
        self._shard = dataset.shard(int(dataset.shard_of_game[number]))

    @property
    def info(self) -> dict[str, Any]:
        """Its row of the games table."""
        return self._dataset.games.slice(self.number, 1).to_pylist()[0]  # type: ignore[no-any-return]

    def present(self, name: str) -> bool:
        """Whether the replay records the column (or what it is derived from). Raises MissingColumn if unknown."""
        return self._shard.has(_known(name))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column, stored or derived. Raises MissingColumn if the replay does not record it."""
        if not self.present(name):
            version = self.info["version"]
            raise MissingColumn(f"game {self.number} has no {name}: Slippi {version} does not record it")
        return self._shard.column(name, self._offset, self._offset + self.num_frames)

    def sparse(self, table: str) -> pa.Table:
        """Its rows of a sparse table."""
        rows = self._dataset.sparse(table).to_table(filter=pa.dataset.field(GAME) == self.number)
        return rows.combine_chunks()


def _known(name: str) -> str:
    if name not in LAYOUT.column:
        near = difflib.get_close_matches(name, LAYOUT.column, n=1)
        raise MissingColumn(f"no column {name!r}" + (f"; the nearest name is {near[0]!r}" if near else ""))
    return name
