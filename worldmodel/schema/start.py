"""What a player holds in the first row of a match, before anything has happened.

Owns: the value of every modelled field at frame id -123, by role. Must not: know stages (spawn points are
`melee.stages`), build frames.

Measured on 250 real replays (500 players) of Slippi 3.9 to 3.17: in every one of them each field below has this value
in the first row, and every field that is not named is 0. What differs between matches is asked of the caller: where the
player stands, the way it faces, its stocks, its character.
"""

from __future__ import annotations

from worldmodel.melee.action_states import GROUPS
from worldmodel.melee.entry import AIR_JUMPS, AIR_JUMPS_BY_CHARACTER
from worldmodel.schema.field import Flags
from worldmodel.schema.layout import LAYOUT

FULL_SHIELD = 60.0
ENTRY = min(GROUPS["entry"])
"""The first of the action states of an entry."""
NO_GROUND = 65535
NOBODY = 6
"""In the place of the port of whoever hit last."""


def start_values(*, x: float, y: float, faces_right: bool, stocks: int, character: int) -> dict[str, float | int]:
    """Stored value of each modelled field of a player's state, by field name.

    x, y: game units. character: internal id.
    """
    by_role: dict[str, float | int] = {
        "position_x": x,
        "position_y": y,
        "facing": 1.0 if faces_right else -1.0,
        "stocks": stocks,
        "character": character,
        "shield": FULL_SHIELD,
        "state_age": -1.0,
        "airborne": 1,
        "state_flags": _flag("dead"),
        "action_state": ENTRY,
        "jumps": AIR_JUMPS_BY_CHARACTER.get(character, AIR_JUMPS),
        "ground": NO_GROUND,
        "last_hit_by": NOBODY,
    }
    named = {LAYOUT.the(role).name: value for role, value in by_role.items()}
    modelled = (*LAYOUT.numbers, *LAYOUT.categories, *(flag.field for flag in LAYOUT.flag_bits))
    return {row.name: named.get(row.name, 0) for row in modelled}


def _flag(name: str) -> int:
    """The stored word of the state flags in which only the named one is set. The game says "dead" until the entry."""
    codec = LAYOUT.the("state_flags").codec
    assert isinstance(codec, Flags)
    return 1 << codec.names.index(name)
