"""**The one table of contradictions**: what two consecutive rows of a player must not say together.

Owns: the name and the rule of each. Must not: import numpy or torch. Rules use operators only, as those of `events.py`.

None of them is impossible for certain: the last column of a report says how often true replays do it, and a dream is
judged by how much more often it does. Shares below are of player-frames of 60 real games of Slippi 3.9 to 3.17.
"""

from __future__ import annotations

from typing import Any

from worldmodel.melee.action_states import AIRBORNE_STATES, GROUNDED_STATES, GROUPS
from worldmodel.schema.events import PERCENT_STEP, GameEvent, Rows

Contradiction = GameEvent
"""Same shape as an event: name, doc, needs, rule of (rows before, rows now)."""

TELEPORT_UNITS = 10.0
"""A step longer than the speeds by this much is a teleport. Real games: 0.02 % of player-frames (ledges, throws)."""

_HELD = GROUPS["thrown"] | GROUPS["grabbed"]
_AWAY = GROUPS["dead"] | GROUPS["respawn"] | GROUPS["entry"]


def _percent_rises_unhit(before: Rows, now: Rows) -> Any:
    rises = now.number("percent") > before.number("percent") + PERCENT_STEP
    struck = (now.number("hitlag") > 0) | (now.number("hitstun") > before.number("hitstun"))
    return rises & ~struck & ~before.in_states(_HELD) & ~now.in_states(_HELD)


def _jumps_in_space(before: Rows, now: Rows) -> Any:
    """Along either axis, farther than the speeds of the row and of the row before would carry."""

    def beyond(position: str, own: str, knockback: str) -> Any:
        step = abs(now.number(position) - before.number(position))
        near = (step <= abs(rows.number(own)) + abs(rows.number(knockback)) + TELEPORT_UNITS for rows in (before, now))
        first, second = near
        return ~(first | second)

    across = beyond("position_x", "velocity_x", "knockback_x")
    up = beyond("position_y", "velocity_y", "knockback_y")
    return (across | up) & ~now.in_states(_AWAY)


_TABLE = (
    Contradiction(
        "airborne_state_on_ground",
        "on the ground, in an action state that is always in the air",
        ("airborne", "action_state"),
        lambda before, now: ~now.flag("airborne") & now.in_states(AIRBORNE_STATES),
    ),
    Contradiction(
        "grounded_state_in_air",
        "in the air, in an action state that is always on the ground",
        ("airborne", "action_state"),
        lambda before, now: now.flag("airborne") & now.in_states(GROUNDED_STATES),
    ),
    Contradiction(
        "percent_up_unhit",
        "percent rises without hitlag or new hitstun, and not held or thrown (real lasers and the magnifying glass do)",
        ("percent", "hitlag", "hitstun", "action_state"),
        _percent_rises_unhit,
    ),
    Contradiction(
        "percent_down_alive",
        "percent falls, neither dead nor coming back",
        ("percent", "action_state"),
        lambda before, now: (
            (now.number("percent") < before.number("percent") - PERCENT_STEP)
            & ~now.in_states(GROUPS["dead"] | GROUPS["respawn"])
        ),
    ),
    Contradiction(
        "teleport",
        f"moves {TELEPORT_UNITS:g} units farther than its speeds carry, neither dead nor coming back",
        ("position_x", "position_y", "velocity_x", "velocity_y", "knockback_x", "knockback_y", "action_state"),
        _jumps_in_space,
    ),
    Contradiction(
        "stocks_up",
        "stocks rise",
        ("stocks",),
        lambda before, now: now.number("stocks") > before.number("stocks"),
    ),
    Contradiction(
        "stock_lost_alive",
        "stocks fall, but the action state is not one of the dead",
        ("stocks", "action_state"),
        lambda before, now: (now.number("stocks") < before.number("stocks")) & ~now.in_states(GROUPS["dead"]),
    ),
)

CONTRADICTIONS: dict[str, Contradiction] = {row.name: row for row in _TABLE}
"""Every contradiction by its name; the order is that of the axis K."""
