"""What a card needs to know of a dataset: counts, lengths of games, split. No frame is read, no shard need be there.

Owns: reading a dataset folder, or what is left of it when only its manifest travels. Must not: count windows.

    folder with manifest and games table    lengths and split are known: every count is exact
    manifest alone                          games and frames of each split are known: counts are exact where no
                                            game is cut into strides
    manifest from before it had splits      totals are exact; the split is the expected tenth, and said to be so
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.games import VALIDATION_SHARE
from worldmodel.dataset.manifest import MANIFEST, SplitCount, read_manifest
from worldmodel.dataset.store import Dataset

REFERENCE_BYTES = 360
"""Of a frame in the mission's `.pt` files: 56 float32 and 17 int64."""

REFERENCE_TRAIN_SHARE = 0.9
"""Of the games, the first ones in the list, in the mission's system."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Frames of each game, in the order of the dataset's games, and the ones that are trained on."""

    num_frames: NDArray[np.int64]
    is_train: NDArray[np.bool_]

    def of(self, split: str) -> NDArray[np.int64]:
        """Lengths of "train" or "val"."""
        return self.num_frames[self.is_train if split == "train" else ~self.is_train]

    def by_list_order(self) -> Lengths:
        """The mission's split: the first nine tenths of the list. Sets of one evening may stand on both sides."""
        first = np.arange(len(self.num_frames)) < int(REFERENCE_TRAIN_SHARE * len(self.num_frames))
        return Lengths(self.num_frames, first)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """One dataset. num_bytes: of its files. min_frames: no game is shorter. lengths: None if only totals are known;
    splits: those totals by split, None if not even they are."""

    path: Path
    content_hash: str
    num_games: int
    num_frames: int
    num_bytes: int
    min_frames: int
    lengths: Lengths | None
    splits: dict[str, SplitCount] | None = None

    @property
    def train_share(self) -> float:
        """Share of games that are trained on; the expected one where the split is not known."""
        if not self.num_games:
            return 1 - VALIDATION_SHARE
        if self.lengths is not None:
            return float(self.lengths.is_train.mean())
        return self.splits["train"].num_games / self.num_games if self.splits else 1 - VALIDATION_SHARE


def data_facts(path: str | Path) -> DataFacts:
    """Of a dataset folder or its manifest.json. Raises NotADataset, SchemaMismatch (both WrongUse)."""
    folder = Path(path)
    folder = folder.parent if folder.name == MANIFEST else folder
    manifest = read_manifest(folder)
    lengths = None
    if (folder / manifest.games.name).exists():
        dataset = Dataset(folder)
        lengths = Lengths(dataset.num_frames_per_game, dataset.game_column("split") == "train")
    return DataFacts(
        path=folder,
        content_hash=manifest.content_hash,
        num_games=manifest.num_games,
        num_frames=manifest.num_frames,
        num_bytes=sum(info.num_bytes for info in manifest.all_files),
        min_frames=manifest.settings.min_frames,
        lengths=lengths,
        splits=manifest.splits,
    )
