"""The codec: what enters a model, what leaves it, and the schema's arithmetic with its inverse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frames_at_random import NUM_N, random_frames

from worldmodel.nn.codec import GATE_CLOSED, PREDICTED, STAY_PROBABILITY, VOCABS, Embedder, Heads, Rules
from worldmodel.nn.frames import State, aligned
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS

KINDS = ("residual", "card")


def zeros() -> torch.Tensor:
    return torch.zeros(1, 2, NUM_N)


def closed(rules: Rules) -> torch.Tensor:
    return torch.zeros(1, 2, len(rules.gated), dtype=torch.bool)


def test_priors_by_hand() -> None:
    """A body at x = 10 that will move by 2 on its own and 3 by knockback; timers tick; the rest stays."""
    rules = Rules("residual")
    before = zeros()
    place = LAYOUT.number
    before[..., place("position_x")] = 10
    before[..., place("velocity_x")], before[..., place("knockback_x")] = 1, 3
    before[..., place("state_age")], before[..., place("hitlag")] = 4, 0.5
    before[..., place("stocks")] = 3
    outputs = zeros()
    outputs[..., place("velocity_x")] = 1.0 * rules.steps[place("velocity_x")]
    is_open = closed(rules)
    is_open[..., rules.gated.index(place("velocity_x"))] = True
    codes = torch.zeros(1, 2, len(CATEGORIES), dtype=torch.int64)
    frame = State(before, codes, torch.zeros(1, 2, len(LAYOUT.flag_bits), dtype=torch.bool))
    after = rules.decode(frame, codes, outputs, is_open)[0, 0]
    assert after[place("velocity_x")] == 2
    assert after[place("position_x")] == 15  # by the velocities after the step
    assert after[place("state_age")] == 5
    assert after[place("hitlag")] == 0  # not below
    assert after[place("stocks")] == 3
    # Another action state for p1: its count starts afresh, and only its.
    changed = codes.clone()
    changed[0, 1, LAYOUT.category("action_state")] = 14
    ages = rules.decode(frame, changed, outputs, is_open)[0, :, place("state_age")]
    assert ages.tolist() == [5, 0]


def test_projection_by_hand() -> None:
    rules = Rules("residual")
    numbers = torch.full((1, 2, NUM_N), 1e9)
    out = rules.project(numbers)
    assert torch.equal(out[0, 0], torch.tensor([codec.bounds[1] for codec in NUMBERS]))
    numbers[..., LAYOUT.number("stocks")] = 2.6
    assert rules.project(numbers)[0, 0, LAYOUT.number("stocks")] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_decode_never_gives_a_non_finite_number(kind: str) -> None:
    rules = Rules(kind)
    for bad in (float("nan"), float("inf"), float("-inf")):
        is_open = torch.ones(1, 2, len(rules.gated), dtype=torch.bool)
        states, _, _ = random_frames(1, 1)
        assert rules.decode(states[:, 0], states.categories[:, 0], zeros() + bad, is_open).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_embedder_does_not_see_what_is_missing(kind: str) -> None:
    torch.manual_seed(0)
    embedder = Embedder(16, Rules(kind), relative=True, hidden=8, moves=40)
    states, pads, context = random_frames(3, 6, missing=True)
    garbage, _, _ = random_frames(3, 6, seed=5)

    def fill(values: torch.Tensor, others: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return torch.where(present[:, None, None], values, others)

    filled = State(
        fill(states.numbers, garbage.numbers, context.present_numbers),
        fill(states.categories, garbage.categories, context.present_categories),
        fill(states.flags, garbage.flags, context.present_flags),
    )
    assert not torch.equal(filled.numbers, states.numbers)
    torch.testing.assert_close(embedder(filled, pads, context), embedder(states, pads, context))
    # And missing is not zero: the same zeros, said to be present, are another token.
    full = replace(context, present_numbers=torch.ones_like(context.present_numbers))
    assert not torch.allclose(embedder(states, pads, full)[1], embedder(states, pads, context)[1])


def test_embedder_sees_every_input() -> None:
    torch.manual_seed(0)
    embedder = Embedder(16, Rules("residual"))
    states, pads, context = random_frames(1, 1)
    base = embedder(states, pads, context)
    for player in range(2):
        for place, codec in enumerate(NUMBERS):
            numbers = states.numbers.clone()
            numbers[0, 0, player, place] = sum(codec.bounds) / 2 - numbers[0, 0, player, place] / 7
            assert not torch.equal(embedder(State(numbers, states.categories, states.flags), pads, context), base)
        for place in range(states.categories.shape[-1]):
            codes = states.categories.clone()
            codes[0, 0, player, place] = (codes[0, 0, player, place] + 1) % 3
            assert not torch.equal(embedder(State(states.numbers, codes, states.flags), pads, context), base)
        for place in range(states.flags.shape[-1]):
            flags = states.flags.clone()
            flags[0, 0, player, place] ^= True
            assert not torch.equal(embedder(State(states.numbers, states.categories, flags), pads, context), base)


def test_where_the_other_one_is_depends_on_whom_you_ask() -> None:
    """Alone of all features these are the same wherever a pair stands, and change sign with the facing."""
    embedder = Embedder(16, Rules("residual"), relative=True)
    states, _, _ = random_frames(8, 1)
    has = torch.ones_like(states.numbers)

    def seen(one: State) -> torch.Tensor:
        facing = one.flags[..., LAYOUT.flag("facing")][..., None]
        return torch.cat(embedder._other(one.numbers, has, facing), -1)

    across = LAYOUT.number("position_x")
    moved = State(states.numbers.clone(), states.categories, states.flags)
    moved.numbers[..., across] += 7.0
    torch.testing.assert_close(seen(moved), seen(states), atol=1e-4, rtol=1e-4)
    turned = State(states.numbers, states.categories, states.flags.clone())
    turned.flags[..., LAYOUT.flag("facing")] ^= True
    sign = torch.tensor([-1.0, 1.0]).repeat(3)
    torch.testing.assert_close(seen(turned), seen(states) * sign)


@pytest.mark.parametrize("kind", KINDS)
def test_heads_are_as_many_as_the_schema_says(kind: str) -> None:
    heads = Heads(8, Rules(kind))
    states, _, _ = random_frames(2, 3)
    prediction = heads(torch.randn(2, 3, 8), states)
    num_gates = NUM_N if kind == "residual" else sum(codec.reference == "prior" for codec in NUMBERS)
    assert prediction.numbers.shape == (2, 3, 2, NUM_N)
    assert prediction.gates is not None
    assert prediction.gates.shape == (2, 3, 2, num_gates)
    assert [logits.shape[-1] for logits in prediction.split_categories()] == list(VOCABS)
    assert prediction.flags.shape == (2, 3, 2, len(LAYOUT.flag_bits))
    assert prediction.code_logits("action_state").shape[-1] == VOCABS[0]


def test_untrained_residual_heads_say_as_before() -> None:
    torch.manual_seed(0)
    heads = Heads(8, Rules("residual"))
    states, _, _ = random_frames(2, 5)
    prediction = heads(torch.zeros(2, 5, 8), states)
    assert prediction.gates is not None
    torch.testing.assert_close(prediction.gates, torch.full_like(prediction.gates, GATE_CLOSED))
    assert not prediction.numbers.any()
    assert torch.equal(prediction.flags > 0, states.flags)
    for index, logits in zip(PREDICTED, prediction.split_categories(), strict=True):
        chance = logits.softmax(-1).gather(-1, states.categories[..., index : index + 1])
        assert (chance - STAY_PROBABILITY).abs().max() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_encode_is_the_inverse_of_decode(kind: str) -> None:
    rules = Rules(kind).double()
    states, pads, _ = random_frames(3, 30, dtype=torch.float64)
    previous, _, following = aligned(states, pads)
    outputs, difference = rules.encode(previous, following)
    back = rules.decode(previous, following.categories, outputs, rules.pick_gated(difference) != 0)
    torch.testing.assert_close(back, following.numbers, rtol=0, atol=1e-12)
