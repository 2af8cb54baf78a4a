"""The simulator's values: a batch of games, the pads, and the surfaces they stand on.

Owns: shapes and types, the start of a game, random numbers by counter. Must not: advance anything.

Shapes: G games, 2 players, S surfaces. `State` is frozen: `step` returns a new one, so any state can be forked.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.melee.stages import GEOMETRY, LEGAL_STAGES, STANDING_LIFT
from worldmodel.replays.synth import ids
from worldmodel.replays.synth.profiles import ANIMATION, DURATION, INTERNAL

Array = NDArray[Any]
Bits = Array | np.uint64 | int

FIRST_FRAME_ID = -123
ENTRY_FRAMES = 84
"""Rows before the fighters obey their pads, as in the game (frame id -39)."""

MAX_SURFACES = 4


@dataclass(frozen=True, slots=True)
class Pads:
    """What the controllers say in one frame. All (G, 2); sticks on the n/80 grid, the trigger on the n/140 grid.

    `buttons` are the physical ones. Names are those of the schema.
    """

    stick_x: Array
    stick_y: Array
    cstick_x: Array
    cstick_y: Array
    trigger: Array
    buttons: Array


def neutral(num_games: int) -> Pads:
    """Pads that nobody touches."""
    axes = {name: np.zeros((num_games, 2), dtype=np.float32) for name in Pads.__slots__ if name != "buttons"}
    return Pads(**axes, buttons=np.zeros((num_games, 2), dtype=np.uint32))


@dataclass(frozen=True, slots=True)
class Surfaces:
    """Where one can stand, and where one dies. (G, S) and (G, 1); unused surfaces are empty (left > right).

    Surface 0 is the main floor; it may slope down (or up) from |x| = flat to the edge.
    """

    left: Array
    right: Array
    height: Array
    ground: Array
    flat: Array
    edge_height: Array
    blast: Array
    """(G, 4): left, right, top, bottom."""
    returns: Array
    """(G, 4): where the dead come back: x of the one and of the other, height, speed downwards."""


@dataclass(frozen=True, slots=True)
class State:
    """A batch of games after one frame. (G, 2) unless said otherwise; names as in the schema where it has the field.

    Hidden from replays: everything from `ends_at` on.
    """

    percent: Array
    x: Array
    y: Array
    shield: Array
    self_x_air: Array
    self_y: Array
    self_x_ground: Array
    knockback_x: Array
    knockback_y: Array
    state_age: Array
    hitlag: Array
    stocks: Array
    combo_count: Array
    misc_as: Array
    facing: Array
    airborne: Array
    state_flags: Array
    action_state: Array
    jumps: Array
    l_cancel: Array
    hurtbox_state: Array
    ground: Array
    last_attack_landed: Array
    last_hit_by: Array
    """Index of the player, or NOBODY; the writer makes a port of it."""
    character: Array
    animation_index: Array
    ends_at: Array
    """Age at which the action state runs out."""
    timer: Array
    """Frames left of being dead, on the respawn platform, or entering."""
    guarded: Array
    """Frames of invulnerability left after a respawn."""
    in_hitstun: Array
    fast_falling: Array
    connected: Array
    """Whether the present attack has hit."""
    surface: Array
    """Index of the surface stood on."""
    dropping: Array
    """Frames left during which platforms are passed through."""
    trigger_age: Array
    """Frames since a shield button was pressed."""
    pads: Pads
    """Those of the frame before, for edges."""
    surfaces: Surfaces
    profile: Array
    stage: Array
    """(G,) external id."""
    num_rows: Array
    """(G,) rows simulated, this one included."""

    def copy(self) -> State:
        """The same values in arrays of one's own; constants of the game are shared."""
        mutable = {f.name: getattr(self, f.name).copy() for f in fields(self) if f.name not in _SHARED}
        return replace(self, **mutable)


