"""Who stands on what: the laws of `schema.laws` on bodies and surfaces, on tensors.

Owns: their arithmetic. Must not: know of predictions, or decode anything.

On a surface that does not move a body stands at its height, to the last digit, and between its ends. A dream adds up
the small errors of its steps: after some seconds half of all who stand would stand on nothing.

Letters: B sequences, S stages, K surfaces of a stage, G ground codes, N numbers, C categories, NF flags. Everything
broadcasts over axes between B and the players.
"""

from __future__ import annotations

from math import inf, nan

import torch
from torch import Tensor, nn

from worldmodel.melee.stages import GEOMETRY, STANDING_LIFT
from worldmodel.nn.frames import Context, State, over_rows, with_column
from worldmodel.schema import CATEGORIES, LAYOUT, STAGE
from worldmodel.schema.events import is_one_of
from worldmodel.schema.laws import CLIPPED, FOOTING_SLACK, HELD, PAST_AN_END, REBIRTH

_ACTION_STATE, _GROUND = LAYOUT.category("action_state"), LAYOUT.category("ground")
_X, _Y = (LAYOUT.number(role) for role in ("position_x", "position_y"))
_AIRBORNE = LAYOUT.flag("airborne")
REACH = 15.0
"""Game units up or down that a body may be moved onto a surface: landings move it by up to 14."""
REACH_ACROSS = 5.0
"""The same to the left or right."""


class Footing(nn.Module):
    """Constants, as buffers that follow the model's device and dtype and are not saved."""

    def __init__(self) -> None:
        super().__init__()
        most = max(1 + len(stage.platforms) for stage in GEOMETRY.values())
        surfaces = torch.full((STAGE.vocab, most, 4), nan)
        grounds = torch.full((STAGE.vocab, most), -1)
        for number, stage in GEOMETRY.items():
            floor = (stage.ground, -stage.edge, stage.edge, stage.floor, stage.flat)
            across = [(p.ground, p.left, p.right, p.height, max(-p.left, p.right)) for p in stage.platforms]
            for k, (ground, *surface) in enumerate([floor, *across]):
                if ground not in stage.moving:
                    surfaces[number + STAGE.offset, k] = torch.tensor(surface)
                    grounds[number + STAGE.offset, k] = ground + CATEGORIES[_GROUND].offset
        surfaces[..., 2] += STANDING_LIFT
        self.register_buffer("surfaces_SK4", surfaces, persistent=False)
        self.register_buffer("grounds_SK", grounds, persistent=False)

    surfaces_SK4: Tensor
    """Left and right end, height, and |x| up to which it is flat; NaN for one without a law."""
    grounds_SK: Tensor
    """Its code; -1 for one without a law."""

    def forward(
        self, previous: State, codes: Tensor, numbers: Tensor, flags: Tensor, context: Context
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (...,2,C), numbers (...,2,N) and flags (...,2,NF) of the next frame, with all who stand on something.

        Who is said to stand on a surface that has a law, and does not, is put onto it, if it is near; else onto another
        one that is near; else he is in the air. What a model says of standing is righter than what it says of where.
        """
        action, ground = codes[..., _ACTION_STATE] - CATEGORIES[_ACTION_STATE].offset, codes[..., _GROUND]
        x, y = numbers[..., _X], numbers[..., _Y]
        surfaces = over_rows(self.surfaces_SK4[context.stage].unsqueeze(1), numbers.unsqueeze(-1))
        left, right, height, flat = surfaces.unbind(-1)  # (...,1,K)
        grounds = over_rows(self.grounds_SK[context.stage].unsqueeze(1), numbers)
        is_own = grounds == ground.unsqueeze(-1)
        there = torch.minimum(torch.maximum(x.unsqueeze(-1), left), right)
        aside, above = (x.unsqueeze(-1) - there).abs(), y.unsqueeze(-1) - height
        low, high = CLIPPED
        is_clipped = ~previous.flags[..., _AIRBORNE : _AIRBORNE + 1] & (above > low) & (above < high)
        is_level = (above.abs() <= FOOTING_SLACK) | (there.abs() > flat) | is_clipped
        is_near = (aside <= REACH_ACROSS) & (above.abs() <= REACH)

        stands = ~flags[..., _AIRBORNE] & (action > REBIRTH) & ~is_one_of(action, HELD)
        stands = stands & over_rows(context.present_flags[:, _AIRBORNE : _AIRBORNE + 1], action)
        breaks = stands & (is_own & ~(is_level & (aside <= PAST_AN_END))).any(-1)
        # The own surface first, then the nearest. NaN is near to nothing.
        cost = torch.where(is_near, aside + above.abs() - torch.where(is_own, 1000.0, 0.0), inf)
        best = cost.argmin(-1, keepdim=True)
        found = is_near.any(-1)

        def of_best(values: Tensor) -> Tensor:
            return values.expand_as(cost).gather(-1, best).squeeze(-1)

        moves = breaks & found
        columns = list(numbers.unbind(-1))
        columns[_X] = torch.where(moves, of_best(there), x)
        columns[_Y] = torch.where(moves & (of_best(there).abs() <= of_best(flat)), of_best(height), y)
        return (
            with_column(codes, _GROUND, torch.where(moves, of_best(grounds), ground)),
            torch.stack(columns, -1),
            with_column(flags, _AIRBORNE, flags[..., _AIRBORNE] | (breaks & ~found)),
        )
