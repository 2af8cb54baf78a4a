"""What the game never does from one frame to the next, whatever the pads: limits on how numbers change.

Owns: these limits, by role. Must not: apply them (that is `dynamics.step`), import numpy or torch.

Only what holds in every frame of every replay may stand here, for the transition must be able to write down each of
them. Checked on all 4,441,206 pairs of neighbouring rows of 250 real games (Slippi 3.9 to 3.17, 1,523 deaths): stocks
never rise and never fall by more than one; percent fell 1,255 times, always to exactly 0, always in the row in which
the player comes back (action state 12), 35 to 60 frames after its death.
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


LAWS: tuple[Law, ...] = (
    Law(role="stocks", max_rise=0.0, max_fall=1.0),
    Law(role="percent", max_fall=0.0, resets_in=GROUPS["respawn"]),
)
