"""Events on tensors and on columns at rest are the same, and what a replay cannot tell is unknown, not absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from frames_at_random import random_frames

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.events import events_of, known_events
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dynamics import events
from worldmodel.nn.frames import DeviceBlock, aligned
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate
from worldmodel.schema.events import EVENTS

NAMES = list(EVENTS)


def on_tensors(dataset: Dataset, number: int) -> tuple[np.ndarray, np.ndarray]:
    block = DeviceBlock.from_block(load_block(dataset, [number]))
    states, pads, context = block.gather(torch.tensor([[0, 0]]), int(dataset.num_frames_per_game[number]))
    previous, _, now = aligned(states, pads)
    return events.events_between(previous, now, context)[0].numpy(), events.known_events(context)[0].numpy()


def assert_agree(dataset: Dataset) -> np.ndarray:
    """Returns how often each event was known to happen."""
    total = np.zeros(len(NAMES), np.int64)
    for number in range(dataset.num_games):
        happened, known = events_of(dataset.game(number))
        on_device, known_on_device = on_tensors(dataset, number)
        np.testing.assert_array_equal(happened[1:], on_device)
        np.testing.assert_array_equal(known, known_on_device)
        assert not happened[0].any()
        assert not happened[..., ~known].any()
        total += happened.sum((0, 1))
    return total


def made(folder: Path, version: tuple[int, int, int], num_games: int) -> Dataset:
    replays = folder / "replays"
    replays.mkdir(parents=True)
    rules = Rules(stocks=2, max_frames=1500)
    for name, data in generate(num_games, 3, rules=rules, version=version):
        (replays / name).write_bytes(data)
    ingest(iter_sources([replays]), folder / "dataset", filters=(), min_frames=1, workers=1)
    return open_dataset(folder / "dataset")


def test_synthetic_games(tmp_path: Path) -> None:
    dataset = made(tmp_path, (3, 14, 0), 4)
    found = dict(zip(NAMES, assert_agree(dataset).tolist(), strict=True))
    assert known_events(dataset.game(0)).all()
    assert min(found["hit"], found["landing"]) > 0, found


def test_what_a_version_lacks_is_unknown(tmp_path: Path) -> None:
    """Slippi before 2.0 does not say who is in the air: nobody knows of a landing, everybody of a death."""
    dataset = made(tmp_path, (1, 5, 0), 2)
    assert_agree(dataset)
    known = dict(zip(NAMES, known_events(dataset.game(0)).tolist(), strict=True))
    assert [name for name, is_known in known.items() if not is_known] == ["landing"]


def test_sequences_know_for_themselves() -> None:
    states, pads, context = random_frames(3, 20, missing=True)
    previous, _, now = aligned(states, pads)
    happened, known = events.events_between(previous, now, context), events.known_events(context)
    assert happened.shape == (3, 19, 2, len(NAMES))
    at = NAMES.index("landing")
    assert known[:, at].tolist() == [True, False, True]
    assert happened[[0, 2]][..., at].any()
    assert not happened[1][..., at].any()
    assert known[:, NAMES.index("death")].all()
    one_row = events.events_between(previous[:, 4], now[:, 4], context)  # (B,2,·) as well
    assert torch.equal(one_row, happened[:, 4])


@pytest.mark.replays
def test_real_games(real_replays: Path, tmp_path: Path) -> None:
    files = sorted((real_replays / "train").rglob("*.slp"))
    ingest(iter_sources(files[:: len(files) // 6]), tmp_path / "dataset", workers=1)
    found = assert_agree(open_dataset(tmp_path / "dataset"))
    assert (found > 0).all(), dict(zip(NAMES, found.tolist(), strict=True))