def join(first: Any, second: Any) -> Any:
    """Two batches of the same kind (`State`, `Pads`, `Mind` ...) as one: the games of the second after the first's."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    if isinstance(first, tuple):
        return tuple(join(a, b) for a, b in zip(first, second, strict=True))
    return type(first)(**{f.name: join(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)})


def take(batch: Any, games: Array) -> Any:
    """Some games of a batch of any kind."""
    if isinstance(batch, np.ndarray):
        return batch[games]
    if isinstance(batch, tuple):
        return tuple(take(part, games) for part in batch)
    return type(batch)(**{f.name: take(getattr(batch, f.name), games) for f in fields(batch)})


_SHARED = ("pads", "surfaces", "profile", "stage", "character")

RECORDED: tuple[str, ...] = tuple(f.name for f in fields(State))[: [f.name for f in fields(State)].index("ends_at")]
"""Fields that a replay has."""


@lru_cache(maxsize=1)
def _stage_tables() -> dict[str, Array]:
    rows: dict[str, list[Any]] = {name: [] for name in Surfaces.__slots__}
    for number in LEGAL_STAGES:
        stage = GEOMETRY[number]
        unused = [(1.0, -1.0, -1e6, ids.NO_GROUND)] * (MAX_SURFACES - 1 - len(stage.platforms))
        standing = [(-stage.edge, stage.edge, stage.floor, stage.ground)]
        standing += [(p.left, p.right, p.height, p.ground) for p in stage.platforms] + unused
        for column, name in enumerate(("left", "right", "height", "ground")):
            rows[name].append([surface[column] for surface in standing])
        rows["flat"].append([stage.flat])
        rows["edge_height"].append([stage.edge_height])
        rows["blast"].append([stage.left, stage.right, stage.top, stage.bottom])
        across, height = stage.returns
        rows["returns"].append([*across, height, stage.descent])
    tables = {name: np.array(value, dtype=np.float32) for name, value in rows.items()}
    tables["ground"] = tables["ground"].astype(np.uint16)
    lift = np.float32(STANDING_LIFT)
    return tables | {"height": tables["height"] + lift, "edge_height": tables["edge_height"] + lift}


def start(stages: Array, profiles: Array, *, stocks: int = 4) -> State:
    """Games before their first frame. stages: (G,) external ids; profiles: (G, 2) indices into PROFILES."""
    num_games = len(stages)
    shape = (num_games, 2)
    rows = np.array([LEGAL_STAGES.index(int(stage)) for stage in stages])
    surfaces = Surfaces(**{name: table[rows] for name, table in _stage_tables().items()})

    def full(value: float, dtype: str) -> Array:
        return np.full(shape, value, dtype=dtype)

    side = np.broadcast_to(np.array([-1.0, 1.0], dtype=np.float32), shape)
    y = np.broadcast_to(surfaces.height[:, :1] + np.float32(8.0), shape)
    return State(
        percent=full(0, "f4"),
        x=side * np.float32(36.0),
        y=y.copy(),
        shield=full(60, "f4"),
        self_x_air=full(0, "f4"),
        self_y=full(0, "f4"),
        self_x_ground=full(0, "f4"),
        knockback_x=full(0, "f4"),
        knockback_y=full(0, "f4"),
        state_age=full(-1, "f4"),
        hitlag=full(0, "f4"),
        stocks=full(stocks, "u1"),
        combo_count=full(0, "u1"),
        misc_as=full(0, "f4"),
        facing=-side,
        airborne=full(1, "u1"),
        state_flags=full(0, "u8"),
        action_state=full(ids.ENTRY, "u2"),
        jumps=full(1, "u1"),
        l_cancel=full(0, "u1"),
        hurtbox_state=full(0, "u1"),
        ground=full(ids.NO_GROUND, "u2"),
        last_attack_landed=full(0, "u1"),
        last_hit_by=full(ids.NOBODY, "u1"),
        character=INTERNAL[profiles],
        animation_index=ANIMATION[profiles, ids.ENTRY],
        ends_at=full(ids.FOREVER, "f4"),
        timer=full(ENTRY_FRAMES + 1, "i4"),
        guarded=full(0, "i4"),
        in_hitstun=full(0, "?"),
        fast_falling=full(0, "?"),
        connected=full(0, "?"),
        surface=full(0, "i8"),
        dropping=full(0, "i4"),
        trigger_age=full(1000, "i4"),
        pads=neutral(num_games),
        surfaces=surfaces,
        profile=np.asarray(profiles),
        stage=np.asarray(stages),
        num_rows=np.zeros(num_games, dtype=np.int64),
    )


def enter(s: State, where: Array, action_state: Array | int, *, age: float = 0.0) -> None:
    """Put the players of a mask into an action state, at its beginning. Writes into the state's arrays."""
    if not where.any():
        return
    np.copyto(s.action_state, action_state, where=where, casting="unsafe")
    np.copyto(s.state_age, np.float32(age), where=where)
    np.copyto(s.ends_at, DURATION[s.profile, s.action_state], where=where)
    np.copyto(s.connected, False, where=where)


def floor_height(surfaces: Surfaces, surface: Array, x: Array) -> Array:
    """Height of a surface at x, both (G, 2). Only the main floor may slope."""
    flat_height = np.take_along_axis(surfaces.height, surface, axis=1)
    run = np.maximum(surfaces.right[:, :1] - surfaces.flat, np.float32(1e-3))
    part = np.clip((np.abs(x) - surfaces.flat) / run, np.float32(0), np.float32(1))
    slope = surfaces.height[:, :1] + part * (surfaces.edge_height - surfaces.height[:, :1])
    return np.where(surface == 0, slope, flat_height).astype(np.float32)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def random_bits(key: Bits, counter: Bits) -> Array:
    """64 random bits for each (key, counter) pair, uint64: a hash (SplitMix64), so that no draw depends on another.

    This is what makes a game independent of its batch. Wraps around on purpose.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(key, dtype=np.uint64) + (np.asarray(counter, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)))


def uniforms(bits: Array) -> tuple[Array, Array, Array, Array]:
    """Four float32 in [0, 1) out of each 64 bits, 16 bits each."""
    scale = np.float32(1 / 65536)
    four = [((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float32) * scale for shift in (0, 16, 32, 48)]
    return four[0], four[1], four[2], four[3]
