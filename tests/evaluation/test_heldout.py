"""Which frames are evaluated: each once, none of the training games, the same ones every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_games import MemoryDataset

from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout


@given(
    lengths=st.lists(st.integers(0, 60), max_size=5),
    length=st.integers(1, 20),
    data=st.data(),
)
def test_each_frame_past_the_burn_in_is_scored_exactly_once(
    lengths: list[int], length: int, data: st.DataObject
) -> None:
    burn_in = data.draw(st.integers(0, length - 1))
    found = heldout.windows(np.array(lengths, np.int64), length=length, burn_in=burn_in)
    scored: dict[int, list[int]] = {place: [] for place in range(len(lengths))}
    for place, first_row, first_token in found.tolist():
        assert first_row >= 0
        assert first_row + length < lengths[place]
        assert first_token >= burn_in
        scored[place] += [first_row + 1 + token for token in range(first_token, length)]
    for place, frames in enumerate(lengths):
        expected = list(range(1 + burn_in, frames)) if frames > length else []
        assert sorted(scored[place]) == expected


def test_a_burn_in_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        heldout.windows(np.array([50]), length=10, burn_in=10)


def test_sample_is_seeded_sorted_and_without_repetition() -> None:
    plan = heldout.windows(np.array([500, 400]), length=10, burn_in=9)
    one = heldout.sample(plan, 50, seed=1)
    assert len(np.unique(one, axis=0)) == len(one) == 50
    assert (one == heldout.sample(plan, 50, seed=1)).all()
    assert (one != heldout.sample(plan, 50, seed=2)).any()
    assert (np.diff(one[:, 0]) >= 0).all()
    assert heldout.sample(plan, None, seed=1) is plan
    assert len(heldout.sample(plan, 10**9, seed=1)) == len(plan)


def test_training_games_are_refused_unless_told() -> None:
    dataset = MemoryDataset([30, 30])
    with pytest.raises(WrongUse, match="held-out"):
        heldout.choose_games(dataset, split="train")  # type: ignore[arg-type]
    assert len(heldout.choose_games(dataset, split="train", allow_train=True)) == 2  # type: ignore[arg-type]


def test_a_split_without_games_is_refused() -> None:
    dataset = MemoryDataset([30])
    dataset.splits["val"] = np.zeros(0, np.int64)
    with pytest.raises(WrongUse, match="no games in split 'val'"):
        heldout.choose_games(dataset)  # type: ignore[arg-type]


def test_blocks_hold_all_games_in_order_within_the_limit() -> None:
    lengths = np.array([5, 5, 20, 1, 1, 1])
    cuts = heldout.blocks(np.arange(6), lengths, 10)
    assert [cut.tolist() for cut in cuts] == [[0, 1], [2], [3, 4, 5]]
    assert heldout.blocks(np.zeros(0, np.int64), np.zeros(0, np.int64), 10) == []
