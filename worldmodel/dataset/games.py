"""The tables of a dataset: games, and input files with what became of them.

Owns: the columns of both tables, the players' hashes, the split. Must not: parse, or touch frames.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from worldmodel.dataset.shard import GAME, arrow_type, frames_hash
from worldmodel.dataset.sparse import sparse_columns
from worldmodel.schema import LAYOUT, Scope

_GAME_FIELDS = [(row.name, arrow_type(row.dtype)) for row in LAYOUT.rows if row.scope is Scope.GAME]

GAMES_SCHEMA = pa.schema(
    [
        ("game_id", pa.string()),  # first 16 hex digits of sha256
        ("sha256", pa.string()),  # of the .slp
        ("frames_hash", pa.string()),  # of the stored content, see shard.frames_hash
        ("name", pa.string()),  # of the input file
        ("shard", pa.int32()),
        ("row_offset", pa.int64()),  # row of the shard where the game begins
        ("num_frames", pa.int32()),
        ("first_frame_id", pa.int32()),
        ("num_rollback_rows", pa.int32()),
        ("version", pa.string()),  # of Slippi, "3.14.0"
        *_GAME_FIELDS,
        ("stage_name", pa.string()),
        *[
            (f"{player}_{name}", kind)
            for player in ("p0", "p1")
            for name, kind in (
                ("port", pa.uint8()),  # 0-based
                ("character", pa.uint8()),  # external id, as chosen
                ("character_name", pa.string()),
                ("costume", pa.uint8()),
                ("kind", pa.string()),
                ("stocks", pa.uint8()),  # at the start
                ("player", pa.string()),  # salted hash, or the name if those are kept; null if the replay has none
                ("placement", pa.int8()),  # 0 won; null if not recorded
            )
        ],
        ("started_at", pa.string()),
        ("platform", pa.string()),
        ("game_mode", pa.uint8()),
        ("is_teams", pa.bool_()),
        ("items_on", pa.bool_()),
        ("is_pal", pa.bool_()),
        ("is_frozen_stadium", pa.bool_()),
        ("timer_s", pa.int32()),
        ("seed", pa.uint32()),
        ("num_followers", pa.int32()),
        ("game_number", pa.int32()),  # within its set; null if not recorded
        ("end_method", pa.string()),
        ("quitter", pa.int8()),  # port
        ("match_fingerprint", pa.string()),  # salted
        ("match_group", pa.string()),  # salted; games of one group are in one split
        ("split", pa.string()),
    ]
)

FILES_SCHEMA = pa.schema(
    [
        ("sha256", pa.string()),  # "" where the bytes could not be read
        ("name", pa.string()),
        ("outcome", pa.string()),  # accepted, rejected, duplicate
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

VALIDATION_SHARE = 0.10


def split_of(group_key: str) -> str:
    """ "val" for a tenth of all match groups, else "train". A function of the unsalted key alone, fixed for ever."""
    fraction = int.from_bytes(hashlib.sha256(group_key.encode()).digest()[:8], "big") / 2**64
    return "val" if fraction < VALIDATION_SHARE else "train"


def salted(text: str, salt: bytes) -> str:
    """Hash of a private text, equal within a dataset, unrelated between datasets; 16 hex digits."""
    return hashlib.blake2b(text.encode(), key=salt, digest_size=8).hexdigest()


def content_hash(games: pa.Table) -> str:
    """Identity of the content of a dataset: the replays, what was stored of each, and by which schema."""
    digest = hashlib.sha256(LAYOUT.store_hash.encode())
    pairs = zip(games.column("sha256").to_pylist(), games.column("frames_hash").to_pylist(), strict=True)
    for pair in sorted(pairs):
        digest.update("\n{} {}".format(*pair).encode())
    return digest.hexdigest()


def check_games(
    games: pa.Table, shard: int, columns: dict[str, NDArray[np.generic]], sparse: dict[str, pa.Table]
) -> None:
    """Compare the content of a shard with the hashes of its games. Raises ValueError for the first that differs."""
    for number in np.flatnonzero(games["shard"].to_numpy() == shard).tolist():
        start, length = games["row_offset"][number].as_py(), games["num_frames"][number].as_py()
        own = {name: values[start : start + length] for name, values in columns.items()}
        rows = {name: table.filter(pa.compute.equal(table[GAME], number)) for name, table in sparse.items()}
        content = frames_hash(own, {name: sparse_columns(table) for name, table in rows.items() if len(table)})
        if content != games["frames_hash"][number].as_py():
            raise ValueError(f"the frames of game {number} are not what its hash says")
