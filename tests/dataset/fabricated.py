"""Fabricated games for the tests of this room, and what makes two datasets the same."""

from __future__ import annotations

import numpy as np

from worldmodel.dataset.games import salted, split_of
from worldmodel.dataset.manifest import Settings
from worldmodel.dataset.shard import STORED, frames_hash
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.writer import NewGame
from worldmodel.schema import Category
from worldmodel.schema.field import OutOfRange

SETTINGS = Settings(filters=("not_two_players",), min_frames=1, keep_names=False, shard_frames=1000)


def fabricate(seed: int, num_frames: int = 300, *, absent: frozenset[str] = frozenset(), items: int = 5) -> NewGame:
    """A game of random values. Numbers vary over 200 values (so narrow ones become dictionaries)."""
    rng = np.random.default_rng(seed)
    columns = {}
    for column in STORED:
        if column.name in absent:
            continue
        dtype, codec = np.dtype(column.field.dtype), column.field.codec
        top = 200
        if isinstance(codec, Category):
            top = codec.vocab + (40 if codec.out_of_range is OutOfRange.OTHER else 0)
        values = rng.integers(0, min(top, 200), num_frames)
        if dtype.itemsize == 8:
            values = values << 20  # flags in the middle of their word
        columns[column.name] = (values / 4 if dtype.kind == "f" else values).astype(dtype)
    sparse = {}
    if items:
        t = np.sort(rng.integers(0, num_frames, items)).astype(np.int32)
        sparse["items"] = {"t": t, "type": np.arange(items, dtype=np.uint16), "x": rng.random(items).astype(np.float32)}
    row = dict.fromkeys(f"{p}_{n}" for p in ("p0", "p1") for n in ("port", "character", "costume", "stocks"))
    row |= {
        "game_id": f"{seed:016x}", "sha256": f"{seed:064x}", "frames_hash": frames_hash(columns, sparse),
        "name": f"game{seed}.slp", "num_frames": num_frames, "first_frame_id": -123, "version": "3.14.0",
        "stage": 31, "stage_name": "Battlefield", "p0_character_name": "Fox", "p1_character_name": "Marth",
        "end_method": "game", "match_fingerprint": salted(f"match {seed}", b"salt"),
        "match_group": salted(f"set {seed // 3}", b"salt"), "split": split_of(f"set {seed // 3}"),
    }  # fmt: skip
    return NewGame(row, columns, sparse)


ABSENT_IN_OLD = frozenset(f"{player}.hitlag" for player in ("p0", "p1"))


def assert_same_content(left: Dataset, right: Dataset) -> None:
    """Equal but for the salt: games, their places, shards file by file, what became of each input."""
    assert left.content_hash == right.content_hash
    assert left.manifest.shards == right.manifest.shards
    private = ["p0_player", "p1_player", "match_group", "match_fingerprint"]
    assert left.games.drop(private).equals(right.games.drop(private))
    assert left.files.equals(right.files)
