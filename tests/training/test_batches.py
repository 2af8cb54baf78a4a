"""Batches: lanes of one stream each, whatever the blocks, the processes, the placement and wherever one begins."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.dataset.blocks import Block, load_block
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.windows import Windows
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, DeviceBlock
from worldmodel.schema import LAYOUT
from worldmodel.training import batches as module
from worldmodel.training import tier
from worldmodel.training.batches import Batch, Batches

BLOCK_FRAMES = [1, 1000, 10**9]


def make(
    dataset: Dataset, *, batch_size: int = 48, lanes: int = 8, block_frames: int, stride: int = 7, **options: Any
) -> Batches:
    games = dataset.rows("train")
    lengths = dataset.num_frames_per_game[games]
    windows = Windows(lengths, games=games, rows=9, stride=stride, seed=3, block_frames=block_frames)
    return Batches(dataset, windows, batch_size, torch.device("cpu"), lanes=lanes, **options)


def tensors(batch: Batch) -> list[torch.Tensor]:
    states, pads, context = batch
    return [getattr(part, name) for part in (states, pads, context) for name in part.__dataclass_fields__]


def assert_same(found: list[Batch], wanted: list[Batch]) -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def side_by_side(parts: list[list[Batch]]) -> list[list[torch.Tensor]]:
    """The batches of several processes, as one."""
    return [
        [torch.cat(group) for group in zip(*map(tensors, batch), strict=True)] for batch in zip(*parts, strict=True)
    ]


def is_filler(context: Context) -> torch.Tensor:
    return ~torch.cat([context.present_numbers, context.present_categories, context.present_flags], 1).any(1)


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
@pytest.mark.parametrize(("batch_size", "lanes"), [(48, 8), (50, 1), (6, 3)])
def test_an_epoch_is_the_windows_of_all_lanes_in_their_order(
    dataset: Dataset, block_frames: int, batch_size: int, lanes: int
) -> None:
    batches = make(dataset, batch_size=batch_size, lanes=lanes, block_frames=block_frames)
    windows = batches.windows
    streams: list[list[tuple[int, int]]] = [[] for _ in range(lanes)]
    for block, (lane, stream) in itertools.product(windows.blocks(1), enumerate(streams)):
        hand = block.hand(lanes, lane, 1)
        stream += [(int(hand.games[g]), int(row)) for g, row in hand.starts]
    found = list(batches.epoch(1))
    assert len(found) == batches.num_per_epoch == -(-windows.num_windows // batch_size)
    percent, num_filler = LAYOUT.number("percent"), 0
    for k, (states, _, context) in enumerate(found):
        assert states.numbers.shape[:2] == (batch_size, 9)
        for slot, filler in enumerate(is_filler(context).tolist()):
            lane, place = slot // batches.lane_size, k * batches.lane_size + slot % batches.lane_size
            assert filler == (place >= len(streams[lane]))
            num_filler += filler
            game, row = streams[lane][min(place, len(streams[lane]) - 1)]
            column = dataset.game(game)["p1.percent"][row : row + 9]
            assert np.array_equal(states.numbers[slot, :, 1, percent].numpy(), column)
            if slot % 7 == 0:
                assert batches.locate(1, k, slot) == (None if filler else (game, row))
    assert num_filler == batches.num_per_epoch * batch_size - windows.num_windows


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
@pytest.mark.parametrize("world", [2, 4, 8])
def test_any_number_of_processes_makes_the_same_batches(dataset: Dataset, block_frames: int, world: int) -> None:
    alone = make(dataset, block_frames=block_frames)
    team = [make(dataset, block_frames=block_frames, team_rank=rank, team_world=world) for rank in range(world)]
    assert [(part.first_slot, part.local_size) for part in team] == [
        (48 // world * r, 48 // world) for r in range(world)
    ]
    for epoch, first in ((0, 0), (1, 0), (2, 3), (2, alone.num_per_epoch - 1)):
        parts = side_by_side([list(part.epoch(epoch, first_batch=first)) for part in team])
        whole = [tensors(batch) for batch in alone.epoch(epoch, first_batch=first)]
        assert len(whole) == alone.num_per_epoch - first
        for a, b in zip(parts, whole, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
@pytest.mark.parametrize("first", [1, 3, 7])
def test_beginning_in_the_middle(dataset: Dataset, block_frames: int, first: int) -> None:
    batches = make(dataset, block_frames=block_frames)
    assert_same(list(batches.epoch(0, first_batch=first)), list(batches.epoch(0))[first:])


def test_past_the_end_there_is_nothing(dataset: Dataset) -> None:
    batches = make(dataset, block_frames=1000)
    assert list(batches.epoch(0, first_batch=batches.num_per_epoch)) == []
    with pytest.raises(ValueError, match="batch"):
        batches.locate(0, batches.num_per_epoch, 0)


@pytest.mark.parametrize("world", [1, 8])
def test_fewer_windows_than_a_batch(dataset: Dataset, world: int) -> None:
    team = [
        make(dataset, batch_size=2**14, block_frames=1000, team_rank=rank, team_world=world) for rank in range(world)
    ]
    (only,) = side_by_side([list(part.epoch(0)) for part in team])
    assert only[0].shape[0] == team[0].size == 2**14
    assert (~torch.cat(only[-3:], 1).any(1)).sum() == 2**14 - team[0].windows.num_windows


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
@pytest.mark.parametrize("world", [1, 2, 8])
def test_lanes_without_any_window(dataset: Dataset, block_frames: int, world: int) -> None:
    """Three games of one window each, eight lanes."""
    games = dataset.rows("train")[:3]
    lengths = dataset.num_frames_per_game[games]
    windows = Windows(lengths, games=games, rows=9, stride=10**6, seed=3, block_frames=block_frames)
    team = [
        Batches(dataset, windows, 16, torch.device("cpu"), lanes=8, team_rank=rank, team_world=world)
        for rank in range(world)
    ]
    (only,) = side_by_side([list(part.epoch(0)) for part in team])
    real = torch.cat(only[-3:], 1).any(1)
    assert real.nonzero().flatten().tolist() == [0, 2, 4]
    assert not only[0][6:].any()
    assert only[0][0].equal(only[0][1])


def test_epochs_differ(dataset: Dataset) -> None:
    batches = make(dataset, block_frames=10**9)
    first, second = (torch.cat([b[0].numbers for b in batches.epoch(epoch)]) for epoch in (0, 1))
    assert not torch.equal(first, second)


def test_what_fits_is_read_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[int]] = []
    monkeypatch.setattr(module, "load_block", lambda ds, games: (read.append(games.tolist()), load_block(ds, games))[1])
    batches = make(dataset, block_frames=10**9)
    for epoch in range(3):
        for _ in batches.epoch(epoch, first_batch=epoch):
            pass
    assert read == [batches.windows.games.tolist()]
    assert not batches.tier.streamed
    assert "all windows shuffled among each other" in batches.tier.describe()


def test_a_process_reads_the_games_of_its_lanes(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(module, "load_block", lambda ds, games: (read.append(len(games)), load_block(ds, games))[1])
    for rank in range(4):
        list(make(dataset, block_frames=10**9, team_rank=rank, team_world=4).epoch(0))
    num_games = len(make(dataset, block_frames=1).windows.games)
    assert sum(read) <= num_games + 3
    assert max(read) < num_games / 2


def test_processes_that_cannot_share_the_lanes_are_refused(dataset: Dataset) -> None:
    with pytest.raises(WrongUse, match=r"3 processes for 8 lanes.*data\.lanes"):
        make(dataset, block_frames=1000, team_world=3)


class Numbered:
    """A dataset without a disk, whose every frame says (game, row) in its first two words."""

    def __init__(self, lengths: list[int]) -> None:
        self.num_frames_per_game = np.array(lengths, np.int64)

    def load(self, games: np.ndarray) -> Block:
        block = Block.zeros(games, self.num_frames_per_game[games])
        words = block.rows.view(np.int64)
        words[:, 0] = np.repeat(games, self.num_frames_per_game[games])
        words[:, 1] = np.arange(len(words)) - np.repeat(block.offsets[:-1], self.num_frames_per_game[games])
        block.present_numbers[:] = True
        return block


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    rows=st.integers(1, 12),
    stride=st.integers(1, 9),
    block_frames=st.integers(1, 200),
    shape=st.sampled_from([(1, 1, 1), (4, 2, 2), (8, 8, 4), (12, 4, 2), (24, 8, 8), (6, 3, 3)]),
    data=st.data(),
)
def test_any_shape_of_games_blocks_and_lanes(
    lengths: list[int], rows: int, stride: int, block_frames: int, shape: tuple[int, int, int], data: st.DataObject
) -> None:
    batch_size, lanes, world = shape
    numbered: Any = Numbered(lengths)
    windows = Windows(numbered.num_frames_per_game, rows=rows, stride=stride, seed=1, block_frames=block_frames)
    wanted = sorted((int(b.games[g]), int(r)) for b in windows.blocks(1) for g, r in b.starts)

    def run(rank: int, world: int, first: int) -> list[tuple[np.ndarray, np.ndarray]]:
        cpu = torch.device("cpu")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "load_block", lambda dataset, games: dataset.load(games))
            made = Batches(numbered, windows, batch_size, cpu, lanes=lanes, team_rank=rank, team_world=world)
            found = list(made.epoch(1, first_batch=first))
        assert len(found) == max(0, made.num_per_epoch - first)
        # The first two words of a row are its first four numbers.
        return [
            (
                s.numbers[:, :, 0, :4].contiguous().view(torch.int64).view(-1, rows, 2).numpy(),
                is_filler(c).numpy(),
            )
            for s, _, c in found
        ]

    whole = run(0, 1, 0)
    seen = []
    for places, filler in whole:
        assert (places[:, :, 0] == places[:, :1, 0]).all()
        assert (np.diff(places[:, :, 1], axis=1) == (~filler | places[:, -1, 1].astype(bool))[:, None]).all()
        seen += [tuple(place) for place in places[~filler, 0].tolist()]
    assert sorted(seen) == wanted
    assert len(whole) == -(-len(wanted) // batch_size)
    first = data.draw(st.integers(0, max(0, len(whole) - 1)))
    parts = [run(rank, world, first) for rank in range(world)]
    for k, (places, filler) in enumerate(whole[first:]):
        assert np.array_equal(np.concatenate([part[k][0] for part in parts]), places)
        assert np.array_equal(np.concatenate([part[k][1] for part in parts]), filler)


# ---- reading ahead -----------------------------------------------------------------------------------------------


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks there were, each time that one was read."""
    blocks: list[weakref.ref[Block]] = []
    counts: list[int] = []

    class Kept(DeviceBlock):
        __slots__ = ("__weakref__",)

    def from_block(*arguments: Any, **options: Any) -> DeviceBlock:
        made = Kept.__mro__[1].from_block(*arguments, **options)
        kept = Kept(made.words, made.offsets, made.context, made.lookup)
        blocks.append(weakref.ref(kept))
        counts.append(sum(ref() is not None for ref in blocks))
        return kept

    fake = type("Fake", (), {"from_block": staticmethod(from_block)})
    monkeypatch.setattr(module, "DeviceBlock", fake)
    gc.collect()
    return counts


