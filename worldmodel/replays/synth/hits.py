"""Attacks that meet bodies: damage, hitlag, knockback, shields.

Owns: what a hit does to both sides. Formulas are Melee's in outline (knockback from percent, damage and weight; launch
speed 0.03 and hitstun 0.4 of it; hitlag damage / 3 + 3). Must not: move anybody.
"""

from __future__ import annotations

import numpy as np

from worldmodel.replays.synth import ids
from worldmodel.replays.synth.profiles import ATTACK, ATTRIBUTE
from worldmodel.replays.synth.state import Array, State

_BODY_LOW, _BODY_HIGH, _BODY_RADIUS = np.float32(3), np.float32(13), np.float32(5)
_STALE = np.float32(0.91)
_INFLUENCE = np.float32(0.3)
_TUMBLE_KNOCKBACK = 80


def strike(s: State, stick_x: Array, stick_y: Array) -> None:
    """Let every active hitbox hit. Both players are judged from the same state, so trades happen."""
    now = s.action_state
    age = s.state_age
    live = (ATTACK["damage"][now] > 0) & (age >= ATTACK["first"][now]) & (age <= ATTACK["last"][now]) & ~s.connected
    live &= s.hitlag == 0
    if not live.any():
        return
    reach = ATTRIBUTE["reach"][s.profile]
    box_x = s.x + ATTACK["x"][now] * reach * s.facing
    box_y = s.y + ATTACK["y"][now]
    victim_x, victim_y = s.x[:, ::-1], s.y[:, ::-1]
    body_y = np.clip(box_y, victim_y + _BODY_LOW, victim_y + _BODY_HIGH)
    reached = ATTACK["radius"][now] * reach + _BODY_RADIUS
    gap_x, gap_y = box_x - victim_x, box_y - body_y
    hits = live & (gap_x * gap_x + gap_y * gap_y < reached * reached) & _vulnerable(s)[:, ::-1]
    if not hits.any():
        return
    blocked = hits & ids.SHIELDS[now][:, ::-1] & (s.airborne == 0)[:, ::-1]
    number = ATTACK["number"][now].astype(np.uint8)
    stale = np.where(s.last_attack_landed == number, _STALE, np.float32(1))
    damage = ATTACK["damage"][now] * ATTRIBUTE["power"][s.profile] * stale
    away = np.sign(ATTACK["x"][now]) * s.facing
    lag = np.floor(damage / 3 + 3)
    clean = hits & ~blocked
    combo = np.where(s.in_hitstun[:, ::-1], np.minimum(s.combo_count + 1, 255), 1).astype(np.uint8)

    np.copyto(s.combo_count, combo, where=clean)
    np.copyto(s.last_attack_landed, number, where=clean)
    np.copyto(s.connected, True, where=hits)
    if blocked.any():
        _block(s, blocked[:, ::-1], damage[:, ::-1], away[:, ::-1])
    if clean.any():
        _launch(s, clean[:, ::-1], now[:, ::-1].copy(), damage[:, ::-1], away[:, ::-1], stick_x, stick_y)
    np.copyto(s.hitlag, lag, where=hits)
    np.copyto(s.hitlag, np.maximum(lag[:, ::-1], s.hitlag), where=hits[:, ::-1])


def _vulnerable(s: State) -> Array:
    window = ids.INTANGIBLE[s.action_state]
    dodging = (s.state_age >= window[..., 0]) & (s.state_age < window[..., 1])
    return np.asarray(~ids.IS_HELD[s.action_state] & ~dodging & (s.guarded == 0))


def _block(s: State, where: Array, damage: Array, away: Array) -> None:
    """An attack on a shield, seen from the one who holds it."""
    np.copyto(s.shield, np.maximum(s.shield - damage * np.float32(0.7), 0), where=where)
    np.copyto(s.action_state, ids.GUARD_STUN, where=where)
    np.copyto(s.state_age, 0, where=where)
    np.copyto(s.ends_at, np.floor(damage * np.float32(0.45) + 2), where=where)
    np.copyto(s.self_x_ground, away * (damage * np.float32(0.09) + np.float32(0.4)), where=where)


def _launch(s: State, where: Array, attack: Array, damage: Array, away: Array, stick_x: Array, stick_y: Array) -> None:
    """A clean hit, seen from the one who takes it."""
    np.add(s.percent, damage, out=s.percent, where=where)
    weight = ATTRIBUTE["weight"][s.profile]
    percent = s.percent
    base, growth = ATTACK["base"][attack], ATTACK["growth"][attack] / 100
    knockback = (percent / 10 + percent * damage / 20) * (200 / (weight + 100)) * np.float32(1.4) + 18
    knockback = knockback * growth + base
    knockback = np.where(ids.CROUCHES[s.action_state], knockback * np.float32(0.67), knockback).astype(np.float32)

    grounded = s.airborne == 0
    x: Array = ATTACK["cos"][attack] * away
    y: Array = ATTACK["sin"][attack]
    y = np.where(grounded & (y < 0), -y, y)
    bent = (stick_y * x - stick_x * y) * _INFLUENCE
    x, y = x - bent * y, y + bent * x
    size = np.maximum(np.sqrt(x * x + y * y), np.float32(1e-6))
    x, y = x / size, y / size
    tumbles = knockback >= _TUMBLE_KNOCKBACK
    slides = grounded & ~tumbles & (y < 0.75)
    speed = knockback * np.float32(0.03)
    lifted = grounded & ~slides

    level = (knockback >= 30).astype(np.uint16) + (knockback >= 50).astype(np.uint16)
    stagger = np.where(slides, ids.DAMAGE_GROUND, ids.DAMAGE_AIR) + level
    flight = np.where(y > 0.95, ids.FLY_TOP, np.where(y > 0.5, ids.FLY_HI, np.where(y > 0, ids.FLY_N, ids.FLY_LOW)))
    other = np.broadcast_to(np.array([1, 0], dtype=np.uint8), s.last_hit_by.shape)
    np.copyto(s.action_state, np.where(tumbles, flight, stagger), where=where, casting="unsafe")
    np.copyto(s.knockback_x, (x * speed).astype(np.float32), where=where)
    np.copyto(s.knockback_y, np.where(slides, 0, y * speed).astype(np.float32), where=where)
    np.copyto(s.misc_as, np.maximum(np.floor(knockback * np.float32(0.4)), 1), where=where)
    np.copyto(s.facing, -away, where=where)
    np.copyto(s.last_hit_by, other, where=where)
    np.copyto(s.airborne, 1, where=where & lifted)
    np.copyto(s.jumps, 1, where=where & lifted)
    for array, value in (
        (s.state_age, 1), (s.ends_at, ids.FOREVER), (s.in_hitstun, True), (s.fast_falling, False),
        (s.connected, False), (s.self_x_air, 0), (s.self_y, 0), (s.self_x_ground, 0), (s.trigger_age, 1000),
    ):  # fmt: skip
        np.copyto(array, value, where=where)
