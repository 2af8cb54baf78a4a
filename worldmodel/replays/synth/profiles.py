"""Four fighters: speeds, durations and hitboxes, as arrays that are indexed by profile and action state.

Owns: numbers. They are approximate: speeds are close to published attribute tables of the four characters (a Fox in a
real replay falls by 0.23 a frame, jumps with 3.68 and dashes at 2.2: so does this one); attacks are rough sketches with
one circular hitbox each. Must not: be mistaken for frame data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.melee.action_states import NUM_STATES
from worldmodel.melee.characters import EXTERNAL_TO_INTERNAL
from worldmodel.replays.synth import ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One character. Speeds in units per frame, durations in frames, weight in the game's unit."""

    external: int
    squat_frames: int
    gravity: float
    terminal: float
    fast_fall: float
    air_accel: float
    air_max: float
    air_friction: float
    walk_max: float
    dash: float
    run: float
    friction: float
    full_hop: float
    short_hop: float
    double_jump: float
    jump_x: float
    weight: float
    up_special: int
    up_special_speed: float
    reach: float
    power: float


# fmt: off
PROFILES: tuple[Profile, ...] = (
    Profile(external=2, squat_frames=3, gravity=0.23, terminal=2.8, fast_fall=3.4, air_accel=0.08, air_max=0.83,
            air_friction=0.02, walk_max=1.6, dash=2.02, run=2.2, friction=0.08, full_hop=3.68, short_hop=2.1,
            double_jump=4.416, jump_x=1.7, weight=75, up_special=354, up_special_speed=5.2, reach=1.0, power=1.25),
    Profile(external=20, squat_frames=5, gravity=0.17, terminal=3.1, fast_fall=3.5, air_accel=0.07, air_max=0.83,
            air_friction=0.02, walk_max=1.4, dash=1.9, run=1.5, friction=0.08, full_hop=4.1, short_hop=1.9,
            double_jump=3.854, jump_x=1.2, weight=80, up_special=354, up_special_speed=4.4, reach=1.0, power=1.3),
    Profile(external=9, squat_frames=4, gravity=0.085, terminal=2.2, fast_fall=2.5, air_accel=0.05, air_max=0.9,
            air_friction=0.005, walk_max=1.6, dash=1.5, run=1.8, friction=0.06, full_hop=2.4, short_hop=1.5,
            double_jump=2.112, jump_x=1.3, weight=87, up_special=368, up_special_speed=3.0, reach=1.35, power=1.3),
    Profile(external=0, squat_frames=4, gravity=0.13, terminal=2.9, fast_fall=3.5, air_accel=0.06, air_max=1.12,
            air_friction=0.01, walk_max=0.85, dash=2.0, run=2.3, friction=0.08, full_hop=3.1, short_hop=1.9,
            double_jump=2.79, jump_x=1.4, weight=104, up_special=354, up_special_speed=3.6, reach=1.1, power=1.4),
)
"""Fox, Falco, Marth, Captain Falcon."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One circular hitbox, active at ages first..last. `x` forward of the body, `y` above its feet; angle in degrees.

    number: Slippi's attack id. lag: landing lag in frames for aerials.
    """

    state: int
    number: int
    frames: int
    first: int
    last: int
    x: float
    y: float
    radius: float
    damage: float
    angle: float
    base: float
    growth: float
    lag: int = 0


