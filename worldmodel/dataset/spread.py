"""Ingest on many machines: each reads a stretch of the files into a part, one then puts the parts together.

Owns: which files are whose, and the putting together. Must not: know how machines are had: a function that maps over
the parts is given.

The dataset that comes out is the one that a single machine would have written: parts are stretches of one order, their
players are hashed with its salt, and what only the whole order can tell (known, duplicate) is decided when they are put
together.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute
import pyarrow.parquet

from worldmodel.dataset.ingest import SHARD_FRAMES, ingest
from worldmodel.dataset.manifest import SALT, Manifest, Settings, ShardInfo, read_manifest
from worldmodel.dataset.register import IngestReport, Pace, Register, Seen
from worldmodel.dataset.shard import GAME, TIME, Shard, frames_hash
from worldmodel.dataset.sparse import sparse_columns
from worldmodel.dataset.writer import NewGame, writing
from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.replays.filters import DEFAULT_FILTERS, MIN_FRAMES, STRUCTURAL, check_names
from worldmodel.replays.source import Spot, find_spots, sources_at
from worldmodel.runs import atomic

MIN_BYTES = 64 << 20
"""A smaller part costs more to begin than to read."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the files, for one machine. spots: name, path, whether it was asked for, problem; of each file."""

    folder: str
    salt: str
    spots: tuple[tuple[str, str, bool, str], ...]
    filters: tuple[str, ...]
    min_frames: int
    keep_names: bool
    shard_frames: int


MapParts = Callable[[Sequence[Part]], Iterable[dict[str, Any]]]
"""Runs `read_part` for every part, wherever, and gives back what each returned. May raise what it did."""


