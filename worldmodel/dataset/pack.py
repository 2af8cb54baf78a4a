"""A dataset as one small file, to send to a machine that has no replays: `pack` and `unpack`.

Owns: the archive. Must not: include the salt.

A pack is a ZIP file whose members are stored as they are: `pack.json` (the manifest, and how each column was packed),
the two tables, the sparse tables, and one member per shard with its columns one after the other.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from worldmodel.dataset.compress import LEVEL, SEED_STEPS, Packed, pack_ints, unpack_ints
from worldmodel.dataset.games import check_games, content_hash
from worldmodel.dataset.manifest import SHARDS, Manifest, ShardInfo, check_schema, parse_manifest, write_manifest
from worldmodel.dataset.shard import GAME, STORED, TIME, Shard, write_shard
from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.runs.atomic import ASIDE, new_folder, sync_folder
from worldmodel.schema import LAYOUT, column_name

FORMAT = "worldmodel pack 1"
_INDEX = "pack.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of all members: equal datasets make equal packs."""

Array = NDArray[np.generic]
Progress = Callable[[int], None]


def pack(dataset: Dataset, out_file: Path, *, level: int = LEVEL, progress: Progress = lambda num_frames: None) -> int:
    """Write the dataset to `out_file`. Returns its size in bytes. progress(frames) is called after each shard.

    Raises WrongUse if `out_file` exists, NotADataset if a file of the dataset is damaged.
    """
    if out_file.exists():
        raise WrongUse(f"{out_file} exists", "a name for a new file", "remove it or give another name")
    dataset.verify()
    aside = out_file.with_name(f"{ASIDE}{os.getpid()}-{out_file.name}")
    manifest = dataset.manifest
    columns: dict[str, Any] = {}
    try:
        with aside.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, _threads() as threads:
                for info in (manifest.games, manifest.files, *_sparse_files(manifest)):
                    _add(archive, info.name, (dataset.path / info.name).read_bytes())
                for shard in manifest.shards:
                    entries, blob = _pack_shard(dataset.shard(shard.number), level, threads)
                    columns[_member(shard)] = entries
                    _add(archive, _member(shard), blob)
                    progress(shard.num_frames)
                index = {"format": FORMAT, "manifest": asdict(manifest), "columns": columns}
                _add(archive, _INDEX, json.dumps(index).encode())
            file.flush()
            os.fsync(file.fileno())
        aside.rename(out_file)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(out_file.parent)
    return out_file.stat().st_size


def unpack(file: Path, out: Path, *, progress: Progress = lambda num_frames: None) -> Manifest:
    """Restore the dataset of a pack into the folder `out`, verified game by game. All or nothing.

    Raises WrongUse: `out` exists and is not empty; `file` is missing, no pack, cut off, damaged, of another schema.
    """
    if not file.is_file():
        raise WrongUse(f"no file {file}", "a pack", "give a file that `worldmodel pack` wrote")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongUse(f"{out} exists", "a name for a new folder", "remove it or give another name")
    with _refusing_damage(file), zipfile.ZipFile(file) as archive:
        index = json.loads(archive.read(_INDEX))
        if index["format"] != FORMAT:
            raise WrongUse(f"{file} is a {index['format']!r}", repr(FORMAT), "use the worldmodel that packed it")
        check_schema(str(file), index["manifest"])
        packed = parse_manifest(index["manifest"])
        with new_folder(out) as folder, _threads() as threads:
            (folder / SHARDS).mkdir()
            for info in (packed.games, packed.files):
                (folder / info.name).write_bytes(archive.read(info.name))
            games = pa.parquet.read_table(folder / packed.games.name)
            shards = []
            for shard in packed.shards:
                columns = _unpack_columns(archive.read(_member(shard)), index["columns"][_member(shard)], threads)
                sparse = {name: _read_sparse(archive, table.file.name) for name, table in shard.sparse.items()}
                shards.append(_restore(folder, shard, columns, sparse, games))
                progress(shard.num_frames)
            if content_hash(games) != packed.content_hash:
                raise ValueError("the games are not those of the content hash")
            manifest = replace(packed, shards=tuple(shards))
            write_manifest(folder, manifest)
    return manifest


