"""The table of the frames of moves: one place a frame, nothing where the replay lacks it."""

from __future__ import annotations

import pytest
import torch
from frames_at_random import random_frames

from worldmodel.nn.frames import State
from worldmodel.nn.moves import MoveTable
from worldmodel.schema import LAYOUT, NUMBERS

AGE = LAYOUT.number("state_age")
CODES = [LAYOUT.category("character"), LAYOUT.category("action_state")]


@pytest.fixture(scope="module")
def moves() -> MoveTable:
    torch.manual_seed(0)
    return MoveTable(4096)


def other(state: State, *, age: float = 0.0, code: int | None = None) -> State:
    """The same with another age, or another code of one category."""
    numbers, codes = state.numbers.clone(), state.categories.clone()
    numbers[..., AGE] += age
    if code is not None:
        codes[..., code] = (codes[..., code] + 1) % 20
    return State(numbers, codes, state.flags)


def test_a_frame_of_a_move_has_a_place_of_its_own(moves: MoveTable) -> None:
    states, _, context = random_frames(4, 8)
    states.numbers[..., AGE] = states.numbers[..., AGE].clamp(0, 90).floor()
    base = moves(states, context)
    numbers = torch.rand_like(states.numbers)
    numbers[..., AGE] = states.numbers[..., AGE]
    codes = torch.ones_like(states.categories)
    codes[..., CODES] = states.categories[..., CODES]
    assert torch.equal(moves(State(numbers, codes, ~states.flags), context), base), "nothing else matters"
    assert torch.equal(moves(other(states, age=0.4), context), base), "ages within a frame are one"
    for changed in (other(states, age=1.0), *(other(states, code=code) for code in CODES)):
        assert (moves(changed, context) != base).any(-1).float().mean() > 0.9


def test_ages_beyond_the_last_are_one(moves: MoveTable) -> None:
    states, _, context = random_frames(2, 4)
    states.numbers[..., AGE] = NUMBERS[AGE].buckets + 3.0
    assert torch.equal(moves(states, context), moves(other(states, age=500.0), context))


def test_what_a_replay_lacks_has_no_vector(moves: MoveTable) -> None:
    states, _, context = random_frames(3, 5, missing=True)
    lacks = ~context.present_numbers[:, AGE] | ~context.present_categories[:, CODES].all(-1)
    assert lacks.any()
    assert not lacks.all()
    vectors = moves(states, context)
    assert (vectors[lacks] == 0).all()
    assert (vectors[~lacks] != 0).all()


def test_what_was_seen_is_learned_and_nothing_else(moves: MoveTable) -> None:
    states, _, context = random_frames(2, 3)
    moves(states, context).sum().backward()
    assert moves.table.weight.grad is not None
    touched = moves.table.weight.grad.abs().sum(-1) > 0
    assert 1 <= int(touched.sum()) <= 2 * 3 * 2
