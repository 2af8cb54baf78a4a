"""Real games, from replay to number, against plain NumPy over the columns of the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from memory_games import naive

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dynamics.objective import GROUPS
from worldmodel.evaluation import closed_loop, heldout, starts, teacher_forced
from worldmodel.replays.source import iter_sources

pytestmark = pytest.mark.replays

NUM_GAMES = 2


@pytest.fixture(scope="module")
def dataset(real_replays: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    files = sorted((real_replays / "train").rglob("*.slp"))[:NUM_GAMES]
    out = tmp_path_factory.mktemp("real") / "dataset"
    ingest(iter_sources(files), out, workers=1)
    return open_dataset(out)


def test_baselines_one_step_ahead_agree_with_the_columns(dataset: Dataset) -> None:
    games = heldout.choose_games(dataset, split="all", allow_train=True)
    assert len(games) == NUM_GAMES
    found = teacher_forced.evaluate(
        {"copy": naive("copy_last"), "ballistic": naive("ballistic")},
        dataset,
        games,
        length=256,
        burn_in=0,
        weights=dict.fromkeys(GROUPS, 1.0),
    )
    assert found.num_frames == found.num_possible == sum(n - 1 for n in games.num_frames.tolist())
    copied: dict[str, list[np.ndarray]] = {"x": [], "percent": [], "stocks": [], "action_state": []}
    coasted: list[np.ndarray] = []
    for number in games.num.tolist():
        game = dataset.game(number)
        for player in ("p0", "p1"):
            for name, values in copied.items():
                values.append(np.abs(np.diff(game[f"{player}.{name}"].astype(np.float64))))
            for axis, speeds in (("x", ("self_x_air", "knockback_x")), ("y", ("self_y", "knockback_y"))):
                place = game[f"{player}.{axis}"].astype(np.float64)
                speed = sum(game[f"{player}.{name}"].astype(np.float64) for name in speeds)
                coasted.append(np.abs(place[1:] - np.clip((place + speed)[:-1], -400, 400)))
    joined = {name: np.concatenate(values) for name, values in copied.items()}
    copy, ballistic = found.models["copy"].overall(), found.models["ballistic"].overall()
    assert copy["percent_mae"] == pytest.approx(joined["percent"].mean(), rel=1e-5)
    assert copy["stocks_acc"] == pytest.approx((joined["stocks"] == 0).mean(), rel=1e-9)
    assert copy["action_state_acc"] == pytest.approx((joined["action_state"] == 0).mean(), rel=1e-9)
    assert copy["change_acc"] == 0.0
    # The transition stops who would coast into the floor: a little nearer than the columns, never farther.
    assert 0.995 < ballistic["pos_mae"] / np.concatenate(coasted).mean() < 1.0  # type: ignore[operator]
    assert ballistic["pos_mae"] < copy["pos_mae"]  # type: ignore[operator]


def test_rollouts_of_copy_last_agree_with_the_columns(dataset: Dataset) -> None:
    games = heldout.choose_games(dataset, split="all", allow_train=True)
    chosen = starts.uniform(games, num_starts=40, earliest=8, horizon=60, seed=1)
    found = closed_loop.evaluate({"copy": naive("copy_last")}, dataset, games, chosen, history=8, counted=8)
    gaps = []
    for place, row in chosen.at.tolist():
        game = dataset.game(int(games.num[place]))
        for player in ("p0", "p1"):
            for axis in ("x", "y"):
                column = game[f"{player}.{axis}"][row : row + 61].astype(np.float64)
                gaps.append(np.abs(np.clip(column[1:], -400, 400) - np.clip(column[0], -400, 400)))
    run = found.models["copy"]
    at = closed_loop.CURVES.index("pos_mae")
    curve = run.numerator[:, :, at].sum(0) / run.denominator[:, :, at].sum(0)
    np.testing.assert_allclose(curve, np.mean(gaps, 0), rtol=1e-4)
    assert not run.impossible.any()
