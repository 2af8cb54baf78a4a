"""Batches: one stream of windows per epoch, whatever the blocks and wherever one begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import Windows
from worldmodel.schema import LAYOUT
from worldmodel.training.batches import Batch, Batches


def make(dataset: Dataset, *, batch_size: int, block_frames: int, stride: int = 7) -> Batches:
    games = dataset.rows("train")
    lengths = dataset.num_frames_per_game[games]
    windows = Windows(lengths, games=games, rows=9, stride=stride, seed=3, block_frames=block_frames)
    return Batches(dataset, windows, batch_size, torch.device("cpu"))


def numbers(batches: list[Batch]) -> torch.Tensor:
    return torch.cat([states.numbers for states, _, _ in batches])


@pytest.mark.parametrize("block_frames", [1, 1000, 10**9])
def test_an_epoch_is_the_windows_in_their_order(dataset: Dataset, block_frames: int) -> None:
    batches = make(dataset, batch_size=50, block_frames=block_frames)
    found = list(batches.epoch(1))
    assert len(found) == batches.num_per_epoch == batches.windows.num_windows // 50
    assert {states.numbers.shape[0] for states, _, _ in found} == {50}
    wanted = np.concatenate(
        [np.c_[plan.games[plan.starts[:, 0]], plan.starts[:, 1]] for plan in batches.windows.blocks(1)]
    )
    for index in (0, 49, 50, 50 * len(found) - 1):
        game, row = wanted[index]
        column = dataset.game(int(game))["p1.percent"][row : row + 9]
        place = numbers(found)[index, :, 1, LAYOUT.number("percent")]
        assert np.array_equal(place.numpy(), column)


@pytest.mark.parametrize("block_frames", [1, 1000, 10**9])
@pytest.mark.parametrize("first", [1, 3, 7])
def test_beginning_in_the_middle(dataset: Dataset, block_frames: int, first: int) -> None:
    batches = make(dataset, batch_size=50, block_frames=block_frames)
    whole, rest = list(batches.epoch(0)), list(batches.epoch(0, first_batch=first))
    assert len(rest) == len(whole) - first
    for (a, pads_a, context_a), (b, pads_b, context_b) in zip(whole[first:], rest, strict=True):
        assert torch.equal(a.numbers, b.numbers)
        assert torch.equal(a.flags, b.flags)
        assert torch.equal(pads_a.buttons, pads_b.buttons)
        assert torch.equal(context_a.stage, context_b.stage)


def test_past_the_end_there_is_nothing(dataset: Dataset) -> None:
    batches = make(dataset, batch_size=50, block_frames=1000)
    assert list(batches.epoch(0, first_batch=batches.num_per_epoch)) == []


def test_fewer_windows_than_a_batch(dataset: Dataset) -> None:
    batches = make(dataset, batch_size=10**6, block_frames=1000)
    (only,) = list(batches.epoch(0))
    assert only[0].numbers.shape[0] == batches.size == batches.windows.num_windows


def test_epochs_differ(dataset: Dataset) -> None:
    batches = make(dataset, batch_size=50, block_frames=10**9)
    assert not torch.equal(numbers(list(batches.epoch(0))), numbers(list(batches.epoch(1))))
