"""Which replays a dataset takes: named rules, each says what it found when it rejects.

Owns: the rules and which are on. Must not: read bytes, or decide silently: every rejection has a name and a value.

A rule's name is the reason that reports count. Structural rules cannot be switched off, since nothing downstream
holds what they let out; holes and missing events are refused earlier still, by the parser.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from worldmodel.errors import WrongUse
from worldmodel.melee.characters import ICE_CLIMBERS, external_name
from worldmodel.melee.stages import LEGAL_STAGES, stage_name
from worldmodel.replays.replay import FIRST_FRAME_ID, Replay
from worldmodel.schema import LAYOUT, PLAYERS, Category, Number, column_name
from worldmodel.schema.field import OutOfRange

Rule = Callable[[Replay], str | None]
"""None if the replay passes, else what was found."""

MIN_FRAMES = 1800
"""30 seconds at 60 frames per second."""

IDLE_FRACTION = 0.05
"""A player whose pad changes in fewer frames than this is idle. Of the 500 players of 250 clean games the quietest
changes it in 8.9 % of the frames; lab recordings with somebody away from the pad have 0-5 %."""

_STOCK_MODE = 1
_MATCH_SCENES = {2: "versus", 8: "online"}
_NATURAL_ENDS = ("game", "time", "resolved")


def not_two_players(replay: Replay) -> str | None:
    """Other than two ports in use."""
    found = len(replay.players)
    return None if found == len(PLAYERS) else f"{found} players"


def teams(replay: Replay) -> str | None:
    """Team rules on (doubles, or two players left in a teams setting)."""
    return "teams are on" if replay.is_teams else None


def not_human(replay: Replay) -> str | None:
    """A player who is no human: CPU or demo."""
    odd = [f"port {player.port + 1} is {player.kind}" for player in replay.players if player.kind != "human"]
    return ", ".join(odd) or None


def odd_mode(replay: Replay) -> str | None:
    """No stock match, or a scene that is neither versus nor online (from 3.7): special melee, training, events."""
    if replay.game_mode != _STOCK_MODE:
        return f"game mode {replay.game_mode}"
    if replay.scene is not None and replay.scene[1] not in _MATCH_SCENES:
        return f"scene {replay.scene[1]}"
    return None


def not_four_stocks(replay: Replay) -> str | None:
    """A player who does not start with four stocks."""
    stocks = [player.stocks for player in replay.players]
    return None if set(stocks) == {4} else " and ".join(map(str, stocks)) + " stocks"


def illegal_stage(replay: Replay) -> str | None:
    """A stage that tournaments do not play on."""
    return None if replay.stage in LEGAL_STAGES else f"stage {replay.stage} ({stage_name(replay.stage)})"


def items_on(replay: Replay) -> str | None:
    """Items appear by themselves."""
    return "items are on" if replay.items_on else None


def odd_start(replay: Replay) -> str | None:
    """The first frame is not that of a match's start."""
    found = replay.first_frame_id
    return None if found == FIRST_FRAME_ID else f"first frame {found}"


def no_end(replay: Replay) -> str | None:
    """The recording breaks off: there is no Game End event."""
    return "no Game End event" if replay.end_method == "none" else None


def unnatural_end(replay: Replay) -> str | None:
    """Quit before it was decided (L+R+A+Start, no contest). Before 2.0 "resolved" means played to the end."""
    if replay.quitter is not None:
        return f"{replay.end_method}, port {replay.quitter + 1} quit"
    return None if replay.end_method in (*_NATURAL_ENDS, "none") else replay.end_method


def too_short(replay: Replay, min_frames: int = MIN_FRAMES) -> str | None:
    """Fewer frames than the minimum (30 s unless set otherwise)."""
    return None if replay.num_frames >= min_frames else f"{replay.num_frames} frames"


def ice_climbers(replay: Replay) -> str | None:
    """An Ice Climbers player: the second body is not stored, yet hits and is hit."""
    ports = [player.port + 1 for player in replay.players if player.character == ICE_CLIMBERS]
    return f"port {ports[0]} is {external_name(ICE_CLIMBERS)}" if ports else None