ATTACKS: tuple[Attack, ...] = (
    Attack(ids.JAB, 2, 17, 2, 3, 9, 8, 4, 4, 70, 10, 60),
    Attack(ids.DASH_ATTACK, 6, 36, 4, 12, 6, 6, 5, 7, 60, 40, 70),
    Attack(ids.F_TILT, 7, 26, 5, 8, 11, 7, 4.5, 9, 40, 10, 100),
    Attack(ids.UP_TILT, 8, 23, 5, 11, 2, 13, 6, 9, 95, 30, 110),
    Attack(ids.DOWN_TILT, 9, 27, 7, 9, 12, 3, 4.5, 10, 75, 25, 105),
    Attack(ids.F_SMASH, 10, 39, 12, 17, 13, 7, 5.5, 15, 40, 25, 98),
    Attack(ids.UP_SMASH, 11, 41, 7, 12, 3, 15, 7, 16, 82, 30, 108),
    Attack(ids.DOWN_SMASH, 12, 45, 6, 10, 9, 3, 6.5, 14, 25, 25, 75),
    Attack(ids.AIR_N, 13, 40, 4, 28, 3, 6, 5.5, 11, 40, 10, 100, 15),
    Attack(ids.AIR_F, 14, 45, 8, 14, 9, 7, 5, 8, 55, 20, 100, 18),
    Attack(ids.AIR_B, 15, 38, 4, 10, -10, 7, 5.5, 13, 40, 10, 100, 20),
    Attack(ids.AIR_UP, 16, 36, 5, 12, 2, 15, 6, 12, 85, 30, 105, 18),
    Attack(ids.AIR_DOWN, 17, 45, 5, 18, 2, -1, 5.5, 11, -65, 20, 80, 20),
)
# fmt: on

NUM_PROFILES = len(PROFILES)


def _attribute(name: str) -> NDArray[np.float32]:
    return np.array([getattr(profile, name) for profile in PROFILES], dtype=np.float32)


ATTRIBUTE = {name: _attribute(name) for name in Profile.__slots__}
"""(P,) float32 of every attribute, by name."""

INTERNAL = np.array([EXTERNAL_TO_INTERNAL[profile.external] for profile in PROFILES], dtype=np.uint8)
"""Internal character id by profile."""


def _durations() -> NDArray[np.float32]:
    table = np.full((NUM_PROFILES, NUM_STATES), ids.FOREVER, dtype=np.float32)
    for state, frames in {
        ids.TURN: 11,
        ids.DASH: 16,
        ids.RUN_BRAKE: 18,
        ids.JUMP_F: 39,
        ids.JUMP_B: 39,
        ids.JUMP_AERIAL_F: 40,
        ids.JUMP_AERIAL_B: 40,
        ids.PASS: 15,
        ids.SQUAT: 7,
        ids.SQUAT_RV: 10,
        ids.LANDING: 4,
        ids.LANDING_SPECIAL: 10,
        ids.GUARD_ON: 8,
        ids.GUARD_OFF: 15,
        ids.DOWN_BOUND: 26,
        ids.DOWN_STAND: 30,
        ids.TECH: 26,
        ids.DAZED: 150,
        ids.ROLL_F: 31,
        ids.ROLL_B: 31,
        ids.SPOT_DODGE: 23,
        ids.AIR_DODGE: 40,
    }.items():
        table[:, state] = frames
    for attack in ATTACKS:
        table[:, attack.state] = attack.frames
    for row, profile in enumerate(PROFILES):
        table[row, ids.KNEE_BEND] = profile.squat_frames
        table[row, profile.up_special] = 30
    return table


DURATION = _durations()
"""(P, S) frames of a state; FOREVER where something else ends it."""

NEXT = np.repeat(ids.NEXT[None, :], NUM_PROFILES, axis=0)
"""(P, S) what follows a state that has run out; -1: WAIT or FALL."""

ANIMATION = np.repeat(ids.ANIMATION[None, :], NUM_PROFILES, axis=0)
"""(P, S)."""
for _row, _profile in enumerate(PROFILES):
    NEXT[_row, _profile.up_special] = ids.FALL_SPECIAL
    ANIMATION[_row, _profile.up_special] = _profile.up_special - 47


def _attack_table(name: str) -> NDArray[np.float32]:
    table = np.zeros(NUM_STATES, dtype=np.float32)
    for attack in ATTACKS:
        table[attack.state] = getattr(attack, name)
    return table


ATTACK = {name: _attack_table(name) for name in Attack.__slots__ if name != "state"}
"""(S,) float32 of every attack number, by name; `damage` is 0 for states that do not hit."""
ATTACK["last"] = np.where(ATTACK["damage"] > 0, ATTACK["last"], np.float32(-1))
ATTACK["cos"] = np.cos(np.deg2rad(ATTACK["angle"])).astype(np.float32)
ATTACK["sin"] = np.sin(np.deg2rad(ATTACK["angle"])).astype(np.float32)
