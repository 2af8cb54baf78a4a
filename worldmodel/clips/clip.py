"""What a clip is: some frames of one match, true or dreamed, in the values that a replay has.

Owns: the shape of a clip and its checks. Must not: read or write files (that is `clips.files`), know tensors.

Letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from worldmodel.schema import LAYOUT, Column, Scope

FPS = 60

Kind = Literal["replay", "dream", "what-if"]
"""True frames; a model's frames under the true pads; a model's frames under other pads."""
KINDS: tuple[str, ...] = get_args(Kind)

COLUMNS: tuple[Column, ...] = tuple(
    column
    for column in LAYOUT.columns
    if column.field.codec is not None and column.field.scope in (Scope.PLAYER, Scope.PAD)
)
"""Everything that a clip may hold of a frame: what models see and predict, of both players, and their pads."""

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}


def dtype_of(column: Column) -> np.dtype[Any]:
    """NumPy type of a clip's column: that of the schema."""
    return np.dtype(column.field.dtype)


class BadClip(ValueError):
    """Values that are no clip. The message says which, and what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Columns of T frames by the schema's names ("p0.percent", "p1.pad.stick_x"), values as a replay has them.

    A column that is not there was not recorded. unknown: by column name, (T,) bool: where the value is not known though
    the column is there (a model's code *other* stands for no single value); it is 0 there.
    Raises BadClip.
    """

    columns: Mapping[str, NDArray[Any]]
    unknown: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(values) for values in self.columns.values()}
        if len(lengths) > 1:
            raise BadClip(f"columns of {min(lengths)} and of {max(lengths)} frames")
        for name, values in self.columns.items():
            if name not in BY_NAME:
                raise BadClip(f"no column is named {name!r}")
            if values.dtype != dtype_of(BY_NAME[name]) or values.ndim != 1:
                raise BadClip(f"{name} is {values.dtype}, expected {dtype_of(BY_NAME[name])}")
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise BadClip(f"{name} holds a value that is no finite number")
        for name, mask in self.unknown.items():
            if name not in self.columns or mask.dtype != np.bool_ or mask.shape != self.columns[name].shape:
                raise BadClip(f"{name!r} is said to be unknown somewhere, and is not there")

    def __len__(self) -> int:
        """Frames; 0 if there is no column."""
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, rows: slice) -> Frames:
        """Some of the frames."""
        return Frames(
            {name: values[rows] for name, values in self.columns.items()},
            {name: mask[rows] for name, mask in self.unknown.items() if mask[rows].any()},
        )

    def equals(self, other: Frames) -> bool:
        """Bit for bit the same."""

        def same(one: Mapping[str, NDArray[Any]], two: Mapping[str, NDArray[Any]]) -> bool:
            return one.keys() == two.keys() and all(one[name].tobytes() == two[name].tobytes() for name in one)

        return same(self.columns, other.columns) and same(self.unknown, other.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Where a clip comes from. None: does not apply, or is not known.

    start_frame: frame id of the last true frame that a dream was shown. history: true frames before it that the model
    was shown too. pads: who held them: "true", the name of a policy, or a source. source: the replay's name.
    """

    kind: Kind
    run: str | None = None
    weights_sha256: str | None = None
    content_hash: str | None = None
    start_frame: int | None = None
    history: int | None = None
    seed: int | None = None
    temperature: float | None = None
    pads: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Some frames of one match. `truth`: what the replay has in these frames, from the first on, perhaps fewer of them.

    stage: external id. characters: external ids at the start, p0 first. first_frame: Slippi's id of the first frame.
    Raises BadClip.
    """

    stage: int
    characters: tuple[int, int]
    first_frame: int
    frames: Frames
    meta: Meta
    truth: Frames | None = None

    def __post_init__(self) -> None:
        if self.meta.kind not in KINDS:
            raise BadClip(f"kind {self.meta.kind!r}, expected one of {', '.join(KINDS)}")
        if not self.frames.columns:
            raise BadClip("no column at all")
        if self.truth is not None and len(self.truth) > len(self.frames):
            raise BadClip(f"a truth of {len(self.truth)} frames beside {len(self.frames)}")

    def __len__(self) -> int:
        return len(self.frames)

    def equals(self, other: Clip) -> bool:
        """Bit for bit the same."""
        if (self.truth is None) != (other.truth is None):
            return False
        one, two = ((c.stage, c.characters, c.first_frame, c.meta) for c in (self, other))
        same_truth = self.truth is None or other.truth is None or self.truth.equals(other.truth)
        return one == two and same_truth and self.frames.equals(other.frames)
