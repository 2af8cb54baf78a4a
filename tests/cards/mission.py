"""What tests of cards share: a dataset with the mission's counts (a manifest and a table of games, no frames)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from worldmodel.dataset.games import GAMES_SCHEMA
from worldmodel.dataset.manifest import FileInfo, Manifest, Settings, SplitCount, file_info, write_manifest

WriteRun = Callable[..., Path]
NewCard = Callable[..., Any]
"""Fixtures of conftest: `write_run` and `card` (which gives a View)."""

NUM_GAMES, NUM_FRAMES = 22_000, 206_754_081
NUM_TRAIN_GAMES, NUM_TRAIN_EXAMPLES, NUM_VAL_EXAMPLES = 19_800, 185_648_963, 20_885_118
CONTEXT = 10

CARD = Path(__file__).with_name("mission_card.md")


def lengths_with_sum(num: int, total: int, seed: int, *, shortest: int = 1800) -> NDArray[np.int64]:
    """`num` lengths, none under `shortest`, that add up to `total`."""
    free = total - num * shortest
    share = np.random.default_rng(seed).random(num)
    lengths = shortest + np.floor(share / share.sum() * free).astype(np.int64)
    lengths[: total - lengths.sum()] += 1
    assert lengths.sum() == total
    assert lengths.min() >= shortest
    return lengths


def write_counts(
    folder: Path, lengths: NDArray[np.int64], is_train: NDArray[np.bool_], *, with_splits: bool = True
) -> Path:
    """A dataset folder of games with these lengths and no frames. with_splits: as manifests of today are."""
    folder.mkdir(parents=True)
    columns: dict[str, object] = {
        "num_frames": pa.array(lengths, pa.int32()),
        "split": pa.array(np.where(is_train, "train", "val"), pa.string()),
    }
    table = pa.table(
        [pa.array(columns.get(f.name, pa.nulls(len(lengths), f.type))) for f in GAMES_SCHEMA], schema=GAMES_SCHEMA
    )
    pa.parquet.write_table(table, folder / "games-0.parquet", compression="zstd")
    manifest = Manifest(
        settings=Settings(filters=(), min_frames=int(lengths.min()), keep_names=False, shard_frames=1 << 20),
        content_hash="22" * 32,
        num_games=len(lengths),
        num_frames=int(lengths.sum()),
        counts={},
        games=file_info(folder, "games-0.parquet"),
        files=FileInfo("files-0.parquet", 0, "0"),
        shards=(),
        splits={
            name: SplitCount(int(which.sum()), int(lengths[which].sum()))
            for name, which in (("train", is_train), ("val", ~is_train))
        }
        if with_splits
        else None,
    )
    write_manifest(folder, manifest)
    assert json.loads((folder / "manifest.json").read_text())["games"] == asdict(manifest.games)
    return folder


def mission_lengths() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """22,000 lengths of which the first 19,800 are trained on, with the mission's sums."""
    train = NUM_TRAIN_EXAMPLES + CONTEXT * NUM_TRAIN_GAMES
    first = lengths_with_sum(NUM_TRAIN_GAMES, train, 1)
    last = lengths_with_sum(NUM_GAMES - NUM_TRAIN_GAMES, NUM_FRAMES - train, 2)
    return np.concatenate([first, last]), np.arange(NUM_GAMES) < NUM_TRAIN_GAMES
