"""Movement: speeds, positions, landing, walking off, dying.

Owns: what moves a body. In every row outside of hitlag, landing, death and respawn the position is the one before plus
(self-induced speed + knockback), added up in float32 in this order. Must not: start attacks or hear buttons.
"""

from __future__ import annotations

import numpy as np

from worldmodel.replays.synth import ids
from worldmodel.replays.synth.profiles import ATTACK, ATTRIBUTE
from worldmodel.replays.synth.state import Array, State, enter, floor_height
from worldmodel.schema.laws import AWAY, DEAD

KNOCKBACK_DECAY = np.float32(0.051)
"""Speed that knockback loses per frame."""
L_CANCEL_FRAMES, TECH_FRAMES = 7, 20
DEAD_ROWS = np.array([AWAY[state].rows if state in AWAY else 0 for state in DEAD], np.int64)
"""By action state of the dead."""
_DODGE_DRAG, _DODGE_FLOAT_FRAMES = np.float32(0.9), 30
_ROLL_SPEED = np.float32(1.5)
_EPS = np.float32(1e-3)


def move(s: State, stick_x: Array, active: Array, fresh: Array) -> None:
    """Advance speeds, then positions. `fresh`: speeds were set in this row already."""
    attribute = {name: table[s.profile] for name, table in ATTRIBUTE.items()}
    on_ground = s.airborne == 0
    _ground_speed(s, stick_x, active & on_ground, attribute)
    _air_speed(s, stick_x, active & ~on_ground & ~fresh, attribute)
    _decay_knockback(s, active, on_ground, attribute["friction"])
    np.copyto(s.self_x_air, s.self_x_ground, where=active & on_ground)
    np.copyto(s.self_y, 0, where=active & on_ground)
    _stop_at_walls(s, active & ~on_ground)
    np.add(s.x, s.self_x_air + s.knockback_x, out=s.x, where=active)
    np.add(s.y, s.self_y + s.knockback_y, out=s.y, where=active & ~on_ground)


def _ground_speed(s: State, stick_x: Array, where: Array, attribute: dict[str, Array]) -> None:
    now = s.action_state
    friction = attribute["friction"]
    walks, dashes, runs = ids.IS_WALK[now], now == ids.DASH, now == ids.RUN
    rolls = (now == ids.ROLL_F) | (now == ids.ROLL_B)
    target = np.where(walks, stick_x * attribute["walk_max"], np.float32(0))
    target = np.where(dashes, s.facing * attribute["run"], target)
    target = np.where(runs, stick_x * attribute["run"], target)
    rolling = rolls & (s.state_age >= 4) & (s.state_age < 24)
    target = np.where(rolling, np.where(now == ids.ROLL_F, s.facing, -s.facing) * _ROLL_SPEED, target)
    rate = np.where(walks | dashes | runs, np.float32(0.12), friction)
    rate = np.where(rolls, np.float32(0.5), rate)
    speed = s.self_x_ground + np.clip(target - s.self_x_ground, -rate, rate)
    np.copyto(s.self_x_ground, speed.astype(np.float32), where=where)


def _air_speed(s: State, stick_x: Array, where: Array, attribute: dict[str, Array]) -> None:
    now = s.action_state
    drifts = (np.abs(stick_x) >= 0.2875) & ~s.in_hitstun
    top = attribute["air_max"]
    target = np.where(drifts, stick_x * top, np.float32(0))
    rate = np.where(drifts & (np.abs(s.self_x_air) <= top), attribute["air_accel"], attribute["air_friction"])
    along = s.self_x_air + np.clip(target - s.self_x_air, -rate, rate)
    up = np.maximum(s.self_y - attribute["gravity"], -attribute["terminal"])
    up = np.where(s.fast_falling, -attribute["fast_fall"], up)
    floats = (now == ids.AIR_DODGE) & (s.state_age < _DODGE_FLOAT_FRAMES)
    along = np.where(floats, s.self_x_air * _DODGE_DRAG, along)
    up = np.where(floats, s.self_y * _DODGE_DRAG, up)
    np.copyto(s.self_x_air, along.astype(np.float32), where=where)
    np.copyto(s.self_y, up.astype(np.float32), where=where)


def _decay_knockback(s: State, active: Array, on_ground: Array, friction: Array) -> None:
    """Shorter by 0.051 a frame, along its direction; on the ground by friction as well."""
    flying = active & ((s.knockback_x != 0) | (s.knockback_y != 0))
    if not flying.any():
        return
    np.copyto(s.knockback_y, 0, where=flying & on_ground)
    size = np.sqrt(s.knockback_x * s.knockback_x + s.knockback_y * s.knockback_y)
    loss = np.where(on_ground, friction + KNOCKBACK_DECAY, KNOCKBACK_DECAY)
    keep = np.maximum(size - loss, np.float32(0)) / np.maximum(size, np.float32(1e-9))
    np.multiply(s.knockback_x, keep, out=s.knockback_x, where=flying)
    np.multiply(s.knockback_y, keep, out=s.knockback_y, where=flying)


def _stop_at_walls(s: State, where: Array) -> None:
    """Below the floor the stage is a block: who would enter it from the side loses his horizontal speed."""
    edge = s.surfaces.right[:, :1]
    below = where & (s.y < s.surfaces.edge_height - _EPS)
    if not below.any():
        return
    ahead = s.x + (s.self_x_air + s.knockback_x)
    stays_below = s.y + (s.self_y + s.knockback_y) < s.surfaces.edge_height
    stopped = below & stays_below & (np.abs(s.x) >= edge) & (np.abs(ahead) < edge)
    np.copyto(s.self_x_air, 0, where=stopped)
    np.copyto(s.knockback_x, 0, where=stopped)


