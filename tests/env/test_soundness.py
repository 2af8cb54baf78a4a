"""Whatever a model says and whoever holds the pads, a frame is one that the schema allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from frames_at_random import random_frames

from worldmodel.dynamics.policies import policies
from worldmodel.env.setup import make_matches
from worldmodel.env.soundness import impossible
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT

STOCKS, PERCENT = LAYOUT.number("stocks"), LAYOUT.number("percent")
ACTION_STATE = LAYOUT.category("action_state")


def set_number(place: int, value: float) -> Callable[[State], None]:
    def change(state: State) -> None:
        state.numbers[2, 1, place] = value

    return change


def come_back(state: State) -> None:
    state.numbers[2, 1, PERCENT], state.categories[2, 1, ACTION_STATE] = 0, 12


def set_code(value: int) -> Callable[[State], None]:
    def change(state: State) -> None:
        state.categories[2, 1, ACTION_STATE] = value

    return change


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (set_number(PERCENT, float("nan")), {"not_finite"}),
        (set_number(PERCENT, float("inf")), {"not_finite", "out_of_bounds"}),
        (set_number(PERCENT, -0.5), {"out_of_bounds", "against_the_law"}),
        (set_number(STOCKS, 2.5), {"not_whole", "undead"}),
        (set_number(STOCKS, 4.0), {"against_the_law"}),
        (set_number(STOCKS, 1.0), {"against_the_law", "undead"}),
        (set_number(PERCENT, 20.0), {"against_the_law"}),
        (come_back, set()),
        (set_code(-1), {"no_such_code"}),
        (set_code(400), {"no_such_code"}),
    ],
)
def test_each_rule_finds_what_it_is_for(change: Callable[[State], None], rules: set[str]) -> None:
    states, _, _ = random_frames(4, 1, seed=2)
    before = states[:, 0]
    before.numbers[..., STOCKS], before.numbers[..., PERCENT] = 3, 40
    before.categories[..., ACTION_STATE] = 14
    after = before.map(torch.clone)
    assert not any(bool(mask.any()) for mask in impossible(before, after).values())
    change(after)
    found = impossible(before, after)
    assert {name for name, mask in found.items() if mask.any()} == rules
    assert all(mask.sum() == 1 and bool(mask[2, 1]) for name, mask in found.items() if name in rules)


def broken_rules(model: WorldModel, name: str, num_frames: int, *, temperature: float | None) -> dict[str, int]:
    """Player-frames that break a rule, of 64 matches of `num_frames` frames each."""
    matches = make_matches(model, 64, temperature=temperature, max_frames=300, characters=[("Fox", "Marth")])
    before, chances, broken = matches.reset(0), torch.Generator().manual_seed(0), {}
    hold = policies()[name]
    for _ in range(num_frames):
        outcome = matches.step(hold(matches.state, matches.frames, chances))
        for rule, mask in impossible(before, outcome.state).items():
            broken[rule] = broken.get(rule, 0) + int((mask & ~outcome.began[:, None]).sum())
        before = outcome.state
    return broken


@pytest.mark.parametrize("name", ["random", "approach"])
def test_a_model_that_knows_nothing(dreamer: WorldModel, name: str) -> None:
    broken = broken_rules(dreamer, name, 40, temperature=1.0)
    assert not any(broken.values()), broken


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("temperature", [None, 1.0, 3.0])
@pytest.mark.parametrize("name", ["random", "extreme", "approach"])
def test_hundreds_of_thousands_of_frames(dreamer: WorldModel, name: str, temperature: float | None) -> None:
    """The whole million on a trained model: `benchmarks/env.py --million RUN`."""
    broken = broken_rules(dreamer, name, 600, temperature=temperature)
    assert not any(broken.values()), broken
