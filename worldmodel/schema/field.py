"""The row type of the schema, and the closed vocabularies that a row may use.

Owns: what can be said of a field. Must not: name a single field (that is `fields.py`), import numpy or torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

WireType = Literal["f4", "u1", "i1", "u2", "i4", "u4", "u1x5"]
"""How a value stands in a replay event (big-endian); `u1x5` is five bytes read as one 40-bit little-endian number."""

StoreType = Literal["f4", "u1", "i1", "u2", "u4", "u8", "bool"]
"""NumPy type of the column at rest. `bool` columns are one bit each on disk."""

Version = tuple[int, int, int]


class Event(Enum):
    """Replay events that carry per-frame fields, by their command byte (Slippi SPEC, "Events")."""

    PRE = 0x37
    POST = 0x38
    FRAME_START = 0x3A
    ITEM = 0x3B
    FRAME_END = 0x3C
    FOD_PLATFORM = 0x3F
    WHISPY = 0x40
    STADIUM = 0x41


class Scope(Enum):
    """What one value belongs to. The value is the column-name pattern."""

    GAME = "{name} "
    """Constant over a game: a column of the games table, not of the frames."""
    FRAME = "{name}"
    PLAYER = "{player}.{name}"
    PAD = "{player}.pad.{name}"
    """The controller. Known to whoever drives a rollout, so never predicted."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Where a value stands in a replay: event, byte offset counted from the command byte, type."""

    event: Event
    offset: int
    type: WireType


class Prior(Enum):
    """What a number of the next frame is before the model has said anything. A head predicts the difference to it."""

    COPY = "unchanged"
    TICK_UP = "one more than before"
    TICK_DOWN = "one less than before, not below zero"
    INTEGRATE = "position before plus the velocities *after* the step, which are decoded first"


class Mirror(Enum):
    """What happens to a value when the stage is mirrored left-right."""

    KEEP = "keep"
    NEGATE = "negate"
    FLIP = "flip"


class OutOfRange(Enum):
    """What a codec does with a category that its vocabulary does not hold. There is no silent clip."""

    REJECT = "refuse the game at ingest, with the value and the field in the reason"
    OTHER = "map to the vocabulary's last entry, which means *other*; statistics count how often"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A scaled real number: it enters as `value * scale`; its head predicts `(next - prior) * step_scale`.

    step_scale: about one over the size of a typical difference to the prior, so that heads see numbers near one.
    gate: differences up to `gate` in the field's unit count as "as the prior says". None: no gate, the head is a
    plain regression even in models with gated heads.
    restart: role of the category whose change starts a count afresh: the prior is 0 in frames where it changes.
    velocity: for Prior.INTEGRATE, the roles of the velocities that are added to this position.
    bounds: values are projected into them, on entry to a model and in rollouts; statistics count the projections.
    integer: rolled-out values are rounded.
    noise: context disturbance may touch it (the card's mask: core continuous and velocity, nothing else).
    buckets: the value also enters as an embedding of its integer part, over this many entries (the last: that or more).
    reference: in models with the reference system's heads: "difference" (next - before), "value" (next itself), or
    "prior" (as in ours, because the reference had no head for the field).
    """

    scale: float
    step_scale: float = 1.0
    prior: Prior = Prior.COPY
    gate: float | None = 0.0
    restart: str | None = None
    velocity: tuple[str, ...] = ()
    bounds: tuple[float, float] = (-1e6, 1e6)
    integer: bool = False
    buckets: int = 0
    bucket_dim: int = 0
    noise: bool = False
    reference: Literal["difference", "value", "prior"] = "difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One of `vocab` things, embedded with `dim` numbers. Code 0 .. vocab-1.

    alias: stored values that stand for a code which is not their own value (65535 -> "no ground", say).
    offset: code = stored value + offset, for all others.
    predicted: False for what never changes in a rollout unless the game says so (the character).
    """

    vocab: int
    dim: int
    alias: tuple[tuple[int, int], ...] = ()
    offset: int = 0
    out_of_range: OutOfRange = OutOfRange.OTHER
    predicted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """`bits` yes/no values. `true_when`: "nonzero", "positive" or "bit" (bit k of the stored number is flag k)."""

    bits: int = 1
    true_when: Literal["nonzero", "positive", "bit"] = "nonzero"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Buttons:
    """A controller's button word. `masks` are the buttons a model sees, in order."""

    masks: tuple[int, ...]


Codec = Number | Category | Flags | Buttons


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One row of the table: everything that any room knows of a field.

    wire: sources in order of preference; the first that a replay has is taken. Empty for derived fields.
    since: first Slippi version that has `wire[0]` (documentation and tests; presence is read off the replay itself).
    missing: what it means that a replay lacks the field. Missing is not zero: the column is absent from the shard.
    narrow: store as a dictionary of the distinct bit patterns, where that is smaller. Always exact.
    derive: name of a function in `derived.py` that computes the field from stored ones.
    codec: how a model sees it; None: stored for later, unseen by models.
    loss: the loss group its head belongs to.
    drift: size of a typical error after a few frames of a rollout, in the field's unit; the noise that training may
    add to what a model is shown. 0: noise makes no sense. No encoding: it changes neither hash.
    roles: what consumers ask for instead of names.
    """

    name: str
    scope: Scope
    dtype: StoreType
    unit: str
    doc: str
    wire: tuple[Wire, ...] = ()
    since: Version = (0, 1, 0)
    missing: str = "never missing"
    narrow: bool = False
    derive: str | None = None
    codec: Codec | None = None
    mirror: Mirror = Mirror.KEEP
    loss: str | None = None
    drift: float = 0.0
    roles: frozenset[str] = frozenset()

    @property
    def stored(self) -> bool:
        """Whether the field is a column at rest (derived fields are computed when read)."""
        return self.derive is None
