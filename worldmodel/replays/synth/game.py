"""A played game as columns, and how games are played in batches.

Owns: the lockstep loop, who plays whom where, and which row is the last. Must not: know the file format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from worldmodel.melee.pad import (
    BUTTONS,
    DIRECTION_THRESHOLD,
    DIRECTIONS,
    STICK_STEPS,
    TRIGGER_DEAD_STEPS,
    TRIGGER_STEPS,
)
from worldmodel.melee.stages import LEGAL_STAGES
from worldmodel.replays.synth.players import Mind, decide, wake
from worldmodel.replays.synth.profiles import NUM_PROFILES, PROFILES
from worldmodel.replays.synth.sim import step
from worldmodel.replays.synth.state import RECORDED, Array, Pads, State, join, random_bits, start, take
from worldmodel.schema.layout import PLAYERS

_SEGMENT_FRAMES = 128
_STAGE_SALT, _ROW_SALT = np.uint64(0x57A6E), np.uint64(0x5EED)


@dataclass(frozen=True, slots=True)
class Game:
    """One game. `columns` by schema column name, (T,) each, with the schema's types; ports are 0-based."""

    columns: dict[str, Array]
    stage: int
    characters: tuple[int, int]
    """External ids."""
    ports: tuple[int, int] = (0, 1)
    stocks: int = 4
    by_stocks: bool = True
    """Whether somebody lost his last stock; else the clock (or the limit of rows) ended it."""
    seed: int = 0
    names: tuple[str, str] = ("", "")
    codes: tuple[str, str] = ("", "")
    started_at: str = ""
    match_id: str = ""
    game_number: int = 1
    sparse: dict[str, dict[str, Array]] = field(default_factory=dict)
    """Items and stage events by table name, as the parser gives them."""

    @property
    def num_frames(self) -> int:
        """Rows of the game."""
        return len(self.columns["random_seed"])


@dataclass(frozen=True, slots=True)
class Rules:
    """What a set of games has in common. max_frames: rows after which the clock has run out (8 minutes at most)."""

    stocks: int = 2
    max_frames: int = 8 * 3600

    def __post_init__(self) -> None:
        if not 1 <= self.stocks <= 99 or not 1 <= self.max_frames <= 8 * 3600:
            raise ValueError(f"stocks {self.stocks} in 1..99, max_frames {self.max_frames} in 1..28800")


def opening(seed: int, games: Array, rules: Rules) -> tuple[State, Mind]:
    """State and minds before the first frame. games: (G,) numbers of the games; each is drawn by itself."""
    bits = random_bits(random_bits(np.uint64(seed), games.astype(np.uint64)), _STAGE_SALT)
    stages = np.array(LEGAL_STAGES)[(bits % np.uint64(len(LEGAL_STAGES))).astype(np.int64)]
    shifted = np.stack([bits >> np.uint64(16), bits >> np.uint64(32)], axis=1)
    profiles = (shifted % np.uint64(NUM_PROFILES)).astype(np.int64)
    return start(stages, profiles, stocks=rules.stocks), wake(seed, games)


def play(seed: int, games: Iterable[int], rules: Rules, *, num_lanes: int = 256) -> Iterator[tuple[int, Game]]:
    """Play these games, `num_lanes` side by side, each to its end; as (number, game) in order of ending.

    A lane whose game is over takes up the next one, so that long games do not keep the others waiting.
    """
    waiting = iter(games)
    lanes = list(islice(waiting, num_lanes))
    if not lanes:
        return
    state, mind = opening(seed, np.array(lanes), rules)
    pieces: dict[int, list[dict[str, Array]]] = {number: [] for number in lanes}
    while lanes:
        begun = state.num_rows
        segment: list[tuple[State, Pads]] = []
        for _ in range(_SEGMENT_FRAMES):
            pads, mind = decide(state, mind)
            state = step(state, pads)
            segment.append((state, pads))
        block = stacked(segment)
        lost = (block["stocks"] == 0).any(axis=-1)  # (T, G)
        going = []
        for lane, number in enumerate(lanes):
            won = bool(lost[:, lane].any())
            end = int(lost[:, lane].argmax()) + 1 if won else _SEGMENT_FRAMES
            left = rules.max_frames - int(begun[lane])
            over, won, end = won or end >= left, won and end <= left, min(end, left)
            pieces[number].append({name: values[:end, lane].copy() for name, values in block.items()})
            if over:
                parts = pieces.pop(number)
                whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                yield number, as_game(whole, seed, number, state, lane, rules, won=won)
            else:
                going.append(lane)
        if len(going) == len(lanes):
            continue
        fresh = list(islice(waiting, num_lanes - len(going)))
        lanes = [lanes[lane] for lane in going] + fresh
        state, mind = take(state, np.array(going, dtype=np.int64)), take(mind, np.array(going, dtype=np.int64))
        if fresh:
            new_state, new_mind = opening(seed, np.array(fresh), rules)
            state, mind = join(state, new_state), join(mind, new_mind)
        pieces |= {number: [] for number in fresh}


