"""The same numbers whatever the batch; the same state with other pads is another future."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np

from worldmodel.melee.pad import BUTTONS
from worldmodel.replays.synth import ids
from worldmodel.replays.synth.game import Rules, play
from worldmodel.replays.synth.generate import GENERATOR_VERSION, generate, what_if
from worldmodel.replays.synth.sim import step
from worldmodel.replays.synth.state import RECORDED, Pads, neutral, take

SEED = 11  # of the fixture
SHORT = Rules(stocks=1, max_frames=220)


def test_games_do_not_depend_on_their_batch():
    together = dict(generate(6, 5, rules=SHORT))
    alone = dict(generate(1, 5, first=4, rules=SHORT))
    assert list(together) == sorted(together)
    assert alone.items() <= together.items()
    assert len(set(together.values())) == 6


def test_lanes_take_up_the_next_game_without_a_trace():
    wide = dict(play(5, range(5), SHORT))
    narrow = dict(play(5, range(5), SHORT, num_lanes=2))
    for number, game in wide.items():
        for name, values in game.columns.items():
            assert values.tobytes() == narrow[number].columns[name].tobytes(), name


def test_other_seeds_are_other_games():
    (_, one), (_, two) = next(generate(1, 5, rules=SHORT)), next(generate(1, 6, rules=SHORT))
    assert one != two


def test_a_fork_with_the_same_pads_is_the_same_future(played):
    at, games = 700, np.array([3])
    state = take(played.states[at], games)
    for t in range(at + 1, at + 60):
        state = step(state, take(played.pads[t], games))
        for name in RECORDED:
            assert getattr(state, name).tobytes() == getattr(take(played.states[t], games), name).tobytes(), name


def test_stepping_leaves_the_state_alone(played):
    state = take(played.states[600], np.arange(4))
    before = {f.name: np.array(getattr(state, f.name)) for f in fields(state) if f.name not in ("pads", "surfaces")}
    step(state, neutral(4))
    for name, values in before.items():
        assert (getattr(state, name) == values).all(), name


def test_what_if_answers_the_pads(played):
    waits = (played.action_state[:, 0, 0] == ids.WAIT) & (played.hitlag[:, 0, 0] == 0)
    waits &= np.abs(played.x[:, 0, 0] - played.x[:, 0, 1]) > 30
    row = int(np.flatnonzero(waits)[0]) + 1
    idle = neutral(1)
    jump = Pads(**{f.name: getattr(idle, f.name).copy() for f in fields(idle)})
    jump.buttons[0, 0] = BUTTONS["x"]
    quiet = what_if(SEED, 0, row, [idle] * 8)
    jumps = what_if(SEED, 0, row, [jump] * 8)
    assert jumps[0].action_state[0, 0] == ids.KNEE_BEND
    assert quiet[0].action_state[0, 0] == ids.WAIT
    assert jumps[-1].airborne[0, 0] == 1
    assert jumps[-1].y[0, 0] > quiet[-1].y[0, 0]
    as_it_was = what_if(SEED, 0, row, [take(played.pads[row], np.array([0]))])[0]
    assert as_it_was.x.tobytes() == played.x[row, :1].tobytes()


def test_a_golden_game():
    """If this fails on purpose, raise GENERATOR_VERSION: folders of the old generator must not be resumed."""
    (name, data) = next(generate(1, 0, rules=Rules(stocks=1, max_frames=600)))
    assert (GENERATOR_VERSION, name, hashlib.sha256(data).hexdigest()[:16]) == (
        1,
        "synth-0-000000.slp",
        "ee7dd58a23ee0468",
    )
