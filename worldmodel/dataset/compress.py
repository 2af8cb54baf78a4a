"""Columns made small: a reversible step that exposes what a column repeats, then zstd.

Owns: the steps and the choice among them. Must not: know of files or games.

Values are treated as unsigned integers of their bit patterns; every step is exact. Which one suits a column is tried
out on its first rows, so a file says per column what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.unsignedinteger[Any]]

LEVEL = 9
_TRIAL_ROWS, _TRIAL_LEVEL = 1 << 15, 1


@dataclass(frozen=True, slots=True)
class Packed:
    """A compressed column of `num_rows` unsigned integers of `item_bytes` bytes."""

    step: str
    item_bytes: int
    num_rows: int
    data: bytes


def pack_ints(values: Ints, *, steps: tuple[str, ...] | None = None, level: int = LEVEL) -> Packed:
    """Compress by the step that is best on the first rows. `steps`: the candidates; default: all that suit any column.

    What was made is read back before it is returned (a tenth of the time): the original may be deleted next.

    Raises ValueError if a candidate is not exact at the values' width, RuntimeError if the values do not come back.
    """
    candidates = steps or (GENERAL_STEPS if values.itemsize > 1 else _WHOLE_STEPS)
    if values.dtype != np.uint32 and (lossy := [name for name in candidates if name in _ORBIT_STEPS]):
        raise ValueError(f"{lossy[0]} is exact for uint32 alone, not for {values.dtype}")
    best, head = candidates[0], values[:_TRIAL_ROWS]
    if len(candidates) > 1:
        best = min(candidates, key=lambda name: len(_zstd(_TRIAL_LEVEL, _forth(name, head))))
    packed = Packed(best, values.itemsize, len(values), _zstd(level, _forth(best, values)))
    if not np.array_equal(unpack_ints(packed), values):
        raise RuntimeError(f"{len(values):,} values of {values.dtype} do not come back from {best!r}")
    return packed


def unpack_ints(packed: Packed) -> Ints:
    """The inverse. Raises OSError or ValueError if the data is not what it says."""
    size = packed.item_bytes * packed.num_rows
    raw = pa.Codec("zstd").decompress(packed.data, decompressed_size=size, asbytes=True)
    step, _, split = packed.step.partition("+")
    octets = np.frombuffer(raw, np.uint8)
    if split:
        octets = np.ascontiguousarray(octets.reshape(packed.item_bytes, packed.num_rows).T)
    values: Ints = _STEPS[step][1](octets.reshape(-1).view(np.dtype(f"<u{packed.item_bytes}")))
    return values


def _forth(name: str, values: Ints) -> bytes:
    step, _, split = name.partition("+")
    out = _STEPS[step][0](values)
    if split:
        out = out.view(np.uint8).reshape(len(out), -1).T
    packed: bytes = out.tobytes()
    return packed


def _zstd(level: int, data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd", compression_level=level).compress(data, asbytes=True)
    return packed


# ---- steps -------------------------------------------------------------------------------------------------------


def _difference(values: Ints) -> Ints:
    return np.diff(values, prepend=values.dtype.type(0))


def _sum(values: Ints) -> Ints:
    return np.cumsum(values, dtype=values.dtype)


_MULTIPLIER, _INCREMENT = 214013, 2531011
"""Melee's random numbers: s' = 214013 s + 2531011 mod 2^32 (as in the C runtime that its compiler came with)."""


def _jumps() -> list[tuple[np.uint32, np.uint32]]:
    """(multiplier, increment) of 2^i steps of the generator, i = 0 .. 31."""
    out, a, c = [], _MULTIPLIER, _INCREMENT
    for _ in range(32):
        out.append((np.uint32(a), np.uint32(c)))
        a, c = a * a % 2**32, (a * c + c) % 2**32
    return out


def orbit_index(seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """How many steps lead from seed 0 to each seed: a bijection, as the generator visits all 2^32 seeds.

    Bit by bit: 2^i steps change bit i of any seed, and none below it. Neighbouring frames of a game are a few steps
    apart, so differences of indices are small where differences of seeds look random.
    """
    index, here = np.zeros_like(seeds), np.zeros_like(seeds)
    for i, (a, c) in enumerate(_jumps()):
        step = ((here ^ seeds) >> np.uint32(i) & np.uint32(1)).astype(np.bool_)
        index |= step.astype(np.uint32) << np.uint32(i)
        here = np.where(step, here * a + c, here)
    return index


def seed_at(index: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The inverse of `orbit_index`."""
    seeds = np.zeros_like(index)
    for i, (a, c) in enumerate(_jumps()):
        seeds = np.where(index >> np.uint32(i) & np.uint32(1), seeds * a + c, seeds)
    return seeds


def _same(values: Ints) -> Ints:
    return values


_Step = Callable[[Any], Any]
_STEPS: dict[str, tuple[_Step, _Step]] = {
    "plain": (_same, _same),
    "difference": (_difference, _sum),
    "second": (lambda v: _difference(_difference(v)), lambda v: _sum(_sum(v))),
    "orbit": (lambda v: _difference(orbit_index(v)), lambda v: seed_at(_sum(v))),
}
_STEPS |= {f"{name}+planes": pair for name, pair in _STEPS.items()}

_ORBIT_STEPS = ("orbit", "orbit+planes")
GENERAL_STEPS = tuple(name for name in _STEPS if name not in _ORBIT_STEPS)
"""Candidates for any column: exact at every width."""
_WHOLE_STEPS = tuple(name for name in GENERAL_STEPS if "+" not in name)  # one byte has no planes to split

SEED_STEPS = ("difference", "difference+planes", "orbit", "orbit+planes")
"""Candidates for a column of random seeds: offline games step the generator, online ones add a constant."""
