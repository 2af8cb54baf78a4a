"""What the game never does from one frame to the next, whatever the pads: how numbers change, who is dead, who stands.

Owns: these laws, by role and action state. Must not: apply them (that is `nn.laws`), import numpy or torch.

Only what holds in every frame of every replay may stand here, for the transition must be able to write down each of
them. Checked on all 4,441,206 pairs of neighbouring rows of 250 real games (Slippi 3.9 to 3.17, 1,523 deaths):

- stocks never rise and never fall by more than one; percent fell 1,255 times, always to exactly 0, always in the row in
  which the player comes back (action state 12), 35 to 60 frames after its death;
- the 1,361 deaths past the left, right and bottom blast zones begin in the first row outside, and nobody lives there in
  any other row, but for two in which the body is being thrown. That row has one stock less, and the numbers of
  `AT_DEATH`. The 162 deaths by the top begin above it, and take the stock later (`AWAY`); stocks fall in no other row;
- the dead who have a stock left come back after as many rows as `AWAY` says, by action state 12, in which nobody else
  is; its first row, of 1,267, has the numbers of `AT_RETURN`. Without a stock they stay dead until the match ends;
- who stands on a flat surface that does not move, and is not held, is at its height and between its ends, in all of 1.6
  million rows but ten, in which a body goes on standing 2 to 3 units in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.melee.action_states import GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """Limits on one number's change, in its unit. None: no limit.

    resets_in: action states in which the number may fall after all, and then to 0.
    """

    role: str
    max_rise: float | None = None
    max_fall: float | None = None
    resets_in: frozenset[int] = frozenset()


DEAD = range(11)
"""Action states of the dead; Sleep, 11, is that of nobody who plays."""
DEAD_BELOW, DEAD_LEFT, DEAD_RIGHT = 0, 1, 2
"""Of those who fell out of the stage, by blast zone; the rest of `DEAD` went out by the top."""
REBIRTH = 12
"""Action state in which all of the dead come back."""
HELD = GROUPS["grabbed"] | GROUPS["thrown"]
"""Action states in which a body goes where another one takes it, out of the stage too, and lives."""


@dataclass(frozen=True, slots=True)
class Away:
    """An action state of the dead: how many rows after the death the next one comes, and how many the stock goes, which
    it does at once for who fell out."""

    rows: int
    then: int = REBIRTH
    stock: int = 0


AWAY = {
    DEAD_BELOW: Away(60), DEAD_LEFT: Away(60), DEAD_RIGHT: Away(60),
    4: Away(176, stock=131), 6: Away(51, then=7, stock=94), 7: Away(129, stock=94),
}  # fmt: skip

AT_DEATH = {
    "velocity_x": 0.0, "velocity_y": 0.0, "velocity_ground": 0.0, "knockback_x": 0.0, "knockback_y": 0.0,
    "hitlag": 0.0, "hitstun": 0.0, "state_age": -1.0,
}  # fmt: skip
"""Numbers, by role, in the first row of who fell out of the stage."""
AT_RETURN = {
    "percent": 0.0, "shield": 60.0, "velocity_x": 0.0, "velocity_ground": 0.0, "knockback_x": 0.0, "knockback_y": 0.0,
    "hitlag": 0.0, "hitstun": 0.0, "state_age": 0.0, "combo": 0.0,
}  # fmt: skip
"""The same of the first row of who comes back; place and fall are the stage's."""

FOOTING_SLACK = 2e-3
"""Game units that a standing body is away from the height of its surface, at most."""
CLIPPED = (-3.1, -1.5)
"""Heights between which a body may go on standing in its surface, as in ten rows of 2 million."""
PAST_AN_END = 0.15
"""Game units that a standing body is past an end of its surface, at most."""

LAWS: tuple[Law, ...] = (
    Law(role="stocks", max_rise=0.0, max_fall=1.0),
    Law(role="percent", max_fall=0.0, resets_in=GROUPS["respawn"]),
)
