"""A dataset under construction: games in, shards and tables out, one commit point.

Owns: which shard a game goes to, when files are written, what a commit is. Must not: parse, judge, or read options.

Where a game lies follows from the sequence of games alone. There is one open shard per set of recorded fields; a
shard is closed at `shard_frames` frames, or when the open ones together pass twice that (the fullest then). A commit
writes the open shards as they are, and the next ingest takes them up again: many small ingests, an interrupted one
and a single large one end in the same shards.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from worldmodel.dataset.games import FILES_SCHEMA, GAMES_SCHEMA, content_hash
from worldmodel.dataset.manifest import (
    MANIFEST,
    SALT,
    SHARDS,
    FileInfo,
    Manifest,
    Settings,
    ShardInfo,
    SplitCount,
    check_files,
    file_info,
    read_manifest,
    write_manifest,
)
from worldmodel.dataset.shard import GAME, TIME, Shard, write_shard
from worldmodel.dataset.sparse import sparse_table
from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.runs.atomic import ASIDE, sync_folder, write_bytes

Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class NewGame:
    """A game to add. `row`: its row of the games table but for `shard` and `row_offset`."""

    row: dict[str, Any]
    columns: Columns
    sparse: dict[str, Columns]


@dataclass(slots=True)
class _OpenShard:
    number: int
    parts: list[Columns] = field(default_factory=list)
    sparse: dict[str, list[pa.Table]] = field(default_factory=dict)
    num_frames: int = 0
    num_games: int = 0
    is_written: bool = False


class Writer:
    """Adds to the dataset in `folder`, which is made if there is none. Use inside `with writing(...)`."""

    def __init__(self, folder: Path, settings: Settings, salt: bytes, encoders: int) -> None:
        self.folder, self.settings, self.salt = folder, settings, salt
        self._shards: list[ShardInfo | None] = []
        self._open: dict[tuple[str, ...], _OpenShard] = {}
        self._games, self._files = GAMES_SCHEMA.empty_table(), FILES_SCHEMA.empty_table()
        self._new_games: list[dict[str, Any]] = []
        self._new_files: list[dict[str, str]] = []
        self._encoders = ThreadPoolExecutor(encoders, "encode")
        self._max_pending = encoders
        self._pending: deque[tuple[int, Future[ShardInfo]]] = deque()
        self.manifest: Manifest | None = None
        if (folder / MANIFEST).exists():
            self._take_up()

    def _take_up(self) -> None:
        """Go on from what the last ingest committed."""
        self.manifest = read_manifest(self.folder)
        check_files(self.folder, self.manifest, checksums=False)
        self._shards = list(self.manifest.shards)
        self._games = pa.parquet.read_table(self.folder / self.manifest.games.name)
        self._files = pa.parquet.read_table(self.folder / self.manifest.files.name)
        for info in self.manifest.shards:
            if info.open:
                self._reopen(info)

    def _reopen(self, info: ShardInfo) -> None:
        shard = Shard(self.folder, info)
        columns = {name: shard.stored(name) for name in shard.names}
        sparse = {name: [table] for name, table in shard.sparse_tables(self.folder).items()}
        key = tuple(sorted(name for name in columns if name not in (GAME, TIME)))
        self._open[key] = _OpenShard(info.number, [columns], sparse, info.num_frames, info.num_games, is_written=True)

    # ---- what was seen before ------------------------------------------------------------------------------------

    def seen_files(self) -> set[tuple[str, str]]:
        """(sha256, name) of every input file on record."""
        return set(zip(self._files["sha256"].to_pylist(), self._files["name"].to_pylist(), strict=True))

    def seen_matches(self) -> set[str]:
        """`match_fingerprint` of every game."""
        return set(self._games["match_fingerprint"].to_pylist())

    @property
    def num_games(self) -> int:
        return len(self._games) + len(self._new_games)

    # ---- adding --------------------------------------------------------------------------------------------------

    def add_file(self, sha256: str, name: str, outcome: str, reason: str = "", detail: str = "") -> None:
        """Put on record what became of an input file."""
        record = {"sha256": sha256, "name": name, "outcome": outcome, "reason": reason, "detail": detail}
        self._new_files.append(record)

    def add_game(self, game: NewGame) -> bool:
        """Append a game. True if that closed a shard: a good moment to commit."""
        key = tuple(sorted(game.columns))
        if key not in self._open:
            self._open[key] = _OpenShard(len(self._shards))
            self._shards.append(None)
        shard, number, num_frames = self._open[key], self.num_games, game.row["num_frames"]
        self._new_games.append({**game.row, "shard": shard.number, "row_offset": shard.num_frames})
        place = {GAME: np.full(num_frames, number, np.int32), TIME: np.arange(num_frames, dtype=np.int32)}
        shard.parts.append(game.columns | place)
        for name, columns in game.sparse.items():
            shard.sparse.setdefault(name, []).append(sparse_table(name, number, columns))
        shard.num_frames += num_frames
        shard.num_games += 1
        shard.is_written = False
        full = [key] if shard.num_frames >= self.settings.shard_frames else []
        if not full and sum(s.num_frames for s in self._open.values()) > 2 * self.settings.shard_frames:
            full = [max(self._open, key=lambda k: (self._open[k].num_frames, -self._open[k].number))]
        for key in full:
            self._write(self._open.pop(key), is_open=False)
        return bool(full)

    def _write(self, shard: _OpenShard, *, is_open: bool) -> None:
        """Hand a shard to an encoder; at most as many wait as there are encoders, so memory is bounded."""
        while len(self._pending) >= self._max_pending:
            self._collect()
        # Copies of the lists: the shard may grow while an encoder reads them.
        parts, sparse = list(shard.parts), {name: list(tables) for name, tables in shard.sparse.items()}
        job = self._encoders.submit(_encode, self.folder, shard.number, parts, sparse, shard.num_games, is_open)
        self._pending.append((shard.number, job))

    def _collect(self) -> None:
        number, job = self._pending.popleft()
        self._shards[number] = job.result()

    # ---- commit --------------------------------------------------------------------------------------------------

    def commit(self) -> Manifest:
        """Make everything added so far durable, then name it in the manifest, then remove what is no longer named."""
        for shard in self._open.values():
            if not shard.is_written:
                self._write(shard, is_open=True)
                shard.is_written = True
        while self._pending:
            self._collect()
        self._games = _extended(self._games, self._new_games)
        self._files = _extended(self._files, self._new_files)
        self._new_games, self._new_files = [], []
        sync_folder(self.folder / SHARDS)
        shards = [info for info in self._shards if info is not None]
        assert len(shards) == len(self._shards)
        self.manifest = Manifest(
            settings=self.settings,
            content_hash=content_hash(self._games),
            num_games=len(self._games),
            num_frames=sum(info.num_frames for info in shards),
            counts=_counts(self._files),
            games=_write_table(self.folder, "games", self._games),
            files=_write_table(self.folder, "files", self._files),
            shards=tuple(shards),
            splits=_split_counts(self._games),
        )
        write_manifest(self.folder, self.manifest)
        remove_strangers(self.folder, self.manifest)
        return self.manifest

    def stop(self) -> None:
        """Wait for encoders; what was not committed is dropped."""
        self._encoders.shutdown(wait=True, cancel_futures=True)


def _split_counts(games: pa.Table) -> dict[str, SplitCount]:
    """Games and frames of each split."""
    splits, lengths = games["split"].to_numpy(), games["num_frames"].to_numpy()
    return {
        name: SplitCount(int((splits == name).sum()), int(lengths[splits == name].sum())) for name in ("train", "val")
    }


def _encode(
    folder: Path, number: int, parts: list[Columns], sparse: dict[str, list[pa.Table]], num_games: int, is_open: bool
) -> ShardInfo:
    tables = {name: pa.concat_tables(tables) for name, tables in sparse.items()}
    return write_shard(folder, number, parts, tables, num_games=num_games, is_open=is_open)


def _extended(table: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    if not rows:
        return table
    return pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)]).combine_chunks()


def _counts(files: pa.Table) -> dict[str, Any]:
    pairs = list(zip(files["outcome"].to_pylist(), files["reason"].to_pylist(), strict=True))
    outcomes = Counter(outcome for outcome, _ in pairs)
    reasons = Counter(reason for outcome, reason in pairs if outcome == "rejected")
    return {
        "accepted": outcomes["accepted"],
        "duplicates": outcomes["duplicate"],
        "rejected": dict(sorted(reasons.items())),
    }


def _write_table(folder: Path, kind: str, table: pa.Table) -> FileInfo:
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer, compression="zstd")
    aside = f"{ASIDE}{os.getpid()}-{kind}.parquet"
    write_bytes(folder / aside, buffer.getvalue())
    info = file_info(folder, aside)
    name = f"{kind}-{info.crc32}.parquet"
    (folder / aside).replace(folder / name)
    return FileInfo(name, info.num_bytes, info.crc32)


# ---- the folder --------------------------------------------------------------------------------------------------


def remove_strangers(folder: Path, manifest: Manifest) -> None:
    """Delete what no manifest names: leftovers of a killed ingest, and files that the last commit replaced."""
    named = {info.name for info in manifest.all_files}
    ours = [*folder.glob("games-*.parquet"), *folder.glob("files-*.parquet"), *folder.glob(f"{ASIDE}*")]
    for path in [*ours, *(folder / SHARDS).iterdir()]:
        if path.relative_to(folder).as_posix() not in named:
            path.unlink()


def require_room(folder: Path) -> None:
    """`folder` is a dataset, or can become one: missing, empty, or left by an ingest that was killed at its start."""
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    way_out = "give the folder of a dataset, or one that does not exist yet"
    if not folder.is_dir():
        raise WrongUse(f"{folder} is a file", "a folder", way_out)
    if strangers := sorted(p.name for p in folder.iterdir() if p.name not in (SHARDS, SALT) and ASIDE not in p.name):
        raise WrongUse(f"{folder} holds {strangers[0]} but no {MANIFEST}", "a dataset or an empty folder", way_out)


@contextmanager
def writing(folder: Path, settings: Settings, *, encoders: int = 1) -> Iterator[Writer]:
    """Lock `folder` and write to it. The caller commits; a failure leaves the last commit.

    Raises WrongUse (in use, not a dataset, other settings), WorldModelError (disk full or failing).
    """
    require_room(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder):
            if (folder / MANIFEST).exists():
                _require_same(folder, read_manifest(folder).settings, settings)
            (folder / SHARDS).mkdir(exist_ok=True)
            writer = Writer(folder, settings, _salt(folder), encoders)
            try:
                remove_strangers(folder, writer.manifest or writer.commit())
                yield writer
            finally:
                writer.stop()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(folder).free
            raise WorldModelError(
                f"the disk of {folder} is full ({free:,} bytes free); the dataset holds what was committed; "
                "make room and run the same command again"
            ) from error
        raise WorldModelError(f"cannot write {folder}: {error}; the dataset holds what was committed") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise WrongUse(f"{folder} is being written by another ingest", "one at a time", "wait for it to end") from None
    try:
        yield
    finally:
        os.close(handle)


def _salt(folder: Path) -> bytes:
    path = folder / SALT
    if not path.exists():
        if (folder / MANIFEST).exists() and read_manifest(folder).num_games:
            raise WrongUse(
                f"{folder} has no {SALT} (it was unpacked, perhaps)",
                "the key of its players' hashes",
                "add games where the dataset was first built, or ingest into a new folder",
            )
        aside = folder / f"{ASIDE}{os.getpid()}-{SALT}-key"
        write_bytes(aside, os.urandom(32))
        aside.chmod(0o600)
        aside.replace(path)
    return path.read_bytes()


def _require_same(folder: Path, found: Settings, expected: Settings) -> None:
    differ = []
    if added := sorted(set(expected.filters) - set(found.filters)):
        differ.append(f"without the filters {', '.join(added)}")
    if removed := sorted(set(found.filters) - set(expected.filters)):
        differ.append(f"with the filters {', '.join(removed)}")
    if found.min_frames != expected.min_frames:
        differ.append(f"with games of {found.min_frames:,} frames and more")
    if found.keep_names != expected.keep_names:
        differ.append("with players' names" if found.keep_names else "without players' names")
    if found.shard_frames != expected.shard_frames:
        differ.append(f"with shards of {found.shard_frames:,} frames")
    if differ:
        raise WrongUse(
            f"{folder} was built {', '.join(differ)}",
            "the settings of this run",
            "repeat the settings it was built with, or give a new folder",
        )
