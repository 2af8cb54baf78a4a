"""Forks by the batch are those of `what_if`, one game at a time."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.replays.synth import forks as room
from worldmodel.replays.synth.forks import forks
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import state_at, what_if
from worldmodel.replays.synth.state import RECORDED, Pads
from worldmodel.schema import PLAYERS

SEED, RULES = 5, Rules(stocks=4)


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments soon after the beginning: the later they are, the longer every game is played."""
    monkeypatch.setattr(room, "SPREAD_FRAMES", 60)


def test_both_futures_are_what_the_simulator_says() -> None:
    found = list(forks(SEED, 5, earliest=130, before=8, after=12, rules=RULES))
    assert len(found) == 5
    moved = 0
    for fork in found[:3]:
        assert len(fork.played.columns["p0.x"]) == 8 + 1 + 12
        here = state_at(SEED, fork.number, fork.row, rules=RULES)
        pads = [
            Pads(
                **{
                    name: _both(fork.changed, f"pad.{'raw_' if name == 'buttons' else ''}{name}", 9 + k)
                    for name in Pads.__slots__
                }
            )
            for k in range(12)
        ]
        states = what_if(SEED, fork.number, fork.row + 1, pads, rules=RULES)
        for name in RECORDED:
            for game in (fork.played, fork.changed):
                np.testing.assert_array_equal(_both(game, name, 8), getattr(here, name), err_msg=name)
            for k, state in enumerate(states):
                np.testing.assert_array_equal(_both(fork.changed, name, 9 + k), getattr(state, name), err_msg=name)
        played = state_at(SEED, fork.number, fork.row + 12, rules=RULES)
        np.testing.assert_array_equal(_both(fork.played, "x", -1), played.x)
        moved += not np.array_equal(fork.played.columns["p0.x"], fork.changed.columns["p0.x"])
        moved += not np.array_equal(fork.played.columns["p1.x"], fork.changed.columns["p1.x"])
        other = PLAYERS[1 - fork.player]
        for name in ("stick_x", "buttons"):
            np.testing.assert_array_equal(
                fork.played.columns[f"{other}.pad.{name}"], fork.changed.columns[f"{other}.pad.{name}"]
            )
    assert moved, "other pads lead elsewhere"


def test_a_fork_depends_on_the_seed_and_repeats() -> None:
    def rows(seed: int) -> list[int]:
        return [fork.row for fork in forks(seed, 4, earliest=130, before=0, after=1)]

    assert rows(1) == rows(1) != rows(2)
    with pytest.raises(ValueError, match="earliest"):
        next(forks(1, 2, earliest=5, before=6, after=1))


def _both(game: object, name: str, row: int) -> np.ndarray:
    columns = game.columns  # type: ignore[attr-defined]
    return np.array([[columns[f"{player}.{name}"][row] for player in PLAYERS]])
