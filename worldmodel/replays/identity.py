"""Which match a replay shows, and which set the match belongs to: for duplicates and for splits.

Owns: the two keys. Must not: salt or store them; names appear in a key in the clear, and the dataset hashes it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from worldmodel.replays.replay import Player, Replay
from worldmodel.schema import LAYOUT, PLAYERS, column_name

_PAD_FRAMES = 600
"""Pads compared: the first ten seconds. Both sides of an online match agree on them once rollbacks are resolved."""


def match_fingerprint(replay: Replay) -> str:
    """Equal for every recording of one match, whoever recorded it: 32 hexadecimal digits.

    Made of what both sides' games must have in common to stay in step: the seed, the stage, the characters by port, and
    the pads as the game used them, each frame's last copy. Names, metadata and the end of the game have no part in it.
    """
    digest = hashlib.sha256(repr((replay.seed, replay.stage)).encode())
    for player in replay.players:
        digest.update(repr((player.port, player.character)).encode())
    for name in PLAYERS:
        for field in (*LAYOUT.pad_numbers, LAYOUT.pad_buttons):
            values = replay.columns.get(column_name(field, name))
            if values is not None:
                digest.update(values[:_PAD_FRAMES].tobytes())
    return digest.hexdigest()[:32]


def match_group(replay: Replay) -> str:
    """A key of the set that a match belongs to, so that a split never tears a set apart.

    The match id where there is one; else who played whom on which day (UTC); else the match alone. A player is their
    connect code, else netplay name, else tag, else character, so games of anonymous players group by day and
    matchup: too coarse rather than too fine.
    """
    if replay.match_id:
        return f"match:{replay.match_id}"
    day = _day(replay.started_at)
    if not day:
        return f"alone:{match_fingerprint(replay)}"
    return "day:" + "|".join([day, *sorted(_who(player) for player in replay.players)])


def _who(player: Player) -> str:
    return player.code or player.name or player.tag or f"character {player.character}"


def _day(started_at: str) -> str:
    try:
        time = datetime.fromisoformat(started_at)
    except ValueError:
        return ""
    return (time.astimezone(UTC) if time.tzinfo else time).date().isoformat()
