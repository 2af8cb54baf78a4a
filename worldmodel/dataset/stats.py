"""What is in a dataset: coverage, and per column what its values are like; and what is wrong with it.

Owns: the statistics and what counts as a problem. Must not: print. Memory: a few columns of one shard.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.codes import category_codes
from worldmodel.dataset.shard import Shard
from worldmodel.dataset.store import Dataset
from worldmodel.schema import LAYOUT, Category, Column, Field, Flags, Number, Scope

Whitelist = Callable[[Dataset], frozenset[str]]


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """One column over the games that record it.

    minimum, maximum, mean: of finite values; None without any. outside: values that the codec does not hold as they
    are: categories that become *other*, numbers that are projected into their bounds. ever_set: for flags of several
    bits, which were ever seen.
    """

    name: str
    num_values: int
    num_games_missing: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    is_constant: bool
    num_not_finite: int
    num_outside: int
    ever_set: int | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """`coverage`: per aspect, games by value ("character" counts both players). `problems`: none if sound."""

    num_games: int
    num_frames: int
    coverage: dict[str, dict[str, int]]
    columns: tuple[ColumnStats, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def statistics(dataset: Dataset, *, progress: Callable[[int], None] = lambda num_frames: None) -> Statistics:
    """Read every frame once. progress(frames) is called after each shard."""
    tallies = {column.name: _Tally(column) for column in LAYOUT.columns}
    for info in dataset.manifest.shards:
        shard = dataset.shard(info.number)
        for name, tally in tallies.items():
            if shard.has(name):
                tally.add(shard, info.num_frames)
            else:
                tally.num_games_missing += info.num_games
        progress(info.num_frames)
    columns = tuple(tally.result() for tally in tallies.values())
    return Statistics(
        num_games=dataset.num_games,
        num_frames=dataset.num_frames,
        coverage=_coverage(dataset),
        columns=columns,
        problems=tuple(_problems(dataset, columns)),
    )


# ---- problems ----------------------------------------------------------------------------------------------------

FEW_GAMES = 20
"""Below this many games anything may happen to be constant."""

MAY_BE_NOT_FINITE: dict[str, str] = {
    "misc_as": "in most action states it holds an integer's bits, which may spell a NaN",
    "raw_trigger_l": "what the controller's driver sent, seen by no model",
    "raw_trigger_r": "what the controller's driver sent, seen by no model",
}
"""Role -> why non-finite values of the field are no fault of the dataset."""

MAY_BE_CONSTANT: dict[str, str] = {
    "character": "one player may have played one character throughout",
    "raw_cstick_x": "0 with controllers whose driver does not report it",
    "raw_cstick_y": "0 with controllers whose driver does not report it",
    "raw_stick_x": "0 with controllers whose driver does not report it",
    "raw_stick_y": "0 with controllers whose driver does not report it",
    "raw_trigger_l": "0 with controllers without analog triggers",
    "raw_trigger_r": "0 with controllers without analog triggers",
}
"""Role -> why a constant field is no fault of the dataset. Else it is: a parser that reads zeros looks like this."""


def _problems(dataset: Dataset, columns: tuple[ColumnStats, ...]) -> list[str]:
    if not dataset.num_games:
        return ["the dataset holds no game"]
    out = []
    for column in columns:
        row = LAYOUT.column[column.name].field
        if column.num_not_finite and not row.roles & MAY_BE_NOT_FINITE.keys():
            out.append(f"{column.name}: {column.num_not_finite:,} values are not finite")
        enough = dataset.num_games - column.num_games_missing >= FEW_GAMES
        if column.is_constant and enough and not row.roles & MAY_BE_CONSTANT.keys():
            out.append(f"{column.name}: constant, {column.minimum:g} in all {column.num_values:,} frames")
    return out


def _coverage(dataset: Dataset) -> dict[str, dict[str, int]]:
    games = dataset.games

    def count(*names: str) -> dict[str, int]:
        return dict(Counter(str(value) for name in names for value in games[name].to_pylist()).most_common())

    return {
        "stage": count("stage_name"),
        "character": count("p0_character_name", "p1_character_name"),
        "version": count("version"),
        "split": count("split"),
        "end_method": count("end_method"),
        "frames_by_split": {
            split: int(dataset.num_frames_per_game[dataset.rows(split)].sum()) for split in ("train", "val")
        },
    }


# ---- one column --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    column: Column
    num_values: int = 0
    num_games_missing: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    total: float = 0.0
    num_finite: int = 0
    num_outside: int = 0
    ever_set: int = 0
    patterns: set[int] = field(default_factory=set)
    """At most two of the bit patterns seen."""

    def add(self, shard: Shard, num_frames: int) -> None:
        values, counts = _distinct(shard, self.column.name, num_frames)
        row, finite, times = self.column.field, np.isfinite(values), counts.astype(np.float64)
        self.num_values += num_frames
        self.num_finite += int(times[finite].sum())
        if finite.any():
            sound = values if finite.all() else values[finite]
            self.minimum = min(self.minimum, float(sound.min()))
            self.maximum = max(self.maximum, float(sound.max()))
            self.total += float((sound * times[finite]).sum())  # not np.dot: small, and BLAS would wake its threads
        self.num_outside += int(counts[_outside(row, values)].sum())
        if isinstance(row.codec, Flags) and row.codec.true_when == "bit":
            self.ever_set |= int(np.bitwise_or.reduce(values.astype(np.uint64)))
        bits = values.view(np.dtype(f"u{values.itemsize}"))
        self.patterns |= {int(bits[0]), int(bits[np.argmax(bits != bits[0])])}

    def result(self) -> ColumnStats:
        row, any_finite = self.column.field, self.num_finite > 0
        return ColumnStats(
            name=self.column.name,
            num_values=self.num_values,
            num_games_missing=self.num_games_missing,
            minimum=self.minimum if any_finite else None,
            maximum=self.maximum if any_finite else None,
            mean=self.total / self.num_finite if any_finite else None,
            is_constant=len(self.patterns) == 1,
            num_not_finite=self.num_values - self.num_finite,
            num_outside=self.num_outside,
            ever_set=self.ever_set if isinstance(row.codec, Flags) and row.codec.bits > 1 else None,
        )


def _distinct(shard: Shard, name: str, num_frames: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(values, how often each occurs, at least once); values may repeat. Of a dictionary only indices are counted."""
    if name in shard.names:
        values, indices = shard.encoding(name)
        if indices is not None:
            return values, shard.counts(name, values, indices)
    else:
        values = shard.column(name, 0, num_frames)
    return values, np.ones(len(values), np.int64)


def _outside(row: Field, values: NDArray[Any]) -> NDArray[np.bool_]:
    if isinstance(row.codec, Category):
        return category_codes(row, values)[1]
    if isinstance(row.codec, Number):
        low, high = row.codec.bounds
        return np.asarray((values < low) | (values > high))
    return np.zeros(len(values), np.bool_)


def _check_roles() -> None:
    for role in (*MAY_BE_NOT_FINITE, *MAY_BE_CONSTANT):
        if LAYOUT.the(role).scope is Scope.GAME:
            raise ValueError(f"{role!r} is no frame column")


_check_roles()
