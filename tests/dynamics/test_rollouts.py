"""Closed loop: the same as stepping by hand, forkable, and naive baselines do what they say."""

from __future__ import annotations

import pytest
import torch
from frames_at_random import random_frames

from worldmodel.dynamics.moment import flat_carried
from worldmodel.dynamics.rollout import burn_in, rollout
from worldmodel.dynamics.step import advance
from worldmodel.models.base import architectures, make_model
from worldmodel.nn.frames import State, aligned
from worldmodel.schema import CATEGORIES, LAYOUT, STAGE
from worldmodel.schema.laws import AWAY, DEAD_BELOW, REBIRTH

SMALL = {
    "mamba2": {"d_model": 32, "n_layers": 2, "d_state": 8, "headdim": 16},
    "mlp": {"context_len": 4, "d_token": 16, "hidden_dim": 32, "trunk_dim": 24},
}


def build(arch: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return make_model({"arch": arch, **SMALL.get(arch, {})}).double().eval()


def assert_equal(one: State, other: State) -> None:
    assert torch.equal(one.numbers, other.numbers)
    assert torch.equal(one.categories, other.categories)
    assert torch.equal(one.flags, other.flags)


@pytest.mark.parametrize("arch", architectures())
@pytest.mark.parametrize("num_rows", [1, 2, 6])
def test_rollout_is_stepping_by_hand(arch: str, num_rows: int) -> None:
    """Token t of the loop holds the frame before and the pads of t, as in `aligned`."""
    model = build(arch)
    states, pads, context = random_frames(3, 12, dtype=torch.float64, missing=True)
    history, last = burn_in(model, states[:, :num_rows], pads[:, :num_rows], context)
    assert_equal(last, states[:, num_rows - 1])
    dream = rollout(model, history, last, pads[:, num_rows:], context)
    assert dream.numbers.shape == states.numbers[:, num_rows:].shape
    with torch.no_grad():
        carried, state = model.init_state(3), states[:, 0]
        for t in range(1, 12):
            prediction, carried = model.step(state, pads[:, t], context, carried)
            state = advance(state, prediction, context, model.rules) if t >= num_rows else states[:, t]
            if t >= num_rows:
                torch.testing.assert_close(state.numbers, dream.numbers[:, t - num_rows], rtol=1e-9, atol=1e-9)
                assert torch.equal(state.categories, dream.categories[:, t - num_rows])


@pytest.mark.parametrize("arch", architectures())
def test_a_model_is_shown_the_last_tokens_and_nothing_else(arch: str) -> None:
    model = build(arch)
    states, pads, context = random_frames(3, 9, dtype=torch.float64)
    for tokens in (0, 1, 5, 8):
        (shown, _), last = burn_in(model, states, pads, context, tokens=tokens)
        cut = slice(8 - tokens, None)
        (alone, _), same = burn_in(model, states[:, cut], pads[:, cut], context)
        assert_equal(last, same)
        for one, other in zip(flat_carried(shown), flat_carried(alone), strict=True):
            assert torch.equal(one, other)


def test_a_model_cannot_be_shown_more_than_there_is() -> None:
    states, pads, context = random_frames(2, 4, dtype=torch.float64)
    for tokens in (-1, 4, 9):
        with pytest.raises(ValueError, match=f"{tokens} tokens of a history of 4 rows"):
            burn_in(build("copy_last"), states, pads, context, tokens=tokens)


def test_the_dead_are_counted_over_more_than_a_model_is_shown() -> None:
    """Who has been dead for 40 rows comes back after 20 more, whatever the model saw of it."""
    model = build("copy_last")
    states, pads, context = random_frames(1, 80, dtype=torch.float64)
    action, stocks = LAYOUT.category("action_state"), LAYOUT.number("stocks")
    states.categories[..., action] = 14 + CATEGORIES[action].offset
    states.categories[:, 10:, 0, action] = DEAD_BELOW + CATEGORIES[action].offset
    states.numbers[..., stocks] = 2
    context.stage[:] = 31 + STAGE.offset
    before = slice(50)
    carried, last = burn_in(model, states[:, before], pads[:, before], context, tokens=3)
    dream = rollout(model, carried, last, pads[:, 50:], context)
    back = dream.categories[0, :, 0, action] == REBIRTH + CATEGORIES[action].offset
    assert back.nonzero()[0].item() == AWAY[DEAD_BELOW].rows - 40
    assert not (dream.categories[0, :, 1, action] == REBIRTH + CATEGORIES[action].offset).any()
    carried, last = burn_in(model, states[:, 46:50], pads[:, 46:50], context)
    dream = rollout(model, carried, last, pads[:, 50:], context)
    assert not (dream.categories[0, :, 0, action] == REBIRTH + CATEGORIES[action].offset).any(), (
        "nobody knows since when"
    )


@pytest.mark.parametrize("arch", architectures())
def test_rollouts_fork(arch: str) -> None:
    model = build(arch)
    states, pads, context = random_frames(2, 10, dtype=torch.float64)
    history, last = burn_in(model, states[:, :4], pads[:, :4], context)
    one = rollout(model, history, last, pads[:, 4:], context)
    rollout(model, history, last, pads[:, 4:].map(lambda t: t.flip(1)), context)
    assert_equal(rollout(model, history, last, pads[:, 4:], context), one)
    assert not one.numbers.requires_grad


@pytest.mark.parametrize("arch", ["mamba2", "mlp"])
def test_drawn_rollouts_follow_their_seed(arch: str) -> None:
    model = build(arch)
    states, pads, context = random_frames(2, 10, dtype=torch.float64)
    history, last = burn_in(model, states[:, :4], pads[:, :4], context)

    def draw(seed: int) -> State:
        g = torch.Generator().manual_seed(seed)
        return rollout(model, history, last, pads[:, 4:], context, temperature=1.0, generator=g)

    assert_equal(draw(0), draw(0))
    assert not torch.equal(draw(0).flags, draw(1).flags)


def test_copy_last_stands_still() -> None:
    states, pads, context = random_frames(2, 8, dtype=torch.float64, missing=True)
    model = build("copy_last")
    carried, last = burn_in(model, states[:, :2], pads[:, :2], context)
    dream = rollout(model, carried, last, pads[:, 2:], context)
    for t in range(6):
        torch.testing.assert_close(dream.numbers[:, t], last.numbers, rtol=0, atol=1e-10)
        assert torch.equal(dream.categories[:, t], last.categories)
        assert torch.equal(dream.flags[:, t], last.flags)


def test_ballistic_flies_on() -> None:
    states, pads, context = random_frames(2, 8, dtype=torch.float64)
    place = LAYOUT.number
    numbers = states.numbers.clone()
    numbers[..., place("position_x")] = 0
    numbers[..., place("velocity_x")], numbers[..., place("knockback_x")] = 2, -0.5
    numbers[..., place("hitlag")] = 3
    numbers[..., place("position_y")] = 0
    codes = states.categories.clone()
    codes[..., LAYOUT.category("action_state")] = 14  # alive, and staying so
    states = State(numbers, codes, torch.ones_like(states.flags))  # in the air too
    model = build("ballistic")
    carried, last = burn_in(model, states[:, :1], pads[:, :1], context)
    dream = rollout(model, carried, last, pads[:, 1:5], context).numbers[0, :, 0]
    assert dream[:, place("position_x")].tolist() == [1.5, 3, 4.5, 6]
    assert dream[:, place("velocity_x")].tolist() == [2, 2, 2, 2]
    assert dream[:, place("hitlag")].tolist() == [2, 1, 0, 0]
    ages = dream[:, place("state_age")] - last.numbers[0, 0, place("state_age")]
    torch.testing.assert_close(ages, torch.tensor([1.0, 2, 3, 4], dtype=torch.float64))
    # One step ahead it is what `desired` says, through the same transition as any model.
    previous, now, _ = aligned(states, pads)
    after = advance(previous, model(previous, now, context), context, model.rules)
    torch.testing.assert_close(after.numbers, model.desired(previous).numbers, rtol=0, atol=1e-12)
