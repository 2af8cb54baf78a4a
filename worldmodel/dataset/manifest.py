"""The manifest: what a dataset folder consists of. A file is part of the dataset if and only if it is named here.

Owns: the names in a dataset folder, and the one commit point. Must not: know what is in games or frames.

    manifest.json             written last, aside and renamed: before that moment nothing has happened
    games-<crc32>.parquet     one row per game; the row is the game's number
    files-<crc32>.parquet     one row per input file ever seen, with what became of it
    shards/NNNNN-<crc32>.arrow, shards/NNNNN-<crc32>.<table>.arrow
    salt                      private key of the players' hashes; never packed
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.runs.atomic import write_json
from worldmodel.schema import LAYOUT, SCHEMA_VERSION

MANIFEST = "manifest.json"
SHARDS = "shards"
SALT = "salt"
FORMAT = "worldmodel dataset"


class NotADataset(WrongUse):
    """The path is missing, or holds something else, or a dataset that lost parts of itself."""


class SchemaMismatch(WrongUse):
    """The dataset was written by another schema."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of the dataset; `name` is relative to the folder. The checksum guards against accidents (a quarter of a
    cryptographic hash's cost, which ingest would feel); games have a `frames_hash` besides."""

    name: str
    num_bytes: int
    crc32: str


@dataclass(frozen=True, slots=True)
class SparseInfo:
    """A sparse table of a shard."""

    file: FileInfo
    num_rows: int


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """A shard. All its games record the same fields: all stored columns of the layout but `absent`."""

    number: int
    file: FileInfo
    num_frames: int
    num_games: int
    absent: tuple[str, ...]
    sparse: dict[str, SparseInfo]
    open: bool
    """Not full yet: the next ingest goes on with it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides which games are in the dataset, and how they lie in it. Fixed at its first ingest."""

    filters: tuple[str, ...]
    min_frames: int
    keep_names: bool
    shard_frames: int


@dataclass(frozen=True, slots=True)
class SplitCount:
    """What a split holds: with it a manifest alone says how many examples there are of each."""

    num_games: int
    num_frames: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`."""

    settings: Settings
    content_hash: str
    num_games: int
    num_frames: int
    counts: dict[str, Any]
    """Of all files ever seen: {"accepted": n, "duplicates": n, "rejected": {reason: n}}."""
    games: FileInfo
    files: FileInfo
    shards: tuple[ShardInfo, ...]
    splits: dict[str, SplitCount] | None = None
    """By name, "train" and "val"; None in a manifest that was written before there were any."""
    schema_version: int = SCHEMA_VERSION
    store_hash: str = LAYOUT.store_hash

    @property
    def all_files(self) -> tuple[FileInfo, ...]:
        """Every file of the dataset but the manifest itself."""
        shards = [info for s in self.shards for info in (s.file, *(t.file for t in s.sparse.values()))]
        return (self.games, self.files, *shards)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit. Everything that it names must be durable already."""
    write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """Raises NotADataset, SchemaMismatch; looks at no other file."""
    way_out = "give a folder that `worldmodel ingest ... --out FOLDER` wrote"
    if not folder.exists():
        raise NotADataset(f"no folder {folder}", "a dataset", way_out)
    if not (folder / MANIFEST).is_file():
        raise NotADataset(f"{folder} has no {MANIFEST}", "a dataset", way_out)
    try:
        value = json.loads((folder / MANIFEST).read_bytes())
    except ValueError as error:
        raise NotADataset(f"{folder / MANIFEST} is no JSON ({error})", "a manifest", "ingest again") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise NotADataset(f"{folder / MANIFEST} is not a dataset's", f'"format": "{FORMAT}"', way_out)
    check_schema(str(folder), value)
    try:
        return parse_manifest(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotADataset(f"{folder / MANIFEST} lacks or garbles {error}", "a manifest", "ingest again") from None


def check_schema(name: str, value: dict[str, Any]) -> None:
    """Raise SchemaMismatch unless a manifest's values are of this schema. `name` is who holds it."""
    found = (value.get("schema_version"), value.get("store_hash"))
    if found != (SCHEMA_VERSION, LAYOUT.store_hash):
        raise SchemaMismatch(
            f"{name} holds schema {found[0]} ({found[1]})",
            f"schema {SCHEMA_VERSION} ({LAYOUT.store_hash})",
            "ingest the replays again into a new folder, or use the worldmodel that wrote it",
        )


def file_info(folder: Path, name: str) -> FileInfo:
    """Size and checksum of a file that is there."""
    checksum, num_bytes, buffer = 0, 0, bytearray(1 << 20)
    with (folder / name).open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            checksum = zlib.crc32(memoryview(buffer)[:got], checksum)
            num_bytes += got
    return FileInfo(name, num_bytes, f"{checksum:08x}")


def check_files(folder: Path, manifest: Manifest, *, checksums: bool) -> None:
    """Every named file is there with its size, and with `checksums` its content. Raises NotADataset for the first."""
    for info in manifest.all_files:
        check_file(folder, info, checksum=checksums)


def check_file(folder: Path, info: FileInfo, *, checksum: bool) -> None:
    """A file is there with its size, and with `checksum` its content (reads all of it). Raises NotADataset."""
    path, way_out = folder / info.name, "unpack or ingest the dataset again"
    if not path.is_file():
        raise NotADataset(f"{path} is missing", f"{info.num_bytes:,} bytes", way_out)
    if path.stat().st_size != info.num_bytes:
        raise NotADataset(f"{path} has {path.stat().st_size:,} bytes", f"{info.num_bytes:,} bytes", way_out)
    if checksum:
        try:
            found = file_info(folder, info.name)
        except OSError as error:
            raise NotADataset(f"{path} cannot be read ({error.strerror})", "a readable file", way_out) from error
        if found != info:
            raise NotADataset(
                f"{path} has changed since it was written: checksum {found.crc32}", f"checksum {info.crc32}", way_out
            )


def parse_manifest(value: dict[str, Any]) -> Manifest:
    """From JSON values. Raises KeyError, TypeError, AttributeError if they are no manifest."""
    shards = tuple(
        ShardInfo(
            number=s["number"],
            file=FileInfo(**s["file"]),
            num_frames=s["num_frames"],
            num_games=s["num_games"],
            absent=tuple(s["absent"]),
            sparse={k: SparseInfo(FileInfo(**t["file"]), t["num_rows"]) for k, t in s["sparse"].items()},
            open=s["open"],
        )
        for s in value["shards"]
    )
    splits = value.get("splits")
    settings = value["settings"] | {"filters": tuple(value["settings"]["filters"])}
    return Manifest(
        settings=Settings(**settings),
        content_hash=value["content_hash"],
        num_games=value["num_games"],
        num_frames=value["num_frames"],
        counts=value["counts"],
        games=FileInfo(**value["games"]),
        files=FileInfo(**value["files"]),
        shards=shards,
        splits=None if splits is None else {name: SplitCount(**counts) for name, counts in splits.items()},
    )
