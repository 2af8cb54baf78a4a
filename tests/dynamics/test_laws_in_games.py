"""Whole games keep the laws: generated ones always, the real ones where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.nn.frames import DeviceBlock, State, aligned
from worldmodel.nn.laws import Laws
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.schema import CATEGORIES, LAYOUT
from worldmodel.schema.laws import DEAD

LAWS = Laws()


def counted(states: State) -> Tensor:
    """(T,2): what `Mortality.count` comes to in each row of a whole game (1,T,2,·), worked out at once."""
    action = LAYOUT.category("action_state")
    dead = states.categories[0, ..., action] <= DEAD[-1] + CATEGORIES[action].offset
    assert not dead[0].any(), "games begin alive"
    row = torch.arange(len(dead))[:, None].expand_as(dead)
    last_alive = torch.where(dead, 0, row).cummax(0).values
    return (row - last_alive + 1).to(states.numbers.dtype)


def deaths_of(dataset: Dataset, game: int) -> int:
    """How often somebody dies in a game, of which the laws would change nothing."""
    block = load_block(dataset, [game])
    states, pads, context = DeviceBlock.from_block(block).gather(torch.tensor([[0, 0]]), block.num_frames)
    previous, _, following = aligned(states, pads)
    counts = counted(previous)
    before, after = (State(*(getattr(part, name)[0] for name in State.__slots__)) for part in (previous, following))
    wide = context.map(lambda tensor: tensor.expand(len(counts), *tensor.shape[1:]))
    kept = LAWS(before, after, wide, counts)
    for name in State.__slots__:
        assert torch.equal(getattr(kept, name), getattr(after, name)), (game, name)
    return int((counts == 2).sum())


def test_generated_games_keep_them(tmp_path: Path) -> None:
    write_games(tmp_path / "replays", 4, 3, rules=Rules(stocks=4, max_frames=6000))
    ingest(iter_sources([tmp_path / "replays"]), tmp_path / "dataset", workers=1)
    dataset = open_dataset(tmp_path / "dataset")
    assert sum(deaths_of(dataset, game) for game in range(dataset.num_games)) > 10


@pytest.mark.replays
@pytest.mark.slow
def test_real_games_keep_them(real_replays, tmp_path: Path) -> None:
    ingest(iter_sources([real_replays / "train"]), tmp_path / "dataset")
    dataset = open_dataset(tmp_path / "dataset")
    assert sum(deaths_of(dataset, game) for game in range(dataset.num_games)) > 1000
