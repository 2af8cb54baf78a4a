"""Which games and which frames of them are evaluated: held-out ones, each frame at most once, chosen without chance.

Owns: the choice. Must not: read frames, run a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.store import Dataset, Split
from worldmodel.errors import WrongUse
from worldmodel.runs import atomic
from worldmodel.schema import PLAYERS

Judged = Split | Literal["unseen"]
"""Games to judge on: a split, or all that the weights did not learn from, whatever their split."""
HELD_OUT: Literal["val"] = "val"
UNSEEN: Literal["unseen"] = "unseen"
NOT_LEARNED = (HELD_OUT, UNSEEN)
_MARK = 16
"""Characters of a hash: of a million games two share one with a chance of one in forty million."""
BLOCK_FRAMES = 2_000_000
"""Frames of games that are on the device at a time: about 250 bytes each."""

Tick = Callable[[int], None]
"""Called now and then with the number of units of work just done."""


@dataclass(frozen=True, slots=True)
class Games:
    """Games of one evaluation, and what tables break them down by. G games, P players.

    num: game numbers. stage: (G,) names. character: (G, P) names, as chosen before the game.
    """

    num: NDArray[np.int64]
    id: list[str]
    num_frames: NDArray[np.int64]
    stage: list[str]
    character: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.num)


def marks(dataset: Dataset, games: NDArray[np.int64]) -> list[str]:
    """What games are known by in other datasets: the beginnings of their frames' hashes."""
    return [str(value)[:_MARK] for value in dataset.games["frames_hash"].take(games).to_pylist()]


def write_marks(file: Path, dataset: Dataset, games: NDArray[np.int64]) -> None:
    """Write down games by their marks, one a line."""
    atomic.write_text(file, "".join(f"{mark}\n" for mark in sorted(marks(dataset, games))))


def read_marks(file: Path) -> frozenset[str]:
    """The games of such a file. Raises OSError if it cannot be read.

    Raises WrongUse for anything else in it: a mark too few makes a learned game an unseen one.
    """
    lines = file.read_bytes().decode(errors="replace").splitlines()
    wrong = next((line for line in lines if not re.fullmatch(f"[0-9a-f]{{{_MARK}}}", line)), None)
    if wrong is not None or not lines:
        found = "no line" if wrong is None else f"a line {wrong[:40]!r}"
        raise WrongUse(f"{file} has {found}", f"lines of {_MARK} hexadecimal digits", "copy it again from its run")
    return frozenset(lines)


def choose_games(
    dataset: Dataset,
    *,
    split: Judged = HELD_OUT,
    allow_train: bool = False,
    learned: frozenset[str] | None = None,
) -> Games:
    """The games to judge on. learned: what the weights learned from (`read_marks`), which "unseen" needs.

    Raises WrongUse for a split that was trained on, unless told, for one without games, and for "unseen" where nothing
    is known of what was learned, or nothing is left.
    """
    if split == UNSEEN:
        return _games(dataset, _unseen(dataset, learned))
    if split != HELD_OUT and not allow_train:
        raise WrongUse(
            f"split {split!r}, which holds games that models are trained on",
            f"the held-out split {HELD_OUT!r}",
            "leave the split out, or allow training games and get a result that says so",
        )
    num = dataset.rows(split=split)
    if len(num) == 0:
        raise WrongUse(
            f"{dataset.path} has no games in split {split!r}",
            "at least one",
            "ingest more games: about one match in ten is held out",
        )
    return _games(dataset, num)


def _unseen(dataset: Dataset, learned: frozenset[str] | None) -> NDArray[np.int64]:
    if learned is None:
        raise WrongUse(
            "weights that do not tell which games they learned from", "a run with its games.txt",
            "judge on the held-out split: it is the same games in every dataset",
        )  # fmt: skip
    everything = dataset.rows()
    is_new = np.array([mark not in learned for mark in marks(dataset, everything)], dtype=bool)
    if not is_new.any():
        raise WrongUse(
            f"all {len(everything)} games of {dataset.path} were learned from", "one that was not", "give other games"
        )
    unseen: NDArray[np.int64] = everything[is_new]
    return unseen


def _games(dataset: Dataset, num: NDArray[np.int64]) -> Games:
    table = dataset.games.take(num)

    def column(name: str) -> list[str]:
        return [str(value) for value in table[name].to_pylist()]

    characters = zip(*(column(f"{player}_character_name") for player in PLAYERS), strict=True)
    lengths = np.array(table["num_frames"].to_pylist(), dtype=np.int64)
    return Games(num, column("game_id"), lengths, column("stage_name"), list(characters))


def blocks(games: NDArray[np.int64], num_frames: NDArray[np.int64], block_frames: int) -> list[NDArray[np.int64]]:
    """Positions in `games`, in order, cut into runs of at most `block_frames` frames and at least one game."""
    cuts: list[list[int]] = []
    filled = 0
    for place, length in enumerate(num_frames.tolist()):
        if not cuts or filled + length > block_frames:
            cuts.append([])
            filled = 0
        cuts[-1].append(place)
        filled += length
    return [np.array(cut, dtype=np.int64) for cut in cuts]


def windows(num_frames: NDArray[np.int64], *, length: int, burn_in: int) -> NDArray[np.int64]:
    """Windows that score each frame past the first `burn_in` of a game exactly once: (W, 3) int64.

    Columns: place of the game, first row, first scored token. A window is length + 1 rows: row 0 is only the state
    before token 0. Windows follow each other by length - burn_in; the last one of a game is moved back to end with
    the game, and scores only what is new. Games of fewer than length + 1 frames have none.
    """
    if not 0 <= burn_in < length:
        raise ValueError(f"burn_in {burn_in} leaves nothing of {length} tokens to score")
    stride = length - burn_in
    parts = []
    for place, frames in enumerate(num_frames.tolist()):
        last = frames - length - 1
        if last < 0:
            continue
        first_row = np.arange(0, last + 1, stride)
        first_scored = np.full(len(first_row), burn_in)
        over = last - int(first_row[-1])
        if over:
            first_row = np.append(first_row, last)
            first_scored = np.append(first_scored, length - over)
        parts.append(np.stack([np.full(len(first_row), place), first_row, first_scored], 1))
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)


def sample(windows_W3: NDArray[np.int64], max_windows: int | None, *, seed: int) -> NDArray[np.int64]:
    """At most `max_windows` of them, a seeded choice, in their order."""
    if max_windows is None or len(windows_W3) <= max_windows:
        return windows_W3
    chosen = np.random.default_rng(seed).choice(len(windows_W3), max_windows, replace=False)
    return windows_W3[np.sort(chosen)]