def collide(s: State, before: State, active: Array) -> None:
    """Follow the floor, walk off its end, land on it."""
    on_ground = active & (s.airborne == 0)
    left = np.take_along_axis(s.surfaces.left, s.surface, axis=1)
    right = np.take_along_axis(s.surfaces.right, s.surface, axis=1)
    off = on_ground & ((s.x < left) | (s.x > right))
    stays = on_ground & ~off
    drop = floor_height(s.surfaces, s.surface, s.x) - s.y
    np.copyto(s.self_y, drop, where=stays)
    np.add(s.y, drop, out=s.y, where=stays)
    if off.any():
        np.copyto(s.airborne, 1, where=off)
        np.copyto(s.jumps, 1, where=off)
        np.copyto(s.self_x_ground, 0, where=off)
        enter(s, off & ~s.in_hitstun, ids.FALL)
    in_air = active & (s.airborne != 0) & ~off
    if in_air.any():
        _land(s, before, in_air)


def _land(s: State, before: State, in_air: Array) -> None:
    surfaces = s.surfaces
    run = np.maximum(surfaces.right[:, :1] - surfaces.flat, _EPS)

    def heights(x: Array) -> Array:  # (G, 2, S)
        part = np.clip((np.abs(x) - surfaces.flat) / run, np.float32(0), np.float32(1))
        all_flat = np.repeat(surfaces.height[:, None, :], 2, axis=1)
        all_flat[..., 0] += part * (surfaces.edge_height - surfaces.height[:, :1])
        return all_flat

    over = (s.x[..., None] >= surfaces.left[:, None, :]) & (s.x[..., None] <= surfaces.right[:, None, :])
    crosses = (before.y[..., None] >= heights(before.x) - _EPS) & (s.y[..., None] <= heights(s.x)) & over
    crosses[..., 1:] &= (s.dropping == 0)[..., None]
    crosses &= (in_air & (s.self_y + s.knockback_y <= 0))[..., None]
    lands: Array = np.any(crosses, axis=-1)
    if not lands.any():
        return
    surface = np.argmax(np.where(crosses, surfaces.height[:, None, :], -np.inf), axis=-1)
    np.copyto(s.surface, surface, where=lands)
    np.copyto(s.y, floor_height(surfaces, s.surface, s.x), where=lands)
    np.copyto(s.ground, np.take_along_axis(surfaces.ground, s.surface, axis=1), where=lands)
    for array, value in ((s.airborne, 0), (s.jumps, 2), (s.fast_falling, False), (s.knockback_y, 0)):
        np.copyto(array, value, where=lands)
    np.copyto(s.self_x_ground, s.self_x_air, where=lands)
    _touch_down(s, lands)


def _touch_down(s: State, lands: Array) -> None:
    """The action state of a landing."""
    now = s.action_state.copy()
    aerial = lands & ids.IS_AERIAL[now]
    helpless = lands & (
        (now == ids.AIR_DODGE) | (now == ids.FALL_SPECIAL) | (now == ATTRIBUTE["up_special"][s.profile].astype(int))
    )
    tumbles = lands & (ids.IS_FLY[now] | (now == ids.TUMBLE))
    hurt = lands & s.in_hitstun & ~tumbles
    breaks = lands & (now == ids.SHIELD_BREAK)

    after = np.full_like(now, ids.LANDING)
    after[helpless] = ids.LANDING_SPECIAL
    after[aerial] = now[aerial] - ids.AIR_N + ids.LANDING_AIR_N
    after[tumbles] = np.where(s.trigger_age <= TECH_FRAMES, ids.TECH, ids.DOWN_BOUND)[tumbles]
    after[breaks] = ids.DAZED
    for array, value in ((s.in_hitstun, False), (s.misc_as, 0)):
        np.copyto(array, value, where=tumbles)
    np.copyto(s.combo_count, 0, where=tumbles[:, ::-1])
    enter(s, lands & ~hurt, after)
    if aerial.any():
        cancelled = s.trigger_age <= L_CANCEL_FRAMES
        lag = ATTACK["lag"][now]
        np.copyto(s.l_cancel, np.where(cancelled, 1, 2).astype(np.uint8), where=aerial)
        np.copyto(s.ends_at, np.where(cancelled, np.floor(lag / 2), lag), where=aerial)


def die(s: State) -> None:
    """Who is past a blast zone loses a stock. The top takes only those who are thrown there, and the stock later."""
    left, right, top, bottom = (s.surfaces.blast[:, k : k + 1] for k in range(4))
    alive = ~ids.IS_HELD[s.action_state]
    out = (s.x < left) | (s.x > right) | (s.y < bottom)
    above = ~out & (s.y > top) & s.in_hitstun
    gone = alive & (out | above)
    if not gone.any():
        return
    how = np.where(s.x < left, ids.DEAD_LEFT, np.where(s.x > right, ids.DEAD_RIGHT, ids.DEAD_DOWN))
    how = np.where(above, ids.DEAD_UP, how).astype(s.action_state.dtype)
    enter(s, gone, how)
    np.subtract(s.stocks, 1, out=s.stocks, where=gone & ~above)
    for array, value in (
        (s.state_age, -1), (s.timer, DEAD_ROWS[how]), (s.self_x_air, 0), (s.self_y, 0), (s.self_x_ground, 0),
        (s.knockback_x, 0), (s.knockback_y, 0), (s.hitlag, 0), (s.misc_as, 0), (s.in_hitstun, False),
        (s.fast_falling, False), (s.airborne, 1), (s.guarded, 0), (s.jumps, 0),
    ):  # fmt: skip
        np.copyto(array, value, where=gone)
    np.copyto(s.combo_count, 0, where=gone[:, ::-1])