def ingest_spread(
    sources: Sequence[Path],
    out: Path,
    scratch: Path,
    map_parts: MapParts,
    *,
    num_parts: int,
    filters: Iterable[str] = DEFAULT_FILTERS,
    min_frames: int = MIN_FRAMES,
    keep_names: bool = False,
    shard_frames: int = SHARD_FRAMES,
    before_reading: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> IngestReport:
    """Add the replays under `sources` to the dataset in `out`, read by up to `num_parts` machines.

    scratch: a folder that all of them write to; parts stay in it until they are in the dataset, so the same call again
    goes on where it was. before_reading: called when all parts are written, before the first is read here. An archive
    is never divided. Raises as `ingest`, and WorldModelError for a part that is damaged.
    """
    settings = Settings(tuple(sorted(check_names(filters) | STRUCTURAL)), min_frames, keep_names, shard_frames)
    with writing(out, settings) as writer:
        salt = writer.salt
    stretches = divide(list(find_spots(sources)), num_parts)
    if not stretches:
        raise WrongUse("no file found", "at least one .slp file or archive", "check the folder")
    parts = [
        Part(
            folder=str(scratch / f"{out.name}-{len(stretches):03d}-{number:03d}-{_key(stretch)}"),
            salt=salt.hex(),
            spots=tuple((spot.name, str(spot.path), spot.asked_for, spot.problem) for spot in stretch),
            filters=settings.filters,
            min_frames=min_frames,
            keep_names=keep_names,
            shard_frames=shard_frames,
        )
        for number, stretch in enumerate(stretches)
    ]
    say(f"{sum(map(len, stretches)):,} files in {len(parts)} parts")
    for number, done in enumerate(map_parts(parts), start=1):
        if done["interrupted"]:
            raise WorldModelError(f"part {number} of {len(parts)} was interrupted; the same command goes on")
        say(f"part {number} of {len(parts)}: {done['accepted']:,} games in {done['seconds']:.0f} s")
    before_reading()
    report = merge([Path(part.folder) for part in parts], out, settings)
    for part in parts:
        shutil.rmtree(part.folder)
    return report


def divide(spots: Sequence[Spot], num_parts: int) -> list[list[Spot]]:
    """At most so many stretches of about as many bytes, none of them too small to be worth a machine."""
    sizes = [_num_bytes(spot) for spot in spots]
    num = max(1, min(num_parts, sum(sizes) // MIN_BYTES))
    parts: list[list[Spot]] = [[] for _ in range(num)]
    before = 0
    for spot, size in zip(spots, sizes, strict=True):
        parts[min(num - 1, (before + size // 2) * num // max(1, sum(sizes)))].append(spot)
        before += size
    return [part for part in parts if part]


def read_part(part: Part, *, workers: int | None = None) -> dict[str, Any]:
    """Read a part into its folder; what is there already is left out. Returns its report. Raises as `ingest`."""
    folder = Path(part.folder)
    if not (folder / SALT).exists():
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(folder / SALT, bytes.fromhex(part.salt))
    spots = [Spot(name, Path(path), asked_for, problem) for name, path, asked_for, problem in part.spots]
    sources = sources_at(spots)
    if (first := next(sources, None)) is None:  # files without a replay in them are no error of the whole
        with writing(folder, Settings(part.filters, part.min_frames, part.keep_names, part.shard_frames)):
            return {"accepted": 0, "seconds": 0.0, "interrupted": False}
    report = ingest(
        chain([first], sources),
        folder,
        filters=part.filters,
        min_frames=part.min_frames,
        workers=workers,
        keep_names=part.keep_names,
        shard_frames=part.shard_frames,
    )
    return asdict(report)


def merge(folders: Sequence[Path], out: Path, settings: Settings) -> IngestReport:
    """Put parts together, in their order, into the dataset in `out`. What is in it already is left out, so that an
    interrupted merge is completed by another. Raises WorldModelError for a part that is damaged."""
    began = time.monotonic()
    with writing(out, settings, encoders=4) as writer:
        register, pace = Register(writer), Pace()
        for folder in folders:
            manifest = read_manifest(folder)
            if manifest.settings != settings:
                raise WrongUse(f"{folder} has other settings", "those of the dataset", "read the part again")
            for name, seen in _files_of(folder, manifest):
                closed = register.enter(name, seen)
                if pace.is_due(closed):
                    with pace.timed():
                        writer.commit()
        return register.report(writer.commit(), time.monotonic() - began)


def _files_of(folder: Path, manifest: Manifest) -> Iterator[tuple[str, Seen]]:
    """Every file of a part in its order, an accepted one with its game."""
    files = pyarrow.parquet.read_table(folder / manifest.files.name).to_pylist()
    rows = pyarrow.parquet.read_table(folder / manifest.games.name).to_pylist()
    numbers = {row["sha256"]: number for number, row in enumerate(rows)}
    shards = {info.number: _PartShard(folder, info) for info in manifest.shards}
    for file in files:
        sha256, outcome = file["sha256"], file["outcome"]
        game = None
        if outcome == "accepted":
            number = numbers[sha256]
            row = rows[number]
            game = shards[row.pop("shard")].game(number, row)
        is_duplicate = outcome == "duplicate"
        yield file["name"], Seen(sha256, file["reason"], file["detail"], game, is_duplicate=is_duplicate)


class _PartShard:
    """A shard of a part, open."""

    def __init__(self, folder: Path, info: ShardInfo) -> None:
        self._shard = Shard(folder, info)
        self._names = [name for name in self._shard.names if name not in (GAME, TIME)]
        self._sparse = self._shard.sparse_tables(folder)

    def game(self, number: int, row: dict[str, Any]) -> NewGame:
        """A game of it, whose content is compared with its hash. Raises WorldModelError."""
        start = row.pop("row_offset")
        stop = start + row["num_frames"]
        columns = {name: np.asarray(self._shard.stored(name, start, stop)) for name in self._names}
        tables = {
            name: table.filter(pyarrow.compute.equal(table[GAME], number)) for name, table in self._sparse.items()
        }
        sparse = {name: sparse_columns(table) for name, table in tables.items() if len(table)}
        if frames_hash(columns, sparse) != row["frames_hash"]:
            raise WorldModelError(f"the frames of {row['name']} are not what its part's hash says; read the part again")
        return NewGame(row, columns, sparse)


def _num_bytes(spot: Spot) -> int:
    try:
        return spot.path.stat().st_size
    except OSError:
        return 0


def _key(stretch: Sequence[Spot]) -> str:
    """Of the files of a part, so that the same command finds it again and another one does not."""
    words = json.dumps([(spot.name, _num_bytes(spot)) for spot in stretch])
    return hashlib.sha256(words.encode()).hexdigest()[:12]