_PAD_FIELDS = Pads.__slots__


def stacked(segment: list[tuple[State, Pads]]) -> dict[str, Array]:
    """(T, G, 2) of every recorded field, and of the pads by "pad.<name>"."""
    block = {name: np.stack([getattr(state, name) for state, _ in segment]) for name in RECORDED}
    return block | {f"pad.{name}": np.stack([getattr(pads, name) for _, pads in segment]) for name in _PAD_FIELDS}


def as_game(
    whole: dict[str, Array], seed: int, number: int, state: State, lane: int, rules: Rules, *, won: bool
) -> Game:
    """A game of the rows (T, 2) of `stacked`. `state` and `lane` say where it was played, and by whom."""
    num_rows = len(whole["x"])
    columns: dict[str, Array] = {}
    for index, player in enumerate(PLAYERS):
        own = {name: values[:, index] for name, values in whole.items()}
        columns |= {f"{player}.{name}": own[name] for name in RECORDED}
        columns |= {f"{player}.pad.{name}": values for name, values in _full_pad(own).items()}
    key = random_bits(random_bits(np.uint64(seed), np.uint64(number)), _ROW_SALT)
    columns["random_seed"] = (random_bits(key, np.arange(num_rows)) >> np.uint64(32)).astype(np.uint32)
    match = number // 3
    bots = [int(random_bits(np.uint64(seed), np.uint64(2 * match + k + (1 << 40))) % np.uint64(500)) for k in (0, 1)]
    if bots[0] == bots[1]:
        bots[1] = (bots[1] + 1) % 500
    minutes = 6 * number
    return Game(
        columns=columns,
        stage=int(state.stage[lane]),
        characters=(PROFILES[state.profile[lane, 0]].external, PROFILES[state.profile[lane, 1]].external),
        stocks=rules.stocks,
        by_stocks=won,
        seed=int(key >> np.uint64(32)),
        names=(f"Bot {bots[0]}", f"Bot {bots[1]}"),
        codes=(f"BOT#{bots[0]:03d}", f"BOT#{bots[1]:03d}"),
        started_at=str(np.datetime64("2025-01-01T00:00:00") + np.timedelta64(minutes, "m")) + "Z",
        match_id=f"mode.synthetic-{seed}-{match}",
        game_number=number % 3 + 1,
    )


def _full_pad(own: dict[str, Array]) -> dict[str, Array]:
    """All pad fields of a player from what was pressed: processed buttons and trigger, and the physical values."""
    sticks = {name: own[f"pad.{name}"] for name in ("stick_x", "stick_y", "cstick_x", "cstick_y")}
    physical = own["pad.buttons"].astype(np.uint32)
    trigger = own["pad.trigger"]
    word = physical.copy()
    for stick, prefix, negative, positive in (
        ("stick_x", "stick", "left", "right"),
        ("stick_y", "stick", "down", "up"),
        ("cstick_x", "cstick", "left", "right"),
        ("cstick_y", "cstick", "down", "up"),
    ):
        for sign, side in ((-1, negative), (1, positive)):
            far = sticks[stick] * sign > DIRECTION_THRESHOLD
            word |= np.where(far, np.uint32(DIRECTIONS[f"{prefix}_{side}"]), np.uint32(0))
    heard = np.where(np.round(trigger * TRIGGER_STEPS) <= TRIGGER_DEAD_STEPS, np.float32(0), trigger)
    word |= np.where(heard > 0, np.uint32(DIRECTIONS["trigger"]), np.uint32(0))
    left = (physical & np.uint32(BUTTONS["l"])) != 0
    return sticks | {
        "trigger": heard,
        "buttons": word,
        "raw_buttons": physical.astype(np.uint16),
        "raw_trigger_l": np.where(left, trigger, np.float32(0)),
        "raw_trigger_r": np.where(left, np.float32(0), trigger),
        **{f"raw_{name}": np.round(value * STICK_STEPS).astype(np.int8) for name, value in sticks.items()},
    }