def idle_player(replay: Replay) -> str | None:
    """A player whose pad hardly ever changes, counted from the first frame under control."""
    start = max(0, -replay.first_frame_id)
    num_steps = replay.num_frames - start - 1
    if num_steps < 1:
        return "no frame under control"
    for player, name in zip(replay.players, PLAYERS, strict=True):
        changed, fraction = np.zeros(num_steps, dtype=bool), 0.0
        for field in (*LAYOUT.pad_numbers, LAYOUT.pad_buttons):
            values = replay.columns[column_name(field, name)][start:]
            changed |= values[1:] != values[:-1]
            fraction = np.count_nonzero(changed) / num_steps
            if fraction >= IDLE_FRACTION:
                break
        else:
            return f"port {player.port + 1} changes its pad in {fraction:.1%} of the frames"
    return None


def unknown_value(replay: Replay) -> str | None:
    """A category outside of its vocabulary where the schema says to refuse it (character, l-cancel, hurtbox)."""
    for field in LAYOUT.categories:
        codec = field.codec
        if not isinstance(codec, Category) or codec.out_of_range is not OutOfRange.REJECT:
            continue
        for player in PLAYERS:
            name = column_name(field, player)
            if name not in replay.columns:
                continue
            values = replay.columns[name]
            if int(values.max()) + codec.offset >= codec.vocab:
                codes = values.astype(np.int64) + codec.offset
                codes[np.isin(values, [value for value, _ in codec.alias])] = 0
                if (codes >= codec.vocab).any():
                    return f"{name} {values[np.argmax(codes >= codec.vocab)]}"
    return None


def not_finite(replay: Replay) -> str | None:
    """A number that a model would see is infinite or no number."""
    for column in LAYOUT.columns:
        if column.name not in replay.columns or not isinstance(column.field.codec, Number):
            continue
        values = replay.columns[column.name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"{column.name} {values[np.argmax(~np.isfinite(values))]}"
    return None


_ORDER: tuple[Rule, ...] = (
    not_two_players,
    teams,
    not_human,
    odd_mode,
    illegal_stage,
    not_four_stocks,
    items_on,
    odd_start,
    no_end,
    unnatural_end,
    too_short,
    ice_climbers,
    idle_player,
    unknown_value,
    not_finite,
)

FILTERS: dict[str, Rule] = {rule.__name__: rule for rule in _ORDER}
"""Every rule by its name, in the order in which they are asked; the first that rejects gives the reason."""

STRUCTURAL: frozenset[str] = frozenset({not_two_players.__name__, unknown_value.__name__, not_finite.__name__})
"""Rules that are always on."""

DEFAULT_FILTERS: frozenset[str] = frozenset(FILTERS) - {ice_climbers.__name__, unnatural_end.__name__}
"""Rules that are on unless switched off.

Ice Climbers stay: they are part of the game, and their leader is exact. So do games that somebody quit: every frame
before is as true as any, and physics does not care who won. A recording that breaks off is damaged, and goes."""


def check_names(names: Iterable[str]) -> frozenset[str]:
    """The names as a set. Raises WrongUse for one that is no rule, with the nearest that is."""
    out = frozenset(names)
    for name in sorted(out - FILTERS.keys()):
        near = difflib.get_close_matches(name, FILTERS, n=1)
        raise WrongUse(f"filter {name!r}", f"one of {', '.join(FILTERS)}", f"use {near[0] if near else 'one of these'}")
    return out


def apply_filters(
    replay: Replay, enabled: Iterable[str] = DEFAULT_FILTERS, *, min_frames: int = MIN_FRAMES
) -> tuple[str, str] | None:
    """(reason, what was found) of the first rule that rejects, or None. Structural rules are on in any case."""
    on = check_names(enabled) | STRUCTURAL
    rules = FILTERS | {too_short.__name__: partial(too_short, min_frames=min_frames)}
    for name, rule in rules.items():
        if name in on and (found := rule(replay)) is not None:
            return name, found
    return None
