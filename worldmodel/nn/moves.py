"""What is special about one frame of one move: a table of vectors by character, action state and age.

Owns: the table and the place of a frame in it. Must not: know what becomes of the vectors.

Which frames of a move hit, how far it carries a body in each of them, when it may be cut short: facts of the game by
the ten thousand, each of which holds for one character in one action state at one age. A network that sees the three
side by side has to learn every such conjunction; here each has a place of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.nn.frames import Context, State, over_rows
from worldmodel.schema import LAYOUT, NUMBERS

_CHARACTER, _ACTION_STATE = LAYOUT.category("character"), LAYOUT.category("action_state")
_AGE = LAYOUT.number("state_age")
_MIX = (7_919, 104_729, 15_485_863)
"""Primes: frames that share a place by their product are far from each other in the game."""
WIDTH = 16
BEGINS = 0.1
"""Standard deviation of a new vector: small, because many places are never seen."""


class MoveTable(nn.Module):
    """num places, shared by frames whose hashes agree: the more there are, the fewer share one."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.table = nn.Embedding(num, WIDTH)
        nn.init.normal_(self.table.weight, std=BEGINS)

    def forward(self, previous: State, context: Context) -> Tensor:
        """Vectors (...,2,WIDTH) of the frames that both players are in; 0 where the replay lacks one of the three."""
        age = previous.numbers[..., _AGE].clamp(0, NUMBERS[_AGE].buckets - 1).long()
        parts = (previous.categories[..., _CHARACTER], previous.categories[..., _ACTION_STATE], age)
        place = sum((part * prime for part, prime in zip(parts, _MIX, strict=True)), torch.zeros_like(age))
        vectors: Tensor = self.table(place % self.table.num_embeddings)
        codes = context.present_categories[:, _CHARACTER] & context.present_categories[:, _ACTION_STATE]
        has_all = (codes & context.present_numbers[:, _AGE]).unsqueeze(1)
        return vectors * over_rows(has_all.to(vectors.dtype), vectors)
