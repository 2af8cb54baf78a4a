"""One batch of games, stepped once for all tests of this folder."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from worldmodel.replays.synth.game import Rules, opening
from worldmodel.replays.synth.players import decide
from worldmodel.replays.synth.sim import step
from worldmodel.replays.synth.state import RECORDED, Pads

NUM_GAMES, NUM_FRAMES, SEED = 64, 1200, 11


@pytest.fixture(scope="session")
def played():
    """`states`, `pads` per row; each recorded field as (T, G, 2); `live` (T, G): rows before the game is over."""
    state, mind = opening(SEED, np.arange(NUM_GAMES), Rules())
    states, pads_of = [], []
    for _ in range(NUM_FRAMES):
        pads, mind = decide(state, mind)
        state = step(state, pads)
        states.append(state)
        pads_of.append(pads)
    fields = (*RECORDED, "in_hitstun", "fast_falling", "guarded", "surface")
    columns = {name: np.stack([getattr(s, name) for s in states]) for name in fields}
    columns |= {f"pad_{name}": np.stack([getattr(p, name) for p in pads_of]) for name in Pads.__slots__}
    over = (columns["stocks"] == 0).any(axis=-1)
    live = np.cumsum(over, axis=0) <= 1
    return SimpleNamespace(states=states, pads=pads_of, live=live, **columns)
