"""Statistics say what the columns hold, and find what should not be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fabricated import fabricate

from worldmodel.dataset.shard import frames_hash
from worldmodel.dataset.stats import FEW_GAMES, statistics
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.writer import NewGame

Build = Callable[..., Dataset]


def test_columns_match_a_plain_computation(build: Build, two_kinds: list[NewGame]) -> None:
    found = statistics(build(*two_kinds))
    by_name = {column.name: column for column in found.columns}
    for name in ("p0.percent", "p1.x", "p0.hitlag", "p0.pad.raw_stick_x", "random_seed"):
        values = np.concatenate([g.columns[name] for g in two_kinds if name in g.columns]).astype(np.float64)
        column = by_name[name]
        assert (column.num_values, column.minimum, column.maximum) == (len(values), values.min(), values.max())
        assert abs((column.mean or 0) - values.mean()) < 1e-9
        assert column.num_games_missing == sum(name not in g.columns for g in two_kinds)
    assert by_name["p0.l_cancel"].num_outside == 0
    jumps = np.concatenate([g.columns["p0.jumps"] for g in two_kinds])
    assert by_name["p0.jumps"].num_outside == (jumps >= 7).sum() > 0
    assert found.coverage["stage"] == {"Battlefield": 12}
    assert found.coverage["character"] == {"Fox": 12, "Marth": 12}


def test_a_sound_dataset_has_no_problems(build: Build) -> None:
    assert statistics(build(*(fabricate(k, 50) for k in range(FEW_GAMES)))).problems == ()


def test_constant_and_non_finite_columns_are_problems(build: Build) -> None:
    games = []
    for k in range(FEW_GAMES):
        game = fabricate(k, 50)
        game.columns["p0.y"][:] = 3
        game.columns["p1.percent"][9] = np.nan
        game.columns["p0.misc_as"][9] = np.nan  # on the whitelist
        game.columns["p0.state_flags"][9] = 0  # not in hitstun then
        game.columns["p0.character"][:] = 1  # on the whitelist
        games.append(
            NewGame(game.row | {"frames_hash": frames_hash(game.columns, game.sparse)}, game.columns, game.sparse)
        )
    assert statistics(build(*games)).problems == (
        "p0.y: constant, 3 in all 1,000 frames",
        "p1.percent: 20 values are not finite",
    )
    few = [line for line in statistics(build(*games[:5], name="few")).problems if "constant" in line]
    assert few == []


def test_an_empty_dataset_is_a_problem(build: Build) -> None:
    assert statistics(build()).problems == ("the dataset holds no game",)
