"""The order of samples: a pure function, each window exactly once, blocks within bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.dataset.windows import Windows

FRAMES = np.array([40, 7, 25, 100, 11, 60, 33])
GAMES = np.array([3, 5, 8, 9, 12, 20, 21])

GOLDEN_GAMES = [[3, 21], [20], [9], [8]]
GOLDEN_ORDER = [
    (21, 11), (3, 17), (3, 2), (20, 19), (20, 34), (20, 4), (9, 75), (9, 45), (9, 60), (9, 30), (9, 15), (9, 0), (8, 5),
]  # fmt: skip


def make(**changes: object) -> Windows:
    options = {"rows": 11, "stride": 1, "seed": 4, "block_frames": 120, "games": GAMES} | changes
    return Windows(FRAMES, **options)  # type: ignore[arg-type]


def flat(windows: Windows, epoch: int) -> list[tuple[int, int]]:
    return [(int(p.games[g]), int(row)) for p in windows.blocks(epoch) for g, row in p.starts]


def test_golden_order() -> None:
    """Resuming a run in the middle of an epoch depends on this order: it must not change unnoticed."""
    windows = make(rows=20, stride=15)
    assert [plan.games.tolist() for plan in windows.blocks(1)] == GOLDEN_GAMES
    assert flat(windows, 1) == GOLDEN_ORDER


def test_every_window_once_whatever_the_blocks() -> None:
    expected = {(g, r) for g, n in zip(GAMES.tolist(), FRAMES.tolist(), strict=True) for r in range(n - 11 + 1)}
    for block_frames in (1, 50, 120, 10_000):
        windows = make(block_frames=block_frames)
        order = flat(windows, 0)
        assert len(order) == windows.num_windows == len(expected)
        assert set(order) == expected


def test_pure_function_of_seed_and_epoch() -> None:
    windows = make()
    assert flat(windows, 3) == flat(windows, 3) == flat(make(), 3)
    assert flat(windows, 3) != flat(windows, 4)
    assert flat(windows, 3) != flat(make(seed=5), 3)


def test_blocks_hold_at_most_their_frames() -> None:
    frames = dict(zip(GAMES.tolist(), FRAMES.tolist(), strict=True))
    for plan in make().blocks(0):
        assert len(plan.games) == 1 or sum(frames[g] for g in plan.games.tolist()) <= 120
        assert (np.diff(plan.games) > 0).all()


def test_one_block_with_the_same_games_if_everything_fits() -> None:
    windows = make(block_frames=10_000)
    plans = [list(windows.blocks(epoch)) for epoch in (0, 1)]
    assert [len(p) for p in plans] == [1, 1]
    assert plans[0][0].games.tolist() == plans[1][0].games.tolist() == [3, 8, 9, 12, 20, 21]


def test_unshuffled_is_ascending_and_ignores_the_epoch() -> None:
    windows = make(shuffle=False, stride=7)
    assert flat(windows, 0) == sorted(flat(windows, 0)) == flat(windows, 9)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=8), st.integers(1, 30), st.integers(1, 25), st.integers(1, 300)
)
def test_windows_stay_inside_their_games(frames: list[int], rows: int, stride: int, block_frames: int) -> None:
    windows = Windows(np.array(frames), rows=rows, stride=stride, seed=0, block_frames=block_frames)
    for epoch in range(3):
        order = flat(windows, epoch)
        assert len(order) == windows.num_windows == len(set(order))
        assert all(row >= 0 and row + rows <= frames[game] for game, row in order)


def test_strides_show_every_row_over_epochs() -> None:
    windows = Windows(np.array([53]), rows=10, stride=10, seed=0, block_frames=100)
    seen = {row + k for epoch in range(40) for _, row in flat(windows, epoch) for k in range(10)}
    assert seen == set(range(53))
    assert windows.num_windows == 5
