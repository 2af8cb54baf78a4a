"""What one parsed replay is. Plain values; no behaviour.

Owns: the shapes that cross from the parser to filters, identity and the dataset. Must not: parse or judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FIRST_FRAME_ID = -123
"""Slippi's id of the first frame of every ordinary match; the players get control at about 0."""


class ParseError(Exception):
    """The bytes are no replay that can be read. `reason` is a short snake_case word, `detail` the value found."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Player:
    """One occupied port, as the Game Start event describes it."""

    port: int
    """0-based: 0 is port 1."""
    character: int
    """External id (the one of the character screen), as chosen at the start."""
    kind: str
    """"human", "cpu", "demo", or "other_N"."""
    stocks: int
    """Stocks at the start."""
    team: int | None
    """Team colour; None when the match has no teams."""
    costume: int
    tag: str = ""
    """In-game name tag; "" if none. So are `name` (netplay) and `code` (such as "AB#123")."""
    name: str = ""
    code: str = ""


@dataclass(slots=True)
class Replay:
    """One replay. Facts of the game that the version does not record are None or "".

    `columns`: stored frame columns by `LAYOUT` column name, each (num_frames,), native byte order. A field that the
    replay does not record is absent. Empty unless exactly two ports are in use.
    `sparse`: by name of a `SPARSE_TABLES` entry: "t" (int32 index of the frame) and the columns that the replay has.
    Both hold the last copy of every frame id; ids run from `first_frame_id` without holes.
    """

    version: tuple[int, int, int]
    stage: int
    """External stage id."""
    players: tuple[Player, ...]
    """Occupied ports, ascending."""
    is_teams: bool
    items_on: bool
    game_mode: int
    """0 time, 1 stock, 2 coin, 3 bonus (and higher ones of single-player modes)."""
    scene: tuple[int, int] | None
    """(minor, major) scene number."""
    is_pal: bool | None
    is_frozen_stadium: bool | None
    match_id: str
    game_number: int | None
    timer_s: int
    started_at: str
    """As the metadata has it, ISO 8601; "" if none."""
    platform: str
    seed: int
    """Random seed at the start of the game."""
    end_method: str
    """"game", "time", "no_contest", "resolved", "unresolved", "none" (no Game End event), or "other_N"."""
    quitter: int | None
    """0-based port of the player that quit out with L+R+A+Start; None if nobody did or it is not recorded."""
    placements: tuple[int, ...] | None
    """Place of ports 0-3, 0 first, -1 not in the game."""
    first_frame_id: int
    num_frames: int
    num_rollback_rows: int
    """Frame copies that a later copy of the same id replaced."""
    num_followers: int
    """Players who have a second body (Nana). Her rows are dropped."""
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    sparse: dict[str, dict[str, NDArray[np.generic]]] = field(default_factory=dict)
