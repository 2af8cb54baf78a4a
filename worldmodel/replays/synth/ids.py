"""The action states that the simulator plays, by the game's own ids, and tables over them.

Owns: which state may do what. Must not: hold a character's numbers (`profiles.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodel.melee.action_states import NAMES, NUM_STATES


def _id(name: str) -> int:
    return NAMES.index(name)


DEAD_DOWN, DEAD_LEFT, DEAD_RIGHT, DEAD_UP = (_id(n) for n in ("DeadDown", "DeadLeft", "DeadRight", "DeadUpStar"))
REBIRTH, REBIRTH_WAIT, ENTRY, ENTRY_END = (_id(n) for n in ("Rebirth", "RebirthWait", "Entry", "EntryEnd"))
WAIT, WALK_SLOW, WALK_MIDDLE, WALK_FAST = (_id(n) for n in ("Wait", "WalkSlow", "WalkMiddle", "WalkFast"))
TURN, DASH, RUN, RUN_BRAKE = (_id(n) for n in ("Turn", "Dash", "Run", "RunBrake"))
KNEE_BEND, JUMP_F, JUMP_B = (_id(n) for n in ("KneeBend", "JumpF", "JumpB"))
JUMP_AERIAL_F, JUMP_AERIAL_B, FALL = (_id(n) for n in ("JumpAerialF", "JumpAerialB", "Fall"))
FALL_SPECIAL, TUMBLE, PASS = (_id(n) for n in ("FallSpecial", "DamageFall", "Pass"))
SQUAT, SQUAT_WAIT, SQUAT_RV = (_id(n) for n in ("Squat", "SquatWait", "SquatRv"))
LANDING, LANDING_SPECIAL = (_id(n) for n in ("Landing", "LandingFallSpecial"))
JAB, DASH_ATTACK = (_id(n) for n in ("Attack11", "AttackDash"))
F_TILT, UP_TILT, DOWN_TILT = (_id(n) for n in ("AttackS3S", "AttackHi3", "AttackLw3"))
F_SMASH, UP_SMASH, DOWN_SMASH = (_id(n) for n in ("AttackS4S", "AttackHi4", "AttackLw4"))
AIR_N, AIR_F, AIR_B, AIR_UP, AIR_DOWN = (_id("AttackAir" + n) for n in ("N", "F", "B", "Hi", "Lw"))
LANDING_AIR_N = _id("LandingAirN")
"""The five landings follow in the order of the five aerials."""
DAMAGE_GROUND, DAMAGE_AIR = _id("DamageN1"), _id("DamageAir1")
"""Three strengths follow one another."""
FLY_HI, FLY_N, FLY_LOW, FLY_TOP = (_id("DamageFly" + n) for n in ("Hi", "N", "Lw", "Top"))
GUARD_ON, GUARD, GUARD_OFF, GUARD_STUN = (_id(n) for n in ("GuardOn", "Guard", "GuardOff", "GuardSetOff"))
DOWN_BOUND, DOWN_STAND, TECH = (_id(n) for n in ("DownBoundU", "DownStandU", "Passive"))
SHIELD_BREAK, DAZED = _id("ShieldBreakFly"), _id("FuraFura")
ROLL_F, ROLL_B, SPOT_DODGE, AIR_DODGE = (_id(n) for n in ("EscapeF", "EscapeB", "Escape", "EscapeAir"))

NO_GROUND = 65535
NOBODY = 6
FOREVER = 1e9


def _mask(*states: int) -> NDArray[np.bool_]:
    table = np.zeros(NUM_STATES, dtype=bool)
    table[list(states)] = True
    return table


IS_DEAD = _mask(DEAD_DOWN, DEAD_LEFT, DEAD_RIGHT, DEAD_UP)
IS_HELD = _mask(DEAD_DOWN, DEAD_LEFT, DEAD_RIGHT, DEAD_UP, REBIRTH, REBIRTH_WAIT, ENTRY, ENTRY_END)
"""States that obey a script, not physics."""
IS_WALK = _mask(WALK_SLOW, WALK_MIDDLE, WALK_FAST)
STANDS = _mask(WAIT, WALK_SLOW, WALK_MIDDLE, WALK_FAST, TURN, SQUAT, SQUAT_WAIT, SQUAT_RV, RUN_BRAKE)
GROUND_FREE = STANDS | _mask(DASH, RUN)
"""On the ground, and every input is heard."""
AIR_FREE = _mask(JUMP_F, JUMP_B, JUMP_AERIAL_F, JUMP_AERIAL_B, FALL, TUMBLE, PASS)
"""In the air, and every input is heard."""
CAN_FASTFALL = AIR_FREE | _mask(AIR_N, AIR_F, AIR_B, AIR_UP, AIR_DOWN, FALL_SPECIAL)
IS_AERIAL = _mask(AIR_N, AIR_F, AIR_B, AIR_UP, AIR_DOWN)
IS_FLY = _mask(FLY_HI, FLY_N, FLY_LOW, FLY_TOP)
SHIELDS = _mask(GUARD_ON, GUARD, GUARD_STUN)
CROUCHES = _mask(SQUAT, SQUAT_WAIT)

NEXT = np.full(NUM_STATES, -1, dtype=np.int64)
"""What follows when a state has run out; -1: WAIT on the ground, FALL in the air."""
for _state, _follower in {
    SQUAT: SQUAT_WAIT,
    GUARD_ON: GUARD,
    GUARD_STUN: GUARD,
    DOWN_BOUND: DOWN_STAND,
    AIR_DODGE: FALL_SPECIAL,
}.items():
    NEXT[_state] = _follower

INTANGIBLE = np.zeros((NUM_STATES, 2), dtype=np.float32)
"""Ages [first, last) at which no attack hits. Approximate."""
for _state, _ages in {ROLL_F: (4, 20), ROLL_B: (4, 20), SPOT_DODGE: (2, 16), AIR_DODGE: (4, 30), TECH: (0, 20)}.items():
    INTANGIBLE[_state] = _ages

NO_ANIMATION = 0xFFFF_FFFF

ANIMATION = np.arange(NUM_STATES, dtype=np.uint32)
"""Animation by state. Shifts of whole blocks of ids, as counted in real replays."""
for _first, _last, _shift in (
    (WALK_SLOW, KNEE_BEND, -9 + 1),
    (JUMP_F, SQUAT_WAIT, -9),
    (SQUAT_RV, LANDING_SPECIAL, -7),
    (JAB, F_SMASH, 2),
    (UP_SMASH, LANDING_AIR_N + 4, 3),
    (DAMAGE_GROUND, FLY_TOP + 1, 90),
    (ROLL_F, ROLL_B, -191),
    (SPOT_DODGE, SPOT_DODGE, -194),
    (AIR_DODGE, AIR_DODGE, -192),
    (PASS, PASS, -35),
):
    ANIMATION[_first : _last + 1] = np.arange(_first, _last + 1) + _shift
ANIMATION[[REBIRTH, REBIRTH_WAIT, WAIT]] = 2
ANIMATION[[GUARD_OFF, GUARD_STUN]] = 39, 40
ANIMATION[[DEAD_DOWN, DEAD_LEFT, DEAD_RIGHT, DEAD_UP, ENTRY, ENTRY_END, GUARD_ON, GUARD]] = NO_ANIMATION
