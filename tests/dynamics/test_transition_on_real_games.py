"""Real games: the transition, fed the truth, writes them down again, and the naive baselines err as the game does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import open_dataset
from worldmodel.dynamics.step import advance, truth
from worldmodel.models.base import make_model
from worldmodel.nn.codec import Rules
from worldmodel.nn.frames import Context, DeviceBlock, Pads, State, aligned
from worldmodel.replays.source import iter_sources
from worldmodel.schema import LAYOUT

pytestmark = pytest.mark.replays
NUM_GAMES = 4
ROWS = 500
"""At a time: logits of whole games are large."""

Game = tuple[State, Pads, Context]


@pytest.fixture(scope="module")
def games(real_replays, tmp_path_factory: pytest.TempPathFactory) -> list[Game]:
    files = sorted((real_replays / "train").rglob("*.slp"))
    out: Path = tmp_path_factory.mktemp("games") / "dataset"
    ingest(iter_sources(files[:: len(files) // NUM_GAMES]), out, workers=1)
    return list(whole_games(out))


def whole_games(path: Path) -> Iterator[Game]:
    dataset = open_dataset(path)
    block = load_block(dataset, np.arange(len(dataset.games)))
    on_device = DeviceBlock.from_block(block)
    for index, num_frames in enumerate(np.diff(block.offsets).tolist()):
        yield on_device.gather(torch.tensor([[index, 0]]), num_frames)


@pytest.mark.parametrize("kind", ["residual", "card"])
def test_fed_the_truth_it_reproduces_real_games(games: list[Game], kind: str) -> None:
    rules = Rules(kind).double()
    assert len(games) >= NUM_GAMES
    for states, pads, context in games:
        for first in range(0, states.numbers.shape[1] - 1, ROWS - 1):
            rows = slice(first, first + ROWS)
            previous, _, following = aligned(states[:, rows].double(), pads[:, rows])
            again = advance(previous, truth(previous, following, rules), context, rules)
            torch.testing.assert_close(again.numbers, following.numbers, rtol=0, atol=1e-12)
            assert torch.equal(again.categories, following.categories)
            assert torch.equal(again.flags, following.flags)


def test_the_priors_hold_in_most_real_frames(games: list[Game]) -> None:
    """Facts that the codec stands on: bodies move by the velocities after the step; ages tick, and restart."""
    rules = Rules("residual")
    shares = []
    for states, pads, _ in games:
        previous, _, following = aligned(states, pads)
        _, difference = rules.encode(previous, following)
        shares.append((difference.abs() <= rules.gate.clamp(min=2e-3)).float().mean((0, 1, 2)))
    share = torch.stack(shares).mean(0)
    for role, least in (("position_x", 0.85), ("position_y", 0.85), ("state_age", 0.72), ("hitlag", 0.97)):
        assert share[LAYOUT.number(role)] > least


def test_flying_on_beats_standing_still(games: list[Game]) -> None:
    places = [LAYOUT.number("position_x"), LAYOUT.number("position_y")]
    errors = {}
    for arch in ("copy_last", "ballistic"):
        model = make_model({"arch": arch})
        total = []
        for states, pads, context in games:
            previous, now, following = aligned(states[:, 1000 : 1000 + ROWS], pads[:, 1000 : 1000 + ROWS])
            after = advance(previous, model(previous, now, context), context, model.rules)
            total.append((after.numbers - following.numbers)[..., places].abs().mean())
        errors[arch] = float(torch.stack(total).mean())
    assert errors["ballistic"] < 0.5 * errors["copy_last"]
