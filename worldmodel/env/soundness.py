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
from worldmodel.nn.frames import State
from worldmodel.schema import CATEGORIES, NUMBERS
from worldmodel.schema.laws import DEAD, LAWS, REBIRTH, Law


def impossible(before: State, after: State) -> dict[str, Tensor]:
    """By rule: (B,2) bool, the players whose frame breaks it. Both states (B,2,·). Nothing waits for the device.

    not_finite: a number is none. out_of_bounds, not_whole: as the schema says of each number. no_such_code: outside
    the vocabulary. against_the_law: a change that `schema.laws` excludes, as of stocks that rise. undead: who comes to
    life but by the game's way, and who loses a stock alive.
    """
    numbers = after.numbers
    low, high, whole, vocab = _limits(numbers.device)
    return {
        "not_finite": (~numbers.isfinite()).any(-1),
        "out_of_bounds": ((numbers < low) | (numbers > high)).any(-1),
        "not_whole": (whole & (numbers != numbers.round())).any(-1),
        "no_such_code": ((after.categories < 0) | (after.categories >= vocab)).any(-1),
        "against_the_law": torch.stack([_breaks(law, StateRows(before), StateRows(after)) for law in LAWS]).any(0),
        "undead": _undead(StateRows(before), StateRows(after)),
    }


def _undead(before: StateRows, after: StateRows) -> Tensor:
    """(B,2) bool."""
    was_dead, is_dead = (rows.in_states(frozenset(DEAD)) for rows in (before, after))
    loses = after.number("stocks") < before.number("stocks")
    undead: Tensor = (was_dead & ~is_dead & ~after.in_states(frozenset({REBIRTH}))) | (loses & ~is_dead)
    return undead


def _breaks(law: Law, before: StateRows, after: StateRows) -> Tensor:
    """(B,2) bool: whether a number changed as it never does."""
    rise = after.number(law.role) - before.number(law.role)
    breaks = torch.zeros_like(rise, dtype=torch.bool)
    if law.max_rise is not None:
        breaks |= rise > law.max_rise
    if law.max_fall is not None:
        falls = -rise > law.max_fall
        if law.resets_in:
            falls &= ~(after.in_states(law.resets_in) & (after.number(law.role) == 0))
        breaks |= falls
    return breaks


@cache
def _limits(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.tensor([codec.bounds[0] for codec in NUMBERS], device=device),
        torch.tensor([codec.bounds[1] for codec in NUMBERS], device=device),
        torch.tensor([codec.integer for codec in NUMBERS], device=device),
        torch.tensor([codec.vocab for codec in CATEGORIES], device=device),
    )
