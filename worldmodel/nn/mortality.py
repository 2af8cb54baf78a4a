"""Who is dead, for how long, and who comes back: the laws of `schema.laws` on deaths, on tensors.

Owns: their arithmetic, and the count of rows that they need. Must not: know of predictions, or decode anything.

A model learns from games in which nobody lives outside the blast zones, and knows nothing of what would be there: a
dream that misses a death by one frame has left all that was ever seen, for good. And a frame does not say how long
somebody has been dead: a model would have to count to 60 while nothing moves.

Letters: B sequences, T rows, S stages, P players, N numbers, C categories, D states of the dead. What takes frames
broadcasts over axes between B and the players.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

import torch
from torch import Tensor, nn

from worldmodel.melee.stages import GEOMETRY
from worldmodel.nn.frames import Context, State, over_rows, with_column
from worldmodel.schema import CATEGORIES, LAYOUT, PLAYERS, STAGE
from worldmodel.schema.events import is_one_of
from worldmodel.schema.laws import AT_DEATH, AT_RETURN, AWAY, DEAD, DEAD_BELOW, DEAD_LEFT, DEAD_RIGHT, HELD, REBIRTH

_ACTION_STATE = LAYOUT.category("action_state")
_OFFSET = CATEGORIES[_ACTION_STATE].offset
_X, _Y = _PLACE = tuple(LAYOUT.number(role) for role in ("position_x", "position_y"))
_STOCKS, _AGE = LAYOUT.number("stocks"), LAYOUT.number("state_age")
_FALL = LAYOUT.number("velocity_y")
_LAST = DEAD[-1]

_NEAR = 1e-3
"""What is said of a place of return to this many units is true as it is: replays differ by one bit there."""
_ACROSS = 110.0
"""Places of return on a stage are nearer to each other than this."""


class Mortality(nn.Module):
    """Constants, as buffers that follow the model's device and dtype and are not saved."""

    def __init__(self) -> None:
        super().__init__()
        zones = torch.full((STAGE.vocab, 4), nan)
        returns = torch.zeros(STAGE.vocab, len(PLAYERS), len(LAYOUT.numbers))
        returns[:] = _numbers(AT_RETURN, nan)
        for number, stage in GEOMETRY.items():
            code = number + STAGE.offset
            zones[code] = torch.tensor([stage.left, stage.right, stage.bottom, stage.top])
            across, height = stage.returns
            returns[code, :, _X] = torch.tensor(across)
            returns[code, :, _Y], returns[code, :, _FALL] = height, -stage.descent
        slack = torch.zeros(len(LAYOUT.numbers))
        slack[_X], slack[_Y], slack[_FALL] = _ACROSS, _NEAR, _NEAR
        away = torch.full((_LAST + 2, 3), nan)
        for state, told in AWAY.items():
            away[state] = torch.tensor([told.rows, told.then, told.stock])
        for name, value in {
            "away_D3": away,
            "zones_S4": zones,
            "returns_SPN": returns,
            "return_slack_N": slack,
            "death_N": _numbers(AT_DEATH, nan),
        }.items():
            self.register_buffer(name, value, persistent=False)

    zones_S4: Tensor
    """Left, right, bottom, top in game units; NaN, beyond which nothing is, for a stage without geometry."""
    returns_SPN: Tensor
    """Numbers of the first row of who comes back; NaN, which nothing is far from, where there is no law."""
    return_slack_N: Tensor
    """How far from them is near enough."""
    away_D3: Tensor
    """`AWAY` by action state of the dead, as three numbers; NaN where nobody knows, and in the last row: the living."""
    death_N: Tensor
    """Numbers of who fell out; NaN where there is no law."""

    # ---- the count ---------------------------------------------------------------------------------------------------

    # One number a player. 0: nothing was seen. 1: alive; then one more in each row that he is dead. Of who was dead in
    # the first row that was seen nobody knows since when: one less in each row, from 0.

    def nothing_seen(self, batch: int) -> Tensor:
        """The count (B,2) before the first row."""
        return self.zones_S4.new_zeros(batch, len(PLAYERS))

    def count(self, dead_rows: Tensor, state: State) -> Tensor:
        """The count (B,2) with one more row (B,2,·)."""
        is_dead = state.categories[..., _ACTION_STATE] <= _LAST + _OFFSET
        more = torch.where(dead_rows > 0, dead_rows + 1, dead_rows - 1)
        return torch.where(is_dead, more, torch.ones_like(more))

    def count_rows(self, states: State) -> Tensor:
        """The count after a history (B,T,2,·) of any length, also none."""
        codes = states.categories[..., _ACTION_STATE]
        dead = (codes <= _LAST + _OFFSET).flip(1).to(self.zones_S4.dtype).cumprod(1).sum(1)
        return torch.where(dead == codes.shape[1], -dead, dead + 1)

    # ---- the laws ----------------------------------------------------------------------------------------------------

    def forward(
        self, previous: State, codes: Tensor, numbers: Tensor, context: Context, dead_rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes (...,2,C) and numbers (...,2,N) of the next frame, with all dead who must be and nobody else.

        dead_rows: `count` up to `previous`; None if nobody counted: then the dead come back when the codes say so. On a
        stage without geometry nobody dies by his place.
        """
        was, now = (states[..., _ACTION_STATE] - _OFFSET for states in (previous.categories, codes))
        x, y = numbers[..., _X], numbers[..., _Y]
        left, right, bottom, top = over_rows(self.zones_S4[context.stage], numbers).unbind(-1)
        was_alive, is_dead, comes_back = was > _LAST, now <= _LAST, now == REBIRTH

        falls = was_alive & ((x < left) | (x > right) | (y < bottom)) & ~is_one_of(now, HELD)
        place = torch.where(y < bottom, DEAD_BELOW, now)
        place = torch.where(x < left, DEAD_LEFT, torch.where(x > right, DEAD_RIGHT, place))
        by_top = (now > DEAD_RIGHT) & (y > top)
        # No `where` of truth values: not every runtime of the graph has it.
        never = (was_alive & is_dead & ~by_top & ~left.isnan()) | (was_alive & comes_back & (was != REBIRTH))
        never = never | ~(was_alive | is_dead | comes_back)
        state = torch.where(falls, place, torch.where(never, was, now))
        before = previous.numbers
        stocks = before[..., _STOCKS]
        loses = numbers[..., _STOCKS] < stocks
        if dead_rows is not None:
            state, loses = self._in_time(was, state, loses, dead_rows, stocks)

        is_down, was_down, returns = state <= DEAD_RIGHT, was <= DEAD_RIGHT, ~was_alive & (state == REBIRTH)
        loses = ((is_down & was_alive) | (~is_down & (state <= _LAST) & loses)) & (stocks > 0)
        columns = list(numbers.unbind(-1))
        columns[_STOCKS] = torch.where(loses, stocks - 1, stocks)
        columns[_AGE] = torch.where((state == was) & (now != was), before[..., _AGE], columns[_AGE])
        for axis in _PLACE:
            columns[axis] = torch.where(is_down & was_down & ~left.isnan(), before[..., axis], columns[axis])
        is_of_death = is_down.unsqueeze(-1) & ~self.death_N.isnan()
        numbers = torch.where(is_of_death, self.death_N, torch.stack(columns, -1))
        there = over_rows(self.returns_SPN[context.stage], numbers)
        is_far = (numbers - there).abs() > self.return_slack_N
        numbers = torch.where(returns.unsqueeze(-1) & is_far, there, numbers)
        return with_column(codes, _ACTION_STATE, state + _OFFSET), numbers

    def _in_time(
        self, was: Tensor, state: Tensor, loses: Tensor, dead_rows: Tensor, stocks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The action states, and who loses a stock by the top, held to how long they have been dead."""
        until, then, stock = self.away_D3[was.clamp(0, _LAST + 1)].unbind(-1)
        seen = torch.where(dead_rows > 0, dead_rows - 1, -dead_rows)
        is_over = (seen >= until) & ((stocks > 0) | (then != REBIRTH))
        is_counted = (dead_rows > 0) & ~until.isnan()
        state = torch.where(is_over, then.nan_to_num().long(), torch.where(is_counted, was, state))
        is_known = is_counted & (stock > 0)
        return state, (is_known & (seen == stock)) | (~is_known & loses)


def _numbers(values: Mapping[str, float], otherwise: float) -> Tensor:
    """(N,) by role."""
    row = torch.full((len(LAYOUT.numbers),), otherwise)
    for role, value in values.items():
        row[LAYOUT.number(role)] = value
    return row
