"""What no frame of a match may be, whatever a model says and whoever holds the pads.

Owns: the rules that admit no exception, as masks. Must not: mend anything (the transition projects), judge likelihood
(the contradictions of `schema.contradictions` do, and real replays have a few of them too).

Letters: B worlds, N numbers, C categories.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from worldmodel.dynamics.events import StateRows
from worldmodel.nn.codec import CATEGORIES, NUMBERS
from worldmodel.nn.frames import State
from worldmodel.schema.contradictions import CONTRADICTIONS


def impossible(before: State, after: State) -> dict[str, Tensor]:
    """By rule: (B,2) bool, the players whose frame breaks it. Both states (B,2,·). Nothing waits for the device.

    not_finite: a number is none. out_of_bounds, not_whole: as the schema says of each number. no_such_code: outside
    the vocabulary. stocks_up: stocks rise within an episode.
    """
    numbers = after.numbers
    low, high, whole, vocab = _limits(numbers.device)
    return {
        "not_finite": (~numbers.isfinite()).any(-1),
        "out_of_bounds": ((numbers < low) | (numbers > high)).any(-1),
        "not_whole": (whole & (numbers != numbers.round())).any(-1),
        "no_such_code": ((after.categories < 0) | (after.categories >= vocab)).any(-1),
        "stocks_up": CONTRADICTIONS["stocks_up"].rule(StateRows(before), StateRows(after)),
    }


@cache
def _limits(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.tensor([codec.bounds[0] for codec in NUMBERS], device=device),
        torch.tensor([codec.bounds[1] for codec in NUMBERS], device=device),
        torch.tensor([codec.integer for codec in NUMBERS], device=device),
        torch.tensor([codec.vocab for codec in CATEGORIES], device=device),
    )
