"""Two true futures of one moment, by the batch: as it was played, and had one player held other pads.

Owns: which moments, whose pads, what they are replaced by. Must not: know physics, a model or a measure.
The batched form of `generate.what_if`; a test holds them equal.

Shapes: G games, T rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from worldmodel.replays.synth.game import Game, Rules, as_game, opening, stacked
from worldmodel.replays.synth.players import decide
from worldmodel.replays.synth.sim import step
from worldmodel.replays.synth.state import Array, Pads, State, join, random_bits, take

SPREAD_FRAMES = 500
"""Moments lie this far apart at most: the later they are, the longer the games have to be played."""

_MOMENT_SALT = np.uint64(0xF02C)


@dataclass(frozen=True, slots=True)
class Fork:
    """One moment. played, changed: rows row - before .. row + after of both futures, equal up to the moment.

    number: of the game. row: the moment, the last row that both share. player: index of whose pads differ after it.
    """

    number: int
    row: int
    player: int
    played: Game
    changed: Game


def forks(
    seed: int,
    num_games: int,
    *,
    earliest: int,
    before: int,
    after: int,
    rules: Rules | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Fork]:
    """One moment of each game, at a row from `earliest` on. The other pads are what a player of the next game held.

    Games that end before the last row of either future are left out. `progress` hears of rows simulated.
    """
    if not 0 <= before <= earliest:
        raise ValueError(f"before {before} in 0..{earliest}, the earliest moment")
    rules = rules or Rules(stocks=4)
    games = np.arange(num_games)
    moments = _moments(seed, games, earliest)
    state, mind = opening(seed, games, rules)
    rows: list[tuple[State, Pads]] = []
    for _ in range(int(moments.max()) + after + 1):
        pads, mind = decide(state, mind)
        state = step(state, pads)
        rows.append((state, pads))
        if progress:
            progress(1)

    whole = stacked(rows)
    player, donor = games % 2, (games + 1) % num_games
    parts = [take(rows[int(row)][0], games[game : game + 1]) for game, row in enumerate(moments)]
    state = _joined(parts)
    changed: list[tuple[State, Pads]] = []
    for k in range(1, after + 1):
        pads = _pads(whole, moments + k, games, donor, player)
        state = step(state, pads)
        changed.append((state, pads))

    other = stacked(changed)
    for number in range(num_games):
        moment = int(moments[number])
        shared = slice(moment - before, moment + 1)
        first = {name: values[shared, number] for name, values in whole.items()}
        futures = (
            {name: values[moment + 1 : moment + 1 + after, number] for name, values in whole.items()},
            {name: values[:, number] for name, values in other.items()},
        )
        if any((future["stocks"] == 0).any() for future in futures):
            continue
        played, altered = (
            as_game(
                {name: np.concatenate([first[name], future[name]]) for name in first},
                seed, number, state, number, rules, won=False,
            )
            for future in futures
        )  # fmt: skip
        yield Fork(number, moment, int(player[number]), played, altered)


def _moments(seed: int, games: Array, earliest: int) -> Array:
    bits = random_bits(random_bits(np.uint64(seed), games.astype(np.uint64)), _MOMENT_SALT)
    return earliest + (bits % np.uint64(SPREAD_FRAMES)).astype(np.int64)


def _joined(parts: list[State]) -> State:
    """Batches of one as one batch."""
    while len(parts) > 1:
        parts = [join(*parts[i : i + 2]) if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
    return parts[0]


def _pads(whole: dict[str, Array], rows: Array, games: Array, donor: Array, player: Array) -> Pads:
    """Each game's own pads at its row, but for one player, who holds what the donor's player of that index held at the
    donor's row."""
    swapped = np.arange(2) == player[:, None]
    held = {name: whole[f"pad.{name}"] for name in Pads.__slots__}
    return Pads(**{n: np.where(swapped, v[rows[donor], donor], v[rows, games]) for n, v in held.items()})
