"""Scripted players: they approach, strike, jump, shield, dodge, recover, and err. Batched like the simulator.

Owns: what the pads do. Every draw is a hash of (seed, game, player, row), so a game plays the same in any batch.
Must not: see more of the state than a replay shows (but for the intent that a player has set himself).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from worldmodel.melee.pad import BUTTONS, STICK_DEAD_STEPS, STICK_STEPS, TRIGGER_STEPS
from worldmodel.replays.synth import ids
from worldmodel.replays.synth.state import Array, Pads, State, random_bits, uniforms


class Intent(IntEnum):
    """What a player is about to do, for some frames."""

    IDLE = 0
    APPROACH = 1
    RETREAT = 2
    WALK = 3
    SHORT_HOP = 4
    FULL_HOP = 5
    STRIKE = 6
    SHIELD = 7
    DANCE = 8
    CROUCH = 9
    DROP = 10


#                         idle  appr  retr  walk  shop  fhop  strike shield dance crouch drop
_NEAR = np.cumsum(np.array([0.02, 0.06, 0.06, 0.03, 0.16, 0.06, 0.46, 0.09, 0.03, 0.02, 0.01]))
_FAR = np.cumsum(np.array([0.03, 0.50, 0.03, 0.06, 0.13, 0.09, 0.02, 0.02, 0.07, 0.02, 0.03]))
_MIN_FRAMES = np.array([4, 10, 6, 8, 22, 26, 6, 10, 24, 8, 4])
_MORE_FRAMES = np.array([16, 18, 12, 20, 16, 20, 12, 25, 30, 16, 6])
_NEAR_UNITS, _STRIKE_UNITS, _LEAD_FRAMES = 22.0, 15.0, 5.0


@dataclass(frozen=True, slots=True)
class Mind:
    """What players keep in mind. (G, 2): the intent, rows left of it, rows since it began, and its four dice."""

    key: Array
    intent: Array
    left: Array
    since: Array
    dice: tuple[Array, Array, Array, Array]


def wake(seed: int, games: Array) -> Mind:
    """Minds before the first frame. games: (G,) numbers of the games."""
    shape = (len(games), 2)
    key = random_bits(random_bits(np.uint64(seed), games.astype(np.uint64))[:, None], np.array([[1, 2]]))
    zeros = np.zeros(shape, dtype=np.int64)
    dice = uniforms(random_bits(key, 0))
    return Mind(key=key, intent=zeros, left=zeros, since=zeros, dice=dice)


def decide(state: State, mind: Mind) -> tuple[Pads, Mind]:
    """The pads of the next row, and the minds after it."""
    now = uniforms(random_bits(mind.key, state.num_rows[:, None] + 1))
    gap = state.x[:, ::-1] - state.x
    rise = state.y[:, ::-1] - state.y
    near = (np.abs(gap) < _NEAR_UNITS) & (np.abs(rise) < 24)
    mind = _choose(mind, near, now)
    intent, since = mind.intent, mind.since
    a, b, c, d = mind.dice
    toward = np.where(gap >= 0, np.float32(1), np.float32(-1))
    airborne = state.airborne != 0

    x = np.zeros_like(gap)
    y = np.zeros_like(gap)
    x = np.where((intent == Intent.APPROACH) & (np.abs(gap) > 8), toward, x)
    x = np.where((intent == Intent.STRIKE) & (np.abs(gap) > 12), toward * np.where(a < 0.5, 1.0, 0.7), x)
    x = np.where(intent == Intent.RETREAT, -toward, x)
    x = np.where(intent == Intent.WALK, toward * (0.35 + 0.4 * a), x)
    x = np.where(intent == Intent.DANCE, np.where((since // 9) % 2 == 0, toward, -toward), x)
    hops = (intent == Intent.SHORT_HOP) | (intent == Intent.FULL_HOP)
    x = np.where(hops, toward * np.where(a < 0.75, 0.5 + 0.5 * b, -0.6), x)
    y = np.where((intent == Intent.CROUCH) | ((intent == Intent.DROP) & (since >= 1)), -1.0, y)
    shields = (intent == Intent.SHIELD) & ~airborne
    x = np.where(shields & (since > 12) & (a > 0.75), np.where(b > 0.5, 1.0, -1.0), x)
    y = np.where(shields & (since > 12) & (a < 0.1), -1.0, y)
    jumps = hops & (since == 0)
    jumps |= (intent == Intent.FULL_HOP) & (since < 6)
    jumps |= shields & (since > 14) & (a >= 0.1) & (a < 0.25)
    jumps |= hops & airborne & (since == 20) & (d < 0.3)

    swing, swing_x, swing_y, smash = _swing(state, mind, gap, rise, toward)
    x = np.where(swing & ~smash, swing_x, x)
    y = np.where(swing & ~smash, swing_y, y)
    # fast fall after an aerial, and an l-cancel by those who watch the floor
    sinking = airborne & (state.self_y < 0) & (state.self_y > -2)
    y = np.where(hops & sinking & ~swing & (b < 0.6) & (now[0] < 0.25), -1.0, y)
    height = state.y - state.surfaces.height[:, :1]
    lands_soon = (height < -4.5 * state.self_y) & (height > 0) & (state.self_y < 0)
    press = ids.IS_AERIAL[state.action_state] & lands_soon & (c < 0.8)
    # techs, and directional influence
    flying = state.in_hitstun
    x = np.where(flying, np.where(a < 0.7, -np.sign(state.x), toward) * (0.4 + 0.6 * b), x)
    y = np.where(flying, c * 1.6 - 0.8, y)
    press |= ids.IS_FLY[state.action_state] & (height < 12) & (state.knockback_y + state.self_y < 0) & (d < 0.5)

    pads_before = state.pads
    held = (pads_before.buttons & np.uint32(BUTTONS["x"])) != 0
    inside = np.abs(state.x) < state.surfaces.right[:, :1] - 25
    dodge = hops & airborne & (since == 12) & (d > 0.9) & inside
    y = np.where(dodge, -0.5, y)
    jumps, x, y, special, out = _recover(state, mind, jumps, x, y, ~flying)
    press |= dodge & ~out
    swing &= ~special & ~(out & (state.y < state.surfaces.edge_height))

    buttons = np.zeros(gap.shape, dtype=np.uint32)
    keeps = held & ~airborne & (intent == Intent.FULL_HOP)  # a full hop holds the button until take-off
    buttons |= np.where((jumps & ~held) | keeps, np.uint32(BUTTONS["x"]), np.uint32(0))
    buttons |= np.where(swing & ~smash & ~_was(pads_before, "a"), np.uint32(BUTTONS["a"]), np.uint32(0))
    buttons |= np.where(special & ~_was(pads_before, "b"), np.uint32(BUTTONS["b"]), np.uint32(0))
    buttons |= np.where(press & ~_was(pads_before, "l"), np.uint32(BUTTONS["l"]), np.uint32(0))
    hard = shields & (d < 0.5)
    buttons |= np.where(hard & ~special, np.uint32(BUTTONS["r"]), np.uint32(0))
    light = shields & ~hard
    pulled = np.where((buttons & np.uint32(BUTTONS["l"] | BUTTONS["r"])) != 0, 1.0, np.where(light, 0.4 + 0.5 * c, 0.0))

    asleep = ids.IS_HELD[state.action_state] & (state.action_state != ids.REBIRTH_WAIT)
    asleep |= (state.action_state == ids.REBIRTH_WAIT) & (now[1] > 0.03)
    awake = (~asleep).astype(np.float32)
    c_x, c_y = np.where(smash & swing, swing_x, 0), np.where(smash & swing, swing_y, 0)
    pads = Pads(
        stick_x=_quantise(x * awake, y * awake),
        stick_y=_quantise(y * awake, x * awake),
        cstick_x=_quantise(c_x * awake, c_y * awake),
        cstick_y=_quantise(c_y * awake, c_x * awake),
        trigger=(np.round(pulled * awake * TRIGGER_STEPS) / TRIGGER_STEPS).astype(np.float32),
        buttons=np.where(asleep, np.uint32(0), buttons),
    )
    return pads, mind


def _choose(mind: Mind, near: Array, now: tuple[Array, Array, Array, Array]) -> Mind:
    """A new intent for those whose last one is over."""
    over = mind.left <= 0
    table = np.where(near[..., None], _NEAR, _FAR)
    fresh = np.minimum((now[0][..., None] >= table).sum(axis=-1), len(Intent) - 1)
    frames = _MIN_FRAMES[fresh] + (_MORE_FRAMES[fresh] * now[1]).astype(np.int64)
    dice = uniforms(random_bits(mind.key ^ np.uint64(0x5DEECE66D), (now[2] * 65536).astype(np.uint64)))
    kept = tuple(np.where(over, new, old) for new, old in zip(dice, mind.dice, strict=True))
    return Mind(
        key=mind.key,
        intent=np.where(over, fresh, mind.intent),
        left=np.where(over, frames, mind.left - 1),
        since=np.where(over, 0, mind.since + 1),
        dice=(kept[0], kept[1], kept[2], kept[3]),
    )


def _swing(state: State, mind: Mind, gap: Array, rise: Array, toward: Array) -> tuple[Array, Array, Array, Array]:
    """Who attacks in this row, in which direction, and with the c-stick or not."""
    b, c, d = mind.dice[1], mind.dice[2], mind.dice[3]
    airborne = state.airborne != 0
    # where the other will be when the attack comes out
    along, up = state.self_x_air + state.knockback_x, state.self_y + state.knockback_y
    gap = gap + _LEAD_FRAMES * (along[:, ::-1] - along)
    rise = rise + _LEAD_FRAMES * (up[:, ::-1] - up)
    in_reach = (np.abs(gap) < _STRIKE_UNITS) & (np.abs(rise) < 18)
    ground = ~airborne & (mind.intent == Intent.STRIKE) & in_reach & (mind.since % 4 == 0)
    running = ~airborne & (mind.intent == Intent.APPROACH) & (np.abs(gap) < 14) & (c < 0.4)
    hops = (mind.intent == Intent.SHORT_HOP) | (mind.intent == Intent.FULL_HOP)
    in_air = airborne & hops & (mind.since > 6) & (in_reach | (mind.since == 10 + (8 * d).astype(np.int64)))
    swing = (ground | running | in_air) & ~state.in_hitstun
    above, below = rise > 11, rise < -7
    x = np.where(above | below, 0, np.where(c < 0.55, toward, np.where(c < 0.7, -toward, 0)))
    y = np.where(above, 1.0, np.where(below, -1.0, np.where((x == 0) & (b < 0.7), np.where(b < 0.4, 1.0, -1.0), 0.0)))
    smash = swing & ~running & (d < 0.45) & ((x != 0) | (y != 0))
    soft = np.where(smash, 1.0, 0.55)  # a tilt is a gentle push
    return swing, x * soft, y * soft, smash


def _recover(
    state: State, mind: Mind, jumps: Array, x: Array, y: Array, may: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Off the stage everything else is forgotten: back to the middle, jump, then up-special."""
    edge = state.surfaces.right[:, :1]
    floor = state.surfaces.edge_height
    airborne = state.airborne != 0
    out = airborne & may & ((np.abs(state.x) > edge - 1) | (state.y < floor - 1))
    home = -np.sign(state.x)
    low = state.y < floor + 4 + 14 * mind.dice[0]
    sinks = state.self_y < 0.5
    double = out & sinks & (state.jumps > 0) & low
    special = out & sinks & (state.jumps == 0) & (state.y < floor - 4 - 24 * mind.dice[3] * mind.dice[1])
    special &= ids.AIR_FREE[state.action_state]
    close = ~airborne & (np.abs(state.x) > edge - 9) & (x * state.x > 0)  # do not run over the edge
    x = np.where(out | close, home, x)
    y = np.where(out, np.where(special, 0.6, 0.0), y)
    x = np.where(special, home * 0.75, x)
    return np.where(out, double, jumps), x, y, special, out


def _was(pads: Pads, button: str) -> Array:
    return np.asarray((pads.buttons & np.uint32(BUTTONS[button])) != 0)


def _quantise(value: Array, other: Array) -> Array:
    """On the n/80 grid, dead zone applied, inside the unit circle."""
    size = np.maximum(np.sqrt(value * value + other * other), 1.0)
    steps = np.trunc(value / size * STICK_STEPS + np.copysign(1e-4, value))
    steps = np.where(np.abs(steps) <= STICK_DEAD_STEPS, 0, steps)
    return (steps / STICK_STEPS + 0.0).astype(np.float32)