# ---- archive -----------------------------------------------------------------------------------------------------


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)


def _member(shard: ShardInfo) -> str:
    return f"{SHARDS}/{shard.number:05d}"


def _sparse_files(manifest: Manifest) -> list[Any]:
    return [table.file for shard in manifest.shards for table in shard.sparse.values()]


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        yield threads


@contextmanager
def _refusing_damage(file: Path) -> Iterator[None]:
    try:
        yield
    except WrongUse:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, pa.ArrowException) as error:
        raise WrongUse(
            f"{file} is no whole pack ({error})", "a file as `worldmodel pack` wrote it", "copy it again"
        ) from error


# ---- a shard -----------------------------------------------------------------------------------------------------


def _pack_shard(shard: Shard, level: int, threads: ThreadPoolExecutor) -> tuple[list[dict[str, Any]], bytes]:
    """What the index says of each column, and their bytes one after the other."""
    names = [column.name for column in STORED if shard.has(column.name)]
    entries, blobs = [], []
    for name, parts in zip(names, threads.map(lambda name: _pack_column(shard, name, level), names), strict=True):
        for role, packed in parts.items():
            blobs.append(packed.data)
            entry = {"column": name, "part": role, "bytes": len(packed.data)}
            entries.append(entry | {"step": packed.step, "width": packed.item_bytes, "rows": packed.num_rows})
    return entries, b"".join(blobs)


def _pack_column(shard: Shard, name: str, level: int) -> dict[str, Packed]:
    """ "values" alone for a plain column; "table" and "indices" for a dictionary."""
    values, indices = shard.encoding(name)
    bits = _bits(values)
    if name == column_name(LAYOUT.the("random_seed"), None):
        return {"values": pack_ints(bits, steps=SEED_STEPS, level=level)}
    if indices is None:
        return {"values": pack_ints(bits, level=level)}
    return {"table": pack_ints(bits, level=level), "indices": pack_ints(_bits(indices), level=level)}


def _unpack_columns(blob: bytes, entries: list[dict[str, Any]], threads: ThreadPoolExecutor) -> dict[str, Array]:
    starts = np.cumsum([0] + [entry["bytes"] for entry in entries]).tolist()
    if starts[-1] != len(blob):
        raise ValueError(f"{len(blob):,} bytes of columns where {starts[-1]:,} should be")

    def unpacked(at: int) -> Array:
        entry = entries[at]
        data = blob[starts[at] : starts[at + 1]]
        return unpack_ints(Packed(entry["step"], entry["width"], entry["rows"], data))

    parts: dict[str, dict[str, Array]] = {}
    for entry, values in zip(entries, threads.map(unpacked, range(len(entries))), strict=True):
        parts.setdefault(entry["column"], {})[entry["part"]] = values
    return {
        name: (part["values"] if "values" in part else part["table"][part["indices"]]).view(_DTYPES[name])
        for name, part in parts.items()
    }


_DTYPES = {column.name: np.dtype(column.field.dtype) for column in STORED}


def _bits(values: Array) -> Any:
    return values.view(np.dtype(f"u{values.itemsize}"))


def _read_sparse(archive: zipfile.ZipFile, name: str) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(archive.read(name))).read_all()


def _restore(
    folder: Path, shard: ShardInfo, columns: dict[str, Array], sparse: dict[str, pa.Table], games: pa.Table
) -> ShardInfo:
    """Check every game of a shard against its hash, and write the shard."""
    check_games(games, shard.number, columns, sparse)
    members = np.flatnonzero(games["shard"].to_numpy() == shard.number).astype(np.int32)
    lengths = games["num_frames"].to_numpy()[members].tolist()
    place = {GAME: np.repeat(members, lengths), TIME: np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])}
    return write_shard(folder, shard.number, [columns | place], sparse, num_games=shard.num_games, is_open=shard.open)