def block_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("blocks")]


def test_never_more_than_two_blocks(dataset: Dataset, alive: list[int]) -> None:
    batches = make(dataset, block_frames=1000)
    epoch = batches.epoch(0)
    next(epoch)
    until = time.monotonic() + 10
    while len(alive) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert alive == [1, 2]  # one in use, the next one ready, no third
    assert 1 + sum(1 for _ in epoch) == batches.num_per_epoch
    assert len(alive) == batches.tier.num_blocks > 3
    assert batches.tier.streamed
    assert max(alive) == 2
    assert "the next one read ahead" in batches.tier.describe()


def test_an_error_of_the_thread_is_raised_where_batches_are_taken(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def broken(ds: Dataset, games: np.ndarray) -> Block:
        if next(calls) == 2:
            raise WrongUse("a shard is broken", "a whole one", "ingest again")
        return load_block(ds, games)

    monkeypatch.setattr(module, "load_block", broken)
    with pytest.raises(WrongUse, match="a shard is broken") as caught:
        list(make(dataset, block_frames=1000).epoch(0))
    assert "broken" in [entry.name for entry in caught.traceback]
    assert not block_threads()


def test_leaving_early_ends_the_thread(dataset: Dataset) -> None:
    epoch = make(dataset, block_frames=1000).epoch(0)
    next(epoch)
    assert block_threads()
    epoch.close()  # type: ignore[attr-defined]
    assert not block_threads()


@pytest.mark.parametrize(("block_frames", "blocks_that_must_fit"), [(10**9, 1), (1000, 2)])
def test_blocks_lie_on_the_device_if_they_fit_with_room_to_spare(
    dataset: Dataset, block_frames: int, blocks_that_must_fit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = make(dataset, block_frames=block_frames)
    needed = batches.tier.block_bytes * blocks_that_must_fit / tier.DEVICE_SHARE
    for free_bytes, name in ((needed + 1000, "device"), (needed - 1000, "host")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free_bytes: (int(free), 0))
        found = tier.choose_tier(batches.windows, torch.device("cuda"))
        assert found.name == name
        assert f"{name} memory" in found.describe()
    assert tier.choose_tier(batches.windows, torch.device("cuda"), home="host").name == "host"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("block_frames", [1000, 10**9])
def test_placement_changes_nothing(dataset: Dataset, block_frames: int) -> None:
    wanted = list(make(dataset, block_frames=block_frames).epoch(0))
    for home in ("device", "host"):
        batches = make(dataset, block_frames=block_frames)
        there = Batches(dataset, batches.windows, 48, torch.device("cuda"), lanes=8, home=home)  # type: ignore[arg-type]
        for a, b in zip(there.epoch(0), wanted, strict=True):
            assert all(torch.equal(x.cpu(), y) for x, y in zip(tensors(a), tensors(b), strict=True))
