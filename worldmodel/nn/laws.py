"""The laws of the game on a next frame: what `schema.laws` says, in the one order in which it holds.

Owns: that order, and the limits on single numbers. Must not: know of predictions, or decode anything.

Letters: B sequences, N numbers, C categories. Everything broadcasts over axes between B and the players.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.nn.footing import Footing
from worldmodel.nn.frames import Context, State, over_rows
from worldmodel.nn.mortality import Mortality
from worldmodel.schema import CATEGORIES, LAYOUT
from worldmodel.schema.laws import LAWS


class Laws(nn.Module):
    """All of them. Holds only constants, as buffers that follow the model's device and dtype and are not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.mortality = Mortality()
        self.footing = Footing()

    def forward(self, previous: State, following: State, context: Context, dead_rows: Tensor | None = None) -> State:
        """The next frame (B,...,2,·) as the laws leave it, which is as it was if it kept them; missing numbers are 0.

        dead_rows: (B,2), how long players have been dead, if anybody counted (`Mortality`).
        """
        codes, numbers = self.mortality(previous, following.categories, following.numbers, context, dead_rows)
        codes, numbers, flags = self.footing(previous, codes, numbers, following.flags, context)
        numbers = within_limits(previous.numbers, numbers, codes)
        has_number = over_rows(context.present_numbers.unsqueeze(1), numbers)
        return State(torch.where(has_number, numbers, torch.zeros_like(numbers)), codes, flags)


def within_limits(before: Tensor, numbers: Tensor, codes: Tensor) -> Tensor:
    """Numbers (...,2,N) that follow those `before` within the limits of `LAWS`. codes: categories of the same rows.

    A change past its limit is cut to it; what may fall only in a reset, falls to 0 there and nowhere else.
    """
    columns = list(numbers.unbind(-1))
    for place, max_rise, max_fall, reset_codes in _LIMITS:
        was, now = before[..., place], columns[place]
        if max_rise is not None:
            now = torch.minimum(now, was + max_rise)
        if max_fall is not None:
            held = torch.maximum(now, was - max_fall)
            for code in reset_codes:
                is_reset = codes[..., _ACTION_STATE] == code
                held = torch.where(is_reset & (now < was - max_fall), torch.zeros_like(held), held)
            now = held
        columns[place] = now
    return torch.stack(columns, -1)


_ACTION_STATE = LAYOUT.category("action_state")
_LIMITS = [
    (
        LAYOUT.number(law.role),
        law.max_rise,
        law.max_fall,
        [state + CATEGORIES[_ACTION_STATE].offset for state in sorted(law.resets_in)],
    )
    for law in LAWS
]
"""Plain numbers, worked out once: a compiler would else trace how they are found."""
