"""What a batch costs, counted: nothing grows with the batch but the bytes that are copied."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from worldmodel.dataset.rows import ROW
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import Windows
from worldmodel.nn.frames import DeviceBlock
from worldmodel.schema import LAYOUT
from worldmodel.training.batches import Batches

KERNELS_PER_BATCH = {
    # aten operator: calls. The words; decoding them; the context of their games.
    "index_select": 1 + 1 + 4,
    "_to_copy": 2,  # bytes to indices, categories to int64
}
"""Operators that launch something. Views cost a microsecond of the host and no kernel."""

VIEWS = {
    "view", "slice", "select", "as_strided", "unsqueeze", "alias", "split", "_unsafe_view", "detach", "expand",
}  # fmt: skip


def make(dataset: Dataset, batch_size: int) -> Batches:
    games = dataset.rows("train")
    windows = Windows(dataset.num_frames_per_game[games], games=games, rows=11, stride=1, seed=0, block_frames=10**9)
    return Batches(dataset, windows, batch_size, torch.device("cpu"), lanes=8)


def python_calls_per_batch(batches: Batches) -> int:
    """Calls of Python functions and of built-in ones, in one batch in the middle of an epoch."""
    epoch = batches.epoch(0)
    for _ in range(2):
        next(epoch)
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        next(epoch)
    finally:
        sys.setprofile(None)
    return calls


class Counting(TorchDispatchMode):
    """Counts aten operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_python_calls_do_not_grow_with_the_batch(dataset: Dataset) -> None:
    found = {size: python_calls_per_batch(make(dataset, size)) for size in (8, 512)}
    assert found[8] == found[512] < 200


@pytest.mark.parametrize("batch_size", [8, 512])
def test_operators_of_a_batch(dataset: Dataset, batch_size: int) -> None:
    epoch = make(dataset, batch_size).epoch(0)
    next(epoch)
    with Counting() as counting:
        next(epoch)
    kernels = {name: calls for name, calls in counting.found.items() if name not in VIEWS}
    assert kernels == KERNELS_PER_BATCH


def test_bytes_of_a_frame(dataset: Dataset) -> None:
    batches = make(dataset, 8)
    next(batches.epoch(0))
    assert batches._resident is not None
    block: DeviceBlock = batches._resident[1]
    num_frames = int(dataset.num_frames_per_game[batches.windows.games].sum())
    assert block.words.nbytes == num_frames * ROW.num_bytes
    flag_bytes = -(-len(LAYOUT.flag_bits) // 8)
    numbers = 4 * (len(LAYOUT.numbers) + len(LAYOUT.pad_numbers))
    values = 2 * (numbers + 2 * len(LAYOUT.categories) + flag_bytes + 1)
    assert values <= ROW.num_bytes < values + 8
    assert ROW.num_bytes == 200, "the rows' size is a decision: say in the changelog when it changes"
