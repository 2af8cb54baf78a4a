"""The order of samples: a pure function, each window exactly once, blocks within bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.dataset.windows import Windows

FRAMES = np.array([40, 7, 25, 100, 11, 60, 33])
GAMES = np.array([3, 5, 8, 9, 12, 20, 21])

GOLDEN_GAMES = [[3, 21], [20], [9], [8]]
GOLDEN_ORDER = [
    (3, 17), (21, 11), (3, 2), (20, 34), (20, 19), (20, 4), (9, 75), (9, 60), (9, 15), (9, 30), (9, 45), (9, 0), (8, 5),
]  # fmt: skip
GOLDEN_LANES = [
    [(3, 17), (3, 2), (20, 4), (9, 15), (9, 30), (9, 0), (8, 5)],
    [(21, 11), (20, 19), (20, 34), (9, 60), (9, 75), (9, 45)],
]


def make(**changes: object) -> Windows:
    options = {"rows": 11, "stride": 1, "seed": 4, "block_frames": 120, "games": GAMES} | changes
    return Windows(FRAMES, **options)  # type: ignore[arg-type]


def flat(windows: Windows, epoch: int, lanes: int = 1, first: int = 0, num: int | None = None) -> list[tuple[int, int]]:
    hands = [block.hand(lanes, first, num) for block in windows.blocks(epoch)]
    return [(int(hand.games[g]), int(row)) for hand in hands for g, row in hand.starts]


def test_golden_order() -> None:
    """Resuming a run in the middle of an epoch depends on this order: it must not change unnoticed."""
    windows = make(rows=20, stride=15)
    assert [plan.games.tolist() for plan in windows.blocks(1)] == GOLDEN_GAMES
    assert flat(windows, 1) == GOLDEN_ORDER
    assert [flat(windows, 1, 2, lane, 1) for lane in range(2)] == GOLDEN_LANES


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


@pytest.mark.parametrize("block_frames", [1, 120, 10_000])
@pytest.mark.parametrize("lanes", [2, 3, 8])
def test_lanes_share_every_block_evenly(block_frames: int, lanes: int) -> None:
    windows = make(block_frames=block_frames)
    streams = [flat(windows, 2, lanes, lane, 1) for lane in range(lanes)]
    assert sorted(window for stream in streams for window in stream) == sorted(flat(windows, 2))
    assert [len(s) for s in streams] == [-(-(windows.num_windows - lane) // lanes) for lane in range(lanes)]
    done = np.zeros(lanes, int)
    for block in windows.blocks(2):
        runs = block.runs(lanes)
        assert (runs[:, 0] == done).all()
        done = runs[:, 1]
        assert np.ptp(done) <= 1
        # Neighbours share a game at most at the cut between them.
        hands = [block.hand(lanes, lane, 1) for lane in range(lanes)]
        assert sum(len(hand.games) for hand in hands) <= len(block.games) + lanes - 1
        for a, b in itertools.pairwise(hand for hand in hands if len(hand.games)):
            assert a.games[-1] <= b.games[0]


def test_several_lanes_at_once_are_each_of_them() -> None:
    windows = make(block_frames=120)
    for block in windows.blocks(0):
        for first, num in ((0, 4), (1, 2), (3, 1)):
            together = block.hand(4, first, num)
            apart = [block.hand(4, lane, 1) for lane in range(first, first + num)]
            found = np.c_[together.games[together.starts[:, 0]], together.starts[:, 1]]
            wanted = np.concatenate([np.c_[hand.games[hand.starts[:, 0]], hand.starts[:, 1]] for hand in apart])
            assert np.array_equal(found, wanted)
            assert together.games.tolist() == sorted({game for hand in apart for game in hand.games.tolist()})


def test_locate_is_the_order() -> None:
    windows = make(block_frames=60)
    for lane in range(3):
        stream = flat(windows, 1, 3, lane, 1)
        assert [windows.locate(1, lane, place, 3) for place in range(len(stream))] == stream
        assert windows.locate(1, lane, len(stream), 3) is None


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
