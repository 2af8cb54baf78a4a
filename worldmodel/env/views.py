"""What a player sees: states turned so that one's own player comes first, by field, or as one flat vector of floats.

Owns: the point of view, the keys, the flat vector and its names. Must not: import gymnasium, hold a match.

Keys are the schema's field names. Behind each lies the pair (one's own, the other's): numbers in the unit of the
schema, categories as codes, flags as 0 and 1; of fields with several flags (·,2,bits). `stage` is the stage's code.
Ports in codes (who hit last) stay ports: they are not turned.

Letters: B worlds, N numbers, C categories, NF flags, F width of the flat vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.nn.frames import State
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS, STAGE, Field

SIDES = ("own", "other")
"""The axis of size 2 of everything that a player sees."""

STAGE_ROW: Field = LAYOUT.the("stage")


@dataclass(frozen=True, slots=True)
class FlagField:
    """A field of flags and where its bits lie along the axis NF."""

    field: Field
    begin: int
    end: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the field's value for both sides."""
        return (2,) if self.end - self.begin == 1 else (2, self.end - self.begin)


def _flag_fields() -> tuple[FlagField, ...]:
    found: list[FlagField] = []
    for index, flag in enumerate(LAYOUT.flag_bits):
        if found and found[-1].field is flag.field:
            found[-1] = FlagField(flag.field, found[-1].begin, index + 1)
        else:
            found.append(FlagField(flag.field, index, index + 1))
    return tuple(found)


FLAG_FIELDS = _flag_fields()


def seen_by(state: State, player: int) -> State:
    """A state (...,2,·) with the player's own side first. Player 0 gets the very tensors, no copies."""
    return state if player == 0 else state.map(lambda tensor: tensor.flip(-2))


# ---- flat --------------------------------------------------------------------------------------------------------

_VOCABS = [codec.vocab for codec in CATEGORIES]
NUM_PER_SIDE = len(NUMBERS) + len(LAYOUT.flag_bits) + sum(_VOCABS)
NUM_FLAT = 2 * NUM_PER_SIDE + STAGE.vocab
"""F: per side numbers, flags and codes as one-hots; then the stage as a one-hot."""


def flat_names() -> tuple[str, ...]:
    """What each element of the flat vector is: `own.percent`, `other.airborne`, `own.action_state=14`, `stage=31`."""
    names = []
    for side in SIDES:
        names += [f"{side}.{row.name}" for row in LAYOUT.numbers]
        names += [f"{side}.{flag.name}" for flag in LAYOUT.flag_bits]
        names += [
            f"{side}.{row.name}={code}"
            for row, vocab in zip(LAYOUT.categories, _VOCABS, strict=True)
            for code in range(vocab)
        ]
    return (*names, *(f"{STAGE_ROW.name}={code}" for code in range(STAGE.vocab)))


def flat_bounds() -> tuple[list[float], list[float]]:
    """Least and greatest value of each element of the flat vector, rounded outward to what a float32 can hold."""
    rest = NUM_PER_SIDE - len(NUMBERS)
    low, high = [], []
    for _ in SIDES:
        low += [_outward(codec.bounds[0] * codec.scale, -1) for codec in NUMBERS] + [0.0] * rest
        high += [_outward(codec.bounds[1] * codec.scale, 1) for codec in NUMBERS] + [1.0] * rest
    return low + [0.0] * STAGE.vocab, high + [1.0] * STAGE.vocab


def _outward(value: float, sign: int) -> float:
    return value + sign * 1e-6 * abs(value)


class Flat:
    """Makes flat vectors on one device: `flat(state, stage) -> (B,F)` float32. Numbers are times the schema's scale."""

    def __init__(self, device: torch.device | str) -> None:
        self._scale = torch.tensor([codec.scale for codec in NUMBERS], device=device)
        ends = torch.tensor(_VOCABS).cumsum(0)
        first_code = ends - torch.tensor(_VOCABS) + len(NUMBERS) + len(LAYOUT.flag_bits)
        sides = torch.tensor([[0], [NUM_PER_SIDE]])
        self._place = (first_code + sides).to(device)  # (2,C)

    def __call__(self, state: State, stage_B: Tensor) -> Tensor:
        """state (B,2,·), own side first; stage's codes (B,) int64."""
        num_b = stage_B.shape[0]
        sides = [state.numbers.float() * self._scale, state.flags.float()]
        known = torch.cat(sides, -1)  # (B,2,N+NF)
        flat = known.new_zeros(num_b, NUM_FLAT)
        flat[:, : 2 * NUM_PER_SIDE].view(num_b, 2, NUM_PER_SIDE)[..., : known.shape[-1]] = known
        hot = torch.cat([(state.categories + self._place).flatten(1), stage_B[:, None] + 2 * NUM_PER_SIDE], 1)
        return flat.scatter_(1, hot, 1.0)
