"""Events of a game at rest: the schema's rules on its columns.

Owns: how a rule reads columns. Must not: say what an event is (that is `schema.events`).

Letters: T rows of a game, 2 players, E events in the order of `EVENTS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.codes import flag_word
from worldmodel.dataset.store import Game
from worldmodel.schema import LAYOUT, PLAYERS, column_name
from worldmodel.schema.events import EVENTS, Rows


class ColumnRows(Rows):
    """Some rows of one player of a game, exactly as the replay has them."""

    def __init__(self, game: Game, player: str, rows: slice) -> None:
        self._game, self._player, self._rows = game, player, rows

    def number(self, role: str) -> NDArray[Any]:
        return self._column(role)

    def flag(self, role: str) -> NDArray[np.bool_]:
        return np.not_equal(flag_word(LAYOUT.the(role), self._column(role)), 0)

    def action_states(self) -> NDArray[Any]:
        return self._column("action_state")

    def _column(self, role: str) -> NDArray[Any]:
        return self._game[column_name(LAYOUT.the(role), self._player)][self._rows]


def known_events(game: Game) -> NDArray[np.bool_]:
    """(E,): which events the game's columns can tell."""
    return np.array(
        [
            all(game.present(column_name(LAYOUT.the(role), player)) for role in event.needs for player in PLAYERS)
            for event in EVENTS.values()
        ]
    )


def events_of(game: Game) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What happened in each row (T,2,E), and which events are known (E,). The unknown, and all of row 0, are False."""
    known = known_events(game)
    happened = np.zeros((game.num_frames, len(PLAYERS), len(EVENTS)), np.bool_)
    for p, player in enumerate(PLAYERS):
        before, now = ColumnRows(game, player, slice(None, -1)), ColumnRows(game, player, slice(1, None))
        for e, event in enumerate(EVENTS.values()):
            if known[e]:
                happened[1:, p, e] = event.rule(before, now)
    return happened, known
