"""One frame of the platform fighter, for a batch of games at once.

Owns: `step`, what a pad means, and which action state follows which. Movement is `physics.py`, attacks are `hits.py`.
Must not: draw random numbers. The same state and the same pads give the same bits, whatever the batch.

It is a sketch of the game with the game's bookkeeping: ids, flags, hitlag, hitstun, l-cancels, stocks. Pads of a row
act in that row. What is left out: ledges, grabs, projectiles, bodies pushing each other, the ceiling of the stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldmodel.melee.pad import BUTTONS, JUMP_BUTTONS, SHIELD_BUTTONS
from worldmodel.replays.synth import ids
from worldmodel.replays.synth.hits import strike
from worldmodel.replays.synth.physics import collide, die, move
from worldmodel.replays.synth.profiles import ANIMATION, ATTRIBUTE, NEXT
from worldmodel.replays.synth.state import Array, Pads, State, enter
from worldmodel.schema.field import Flags
from worldmodel.schema.laws import AWAY
from worldmodel.schema.layout import LAYOUT

_codec = LAYOUT.by_name["state_flags"].codec
if not isinstance(_codec, Flags):
    raise ValueError("state_flags has no flag names")
FLAG = {name: np.uint64(1 << bit) for bit, name in enumerate(_codec.names) if name}
"""Mask of each named bit of `state_flags`."""

REBIRTH_FRAMES, REBIRTH_WAIT_FRAMES, GUARDED_FRAMES = 60, 240, 120
_UP = AWAY[ids.DEAD_UP]
ENTRY_END_FRAMES = 24
_SHIELD_TRIGGER = 0.3
_AIR_DODGE_SPEED = np.float32(3.1)
_DROP_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Heard:
    """What the pads ask for in this frame. (G, 2); x and y are the main stick."""

    x: Array
    y: Array
    jump: Array
    jump_held: Array
    attack: Array
    attack_x: Array
    attack_y: Array
    smash: Array
    up_special: Array
    shield: Array
    shield_edge: Array
    flick_x: Array
    """-1, 0, 1: the stick was just thrown left or right."""
    flick_down: Array
    any: Array


def listen(before: Pads, now: Pads) -> Heard:
    """Edges and thresholds. A button acts in the frame in which it goes down."""
    pressed = now.buttons & ~before.buttons
    x, y = now.stick_x, now.stick_y
    flick_x = np.where((np.abs(x) >= 0.8) & ((np.abs(before.stick_x) < 0.8) | (x * before.stick_x < 0)), np.sign(x), 0)
    flick_down = (y <= -0.66) & (before.stick_y > -0.66)
    c_now = np.maximum(np.abs(now.cstick_x), np.abs(now.cstick_y)) >= 0.7
    c_edge = c_now & ~(np.maximum(np.abs(before.cstick_x), np.abs(before.cstick_y)) >= 0.7)
    a_edge = (pressed & BUTTONS["a"]) != 0
    shield_buttons = (now.buttons & SHIELD_BUTTONS) != 0
    stick_down = np.maximum(np.abs(x), np.abs(y)) >= 0.3
    return Heard(
        x=x,
        y=y,
        jump=((pressed & JUMP_BUTTONS) != 0) | ((y >= 0.66) & (before.stick_y < 0.66) & ~a_edge),
        jump_held=((now.buttons & JUMP_BUTTONS) != 0) | (y >= 0.66),
        attack=a_edge | c_edge,
        attack_x=np.where(c_edge, now.cstick_x, x),
        attack_y=np.where(c_edge, now.cstick_y, y),
        smash=c_edge | (a_edge & ((flick_x != 0) | flick_down | ((y >= 0.66) & (before.stick_y < 0.66)))),
        up_special=((pressed & BUTTONS["b"]) != 0) & (y >= 0.5),
        shield=shield_buttons | (now.trigger >= _SHIELD_TRIGGER),
        shield_edge=(pressed & SHIELD_BUTTONS) != 0,
        flick_x=flick_x.astype(np.float32),
        flick_down=flick_down,
        any=stick_down | (now.buttons != 0),
    )


def step(state: State, pads: Pads) -> State:
    """The state after one more frame, in which `pads` were held. Leaves `state` as it was."""
    s = replace(state.copy(), pads=pads, num_rows=state.num_rows + 1)
    heard = listen(state.pads, pads)
    np.maximum(s.hitlag - 1, 0, out=s.hitlag)
    np.add(s.trigger_age, 1, out=s.trigger_age)
    np.copyto(s.trigger_age, 0, where=heard.shield_edge)
    free = s.hitlag == 0
    np.copyto(s.l_cancel, 0, where=free)
    active = free & ~_run_scripts(s, heard)
    np.maximum(s.dropping - active, 0, out=s.dropping)
    np.maximum(s.guarded - active, 0, out=s.guarded)

    s.state_age[active] += 1
    _count_hitstun(s, active)
    fresh = _end_states(s, heard, active)
    fresh |= _interrupt(s, heard, active & ~s.in_hitstun)
    move(s, heard.x, active, fresh)
    collide(s, state, active)
    _wear_shields(s, active)
    strike(s, heard.x, heard.y)
    die(s)
    _describe(s)
    return s


def _run_scripts(s: State, heard: Heard) -> Array:
    """Dead, respawning and entering fighters. Returns who they are: nothing else happens to them in this row."""
    held = ids.IS_HELD[s.action_state]
    if not held.any():
        return held
    now = s.action_state.copy()
    np.subtract(s.timer, 1, out=s.timer, where=held)
    over = held & (s.timer <= 0)
    np.copyto(s.self_y, 0, where=held & ((now == ids.REBIRTH_WAIT) | (now == ids.ENTRY_END)))

    on_way = now == ids.REBIRTH
    np.add(s.state_age, 1, out=s.state_age, where=on_way | (now == ids.REBIRTH_WAIT))
    np.add(s.y, s.self_y, out=s.y, where=on_way)
    enter(s, (now == ids.ENTRY) & (s.timer <= ENTRY_END_FRAMES), ids.ENTRY_END, age=-1)

    stock_goes = (now == ids.DEAD_UP) & (s.timer == _UP.rows - _UP.stock)
    np.subtract(s.stocks, 1, out=s.stocks, where=stock_goes)
    back = over & ids.IS_DEAD[now] & (s.stocks > 0)
    if back.any():
        enter(s, back, ids.REBIRTH)
        for array, value in (
            (s.percent, 0), (s.x, s.surfaces.returns[:, :2]), (s.y, s.surfaces.returns[:, 2:3]),
            (s.self_y, -s.surfaces.returns[:, 3:]), (s.combo_count, 0), (s.last_attack_landed, 0),
            (s.last_hit_by, ids.NOBODY), (s.jumps, 1), (s.ground, ids.NO_GROUND), (s.shield, 60),
            (s.timer, REBIRTH_FRAMES),
        ):  # fmt: skip
            np.copyto(array, value, where=back)
    waits = over & on_way
    enter(s, waits, ids.REBIRTH_WAIT)
    np.copyto(s.timer, REBIRTH_WAIT_FRAMES, where=waits)
    leaves = (now == ids.REBIRTH_WAIT) & (over | heard.any)
    np.copyto(s.guarded, GUARDED_FRAMES, where=leaves)
    enter(s, leaves | (over & ((now == ids.ENTRY) | (now == ids.ENTRY_END))), ids.FALL)
    return held


def _count_hitstun(s: State, active: Array) -> None:
    """`misc_as` counts down while in hitstun; at its end a flight becomes a tumble."""
    stunned = active & s.in_hitstun
    if not stunned.any():
        return
    np.subtract(s.misc_as, 1, out=s.misc_as, where=stunned)
    over = stunned & (s.misc_as <= 0)
    np.copyto(s.misc_as, 0, where=over)
    np.copyto(s.in_hitstun, False, where=over)
    np.copyto(s.combo_count, 0, where=over[:, ::-1])
    follower = np.where(ids.IS_FLY[s.action_state], ids.TUMBLE, np.where(s.airborne != 0, ids.FALL, ids.WAIT))
    enter(s, over, follower)


def _end_states(s: State, heard: Heard, active: Array) -> Array:
    """States that have run out. Returns who left the ground by it."""
    ended = active & (s.state_age >= s.ends_at)
    fresh = np.zeros_like(ended)
    if not ended.any():
        return fresh
    now = s.action_state.copy()
    follower = NEXT[s.profile, now]
    follower = np.where(follower >= 0, follower, np.where(s.airborne != 0, ids.FALL, ids.WAIT))
    runs = (now == ids.DASH) & (heard.x * s.facing >= 0.62)
    follower = np.where(runs, ids.RUN, follower)
    np.negative(s.facing, out=s.facing, where=ended & (now == ids.ROLL_F))
    takes_off = ended & (now == ids.KNEE_BEND)
    if takes_off.any():
        follower = np.where(now == ids.KNEE_BEND, np.where(heard.x * s.facing < -0.3, ids.JUMP_B, ids.JUMP_F), follower)
        hop = np.where(heard.jump_held, _of(s, "full_hop"), _of(s, "short_hop"))
        top = _of(s, "jump_x")
        along = np.clip(s.self_x_ground * np.float32(0.83) + heard.x * np.float32(0.72), -top, top)
        _leave_ground(s, takes_off, along, hop)
        fresh |= takes_off
    enter(s, ended, follower)
    return fresh


def _of(s: State, attribute: str) -> Array:
    return ATTRIBUTE[attribute][s.profile]


def _leave_ground(s: State, where: Array, along: Array, up: Array) -> None:
    np.copyto(s.self_x_air, along, where=where)
    np.copyto(s.self_y, up, where=where)
    np.copyto(s.self_x_ground, 0, where=where)
    np.copyto(s.jumps, 1, where=where & (s.airborne == 0))
    np.copyto(s.airborne, 1, where=where)
    np.copyto(s.fast_falling, False, where=where)


def _interrupt(s: State, heard: Heard, active: Array) -> Array:
    """What the pad starts, in order of precedence. Returns who got a new vertical speed by it."""
    now = s.action_state.copy()
    ground = active & ids.GROUND_FREE[now]
    air = active & ids.AIR_FREE[now]
    guard = active & ((now == ids.GUARD_ON) | (now == ids.GUARD))

    special = (ground | air) & heard.up_special
    if special.any():
        _leave_ground(s, special, heard.x * np.float32(1.6), _of(s, "up_special_speed"))
        np.copyto(s.jumps, 0, where=special)
        enter(s, special, _of(s, "up_special").astype(np.uint16))
        ground, air = ground & ~special, air & ~special
    fresh = special
    fresh |= _from_air(s, heard, air)

    jump = (ground | guard) & heard.jump
    enter(s, jump, ids.KNEE_BEND)
    ground, guard = ground & ~jump, guard & ~jump
    ground = _attack_from_ground(s, heard, ground, now)

    rolls = guard & (heard.flick_x != 0)
    enter(s, rolls, np.where(heard.flick_x == s.facing, ids.ROLL_F, ids.ROLL_B))
    dodges = guard & heard.flick_down & ~rolls
    enter(s, dodges, ids.SPOT_DODGE)
    enter(s, guard & ~heard.shield & ~rolls & ~dodges, ids.GUARD_OFF)
    raises = ground & heard.shield
    enter(s, raises, ids.GUARD_ON)
    ground = ground & ~raises

    drops = ground & (s.surface > 0) & heard.flick_down
    if drops.any():
        _leave_ground(s, drops, s.self_x_ground, np.zeros_like(s.self_y))
        np.copyto(s.dropping, _DROP_FRAMES, where=drops)
        enter(s, drops, ids.PASS)
        ground = ground & ~drops
    _walk_and_run(s, heard, ground, now)
    return fresh


def _from_air(s: State, heard: Heard, air: Array) -> Array:
    """Double jump, air dodge, aerials, fast fall. Returns who got a new vertical speed."""
    jump = air & heard.jump & (s.jumps > 0)
    if jump.any():
        np.copyto(s.self_y, _of(s, "double_jump"), where=jump)
        np.copyto(s.self_x_air, heard.x * _of(s, "air_max"), where=jump)
        np.subtract(s.jumps, 1, out=s.jumps, where=jump)
        np.copyto(s.fast_falling, False, where=jump)
        enter(s, jump, np.where(heard.x * s.facing < -0.3, ids.JUMP_AERIAL_B, ids.JUMP_AERIAL_F))
        air = air & ~jump
    dodge = air & heard.shield_edge
    if dodge.any():
        np.copyto(s.self_x_air, heard.x * _AIR_DODGE_SPEED, where=dodge)
        np.copyto(s.self_y, heard.y * _AIR_DODGE_SPEED, where=dodge)
        np.copyto(s.fast_falling, False, where=dodge)
        enter(s, dodge, ids.AIR_DODGE)
        air = air & ~dodge
    attack = air & heard.attack
    if attack.any():
        x, y = heard.attack_x * s.facing, heard.attack_y
        vertical = np.abs(y) > np.abs(x)
        choice = np.where(vertical, np.where(y > 0, ids.AIR_UP, ids.AIR_DOWN), np.where(x > 0, ids.AIR_F, ids.AIR_B))
        enter(s, attack, np.where(np.maximum(np.abs(x), np.abs(y)) < 0.3, ids.AIR_N, choice))
    falls = heard.flick_down & (s.airborne != 0) & (s.self_y < 0) & ids.CAN_FASTFALL[s.action_state] & (s.hitlag == 0)
    np.copyto(s.fast_falling, True, where=falls & ~s.in_hitstun)
    return jump | dodge


def _attack_from_ground(s: State, heard: Heard, ground: Array, now: Array) -> Array:
    """Jab, tilts, smashes, dash attack. Returns who is still free."""
    attack = ground & heard.attack
    if not attack.any():
        return ground
    x, y = heard.attack_x, heard.attack_y
    vertical = (np.abs(y) > np.abs(x)) & (np.abs(y) >= 0.3)
    sideways = ~vertical & (np.abs(x) >= 0.3)
    up = y > 0
    tilt = np.where(vertical, np.where(up, ids.UP_TILT, ids.DOWN_TILT), np.where(sideways, ids.F_TILT, ids.JAB))
    smash = np.where(vertical, np.where(up, ids.UP_SMASH, ids.DOWN_SMASH), ids.F_SMASH)
    dashing = (now == ids.DASH) | (now == ids.RUN)
    choice = np.where(heard.smash, smash, np.where(dashing, ids.DASH_ATTACK, tilt))
    np.copyto(s.facing, np.sign(x), where=attack & sideways & (choice != ids.DASH_ATTACK))
    enter(s, attack, choice)
    return ground & ~attack


def _walk_and_run(s: State, heard: Heard, ground: Array, now: Array) -> None:
    crouched = ids.CROUCHES[now]
    low = heard.y <= -0.66
    enter(s, ground & crouched & ~low, ids.SQUAT_RV)
    squats = ground & ~crouched & low & (now != ids.DASH)
    enter(s, squats, ids.SQUAT)
    ground = ground & ~crouched & ~low

    starts = ground & (heard.flick_x != 0) & (now != ids.RUN) & ~((now == ids.DASH) & (heard.flick_x == s.facing))
    np.copyto(s.facing, heard.flick_x, where=starts)
    np.copyto(s.self_x_ground, heard.flick_x * _of(s, "dash"), where=starts)
    enter(s, starts, ids.DASH)
    ground = ground & ~starts

    pushed, behind = np.abs(heard.x) >= 0.2875, heard.x * s.facing < 0
    enter(s, ground & (now == ids.RUN) & ~pushed, ids.RUN_BRAKE)
    stands = ground & ids.STANDS[now]
    turns = pushed & behind & (stands | (ground & (now == ids.RUN)))
    np.negative(s.facing, out=s.facing, where=turns)
    enter(s, turns, ids.TURN)
    walks = stands & pushed & ~behind & (now != ids.TURN)
    part = np.abs(s.self_x_ground) / _of(s, "walk_max")
    pace = np.where(part > 0.7, ids.WALK_FAST, np.where(part > 0.4, ids.WALK_MIDDLE, ids.WALK_SLOW))
    enter(s, walks & (now != pace), pace)
    enter(s, stands & ids.IS_WALK[now] & ~pushed, ids.WAIT)


def _wear_shields(s: State, active: Array) -> None:
    """Shields shrink while held and grow back otherwise; at nothing they break."""
    up = ids.SHIELDS[s.action_state]
    change = np.where(up, np.where(s.action_state == ids.GUARD_STUN, 0, -0.28), 0.07).astype(np.float32)
    np.copyto(s.shield, np.clip(s.shield + change, 0, 60), where=active)
    broken = active & up & (s.shield <= 0)
    if broken.any():
        break_shield(s, broken)


def break_shield(s: State, broken: Array) -> None:
    """Throw the owner into the air, dazed when he lands."""
    _leave_ground(s, broken, np.zeros_like(s.self_x_air), np.full_like(s.self_y, 2.5))
    np.copyto(s.shield, 30, where=broken)
    enter(s, broken, ids.SHIELD_BREAK)


def _describe(s: State) -> None:
    """Fields that follow from the others."""
    now = s.action_state
    window = ids.INTANGIBLE[now]
    intangible = (s.state_age >= window[..., 0]) & (s.state_age < window[..., 1])
    s.hurtbox_state[:] = np.where(intangible, 2, s.guarded > 0)
    s.animation_index[:] = ANIMATION[s.profile, now]
    blast = s.surfaces.blast
    seen = (np.abs(s.x) < 0.8 * blast[:, 1:2]) & (s.y > 0.8 * blast[:, 3:4]) & (s.y < 0.8 * blast[:, 2:3])
    s.state_flags[:] = (
        np.where(s.hitlag > 0, FLAG["in_hitlag"], np.uint64(0))
        | np.where(s.in_hitstun, FLAG["in_hitstun"], np.uint64(0))
        | np.where(ids.SHIELDS[now], FLAG["shielding"], np.uint64(0))
        | np.where(s.fast_falling, FLAG["fastfall"], np.uint64(0))
        | np.where(ids.IS_DEAD[now], FLAG["dead"], np.uint64(0))
        | np.where(intangible, FLAG["intangible"], np.uint64(0))
        | np.where(seen | (now == ids.ENTRY), np.uint64(0), FLAG["offscreen"])
    )
