"""Pads as agents give them become pads as controllers give them, and those stay what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.env.controller import NUM_BUTTONS, NUM_PAD_NUMBERS, TRIGGER, button, pad_number, settle
from worldmodel.melee.pad import stick_grid, trigger_grid
from worldmodel.nn.frames import DeviceBlock, Pads
from worldmodel.replays.source import iter_sources


def pads(**given_values: float | bool) -> Pads:
    """One pad: axes by role, buttons by name."""
    numbers, buttons = torch.zeros(1, NUM_PAD_NUMBERS), torch.zeros(1, NUM_BUTTONS, dtype=torch.bool)
    for name, value in given_values.items():
        if isinstance(value, bool):
            buttons[0, button(name)] = value
        else:
            numbers[0, pad_number(name)] = value
    return Pads(numbers, buttons)


def heard(role: str, **given_values: float | bool) -> float:
    return float(settle(pads(**given_values)).numbers[0, pad_number(role)])


def test_grid_dead_zone_and_circle() -> None:
    assert heard("stick_x", stick_x=22 / 80) == 0.0
    assert heard("stick_x", stick_x=23 / 80) == np.float32(23 / 80)
    assert heard("cstick_y", cstick_y=-0.51) == np.float32(-41 / 80)
    assert heard("stick_x", stick_x=7.0) == 1.0
    # Outside the circle: drawn in, and cut towards the middle. 80 / sqrt(2) is 56.57.
    assert heard("stick_x", stick_x=1.0, stick_y=-1.0) == np.float32(56 / 80)
    assert heard("stick_y", stick_x=1.0, stick_y=-1.0) == np.float32(-56 / 80)
    assert heard("stick_y", stick_x=0.6, stick_y=0.8) == np.float32(0.8)  # on the circle: as it is


def test_triggers_and_z() -> None:
    assert heard("trigger", trigger=42 / 140) == 0.0
    assert heard("trigger", trigger=43 / 140) == np.float32(43 / 140)
    assert heard("trigger", trigger=0.4, l=True) == 1.0
    assert heard("trigger", r=True, z=True) == np.float32(0.35)
    assert bool(settle(pads(z=True)).buttons[0, button("a")])
    assert not bool(settle(pads(x=True)).buttons[0, button("a")])


def test_no_number_is_an_untouched_stick() -> None:
    assert heard("stick_x", stick_x=float("nan")) == 0.0
    assert heard("stick_x", stick_x=float("-inf")) == -1.0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1.5, 1.5, width=32), min_size=5, max_size=5), st.lists(st.booleans(), min_size=8, max_size=8)
)
def test_settling_twice_is_settling_once(numbers: list[float], buttons: list[bool]) -> None:
    given_pads = Pads(torch.tensor([numbers]), torch.tensor([buttons]))
    once = settle(given_pads)
    twice = settle(once)
    assert torch.equal(once.numbers, twice.numbers)
    assert torch.equal(once.buttons, twice.buttons)
    steps = once.numbers[0, :4].double() * 80
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert float(steps[0] ** 2 + steps[1] ** 2) <= 6400.001
    assert 0 <= float(once.numbers[0, TRIGGER]) <= 1


@pytest.mark.parametrize("steps", range(-56, 57))
def test_inside_the_circle_it_is_the_grid_of_the_facts(steps: int) -> None:
    """Anywhere around a step but at the ties, where float32 may round either way."""
    for around in (-0.4, 0.0, 0.4):
        value = (steps + around) / 80
        assert heard("stick_x", stick_x=value, stick_y=-value) == np.float32(stick_grid(value))
        assert heard("stick_y", stick_x=-value, stick_y=value) == np.float32(stick_grid(value))
        trigger = (abs(steps) + around) / 140
        assert heard("trigger", trigger=trigger) == np.float32(trigger_grid(trigger))


def unchanged(dataset: Dataset) -> int:
    """Number of pads, all of which settling leaves as they are."""
    block = load_block(dataset, dataset.rows())
    whole = DeviceBlock.from_block(block)
    num_pads = 0
    for game in range(len(block.games)):
        begin, end = (int(row) for row in block.offsets[game : game + 2])
        _, real, _ = whole.gather(torch.tensor([[game, 0]]), end - begin)
        settled = settle(real)
        assert torch.equal(settled.numbers, real.numbers)
        assert torch.equal(settled.buttons, real.buttons)
        num_pads += 2 * (end - begin)
    return num_pads


@pytest.mark.replays
def test_pads_of_real_replays_pass_unchanged(real_replays: Path, tmp_path: Path) -> None:
    files = sorted((real_replays / "train").rglob("*.slp"))[:4]
    ingest(iter_sources(files), tmp_path / "dataset", workers=1)
    assert unchanged(open_dataset(tmp_path / "dataset")) > 20_000
