"""The one transition: fed the truth it reproduces a game; whatever it is fed, what comes out is possible."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frames_at_random import random_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.dynamics.step import advance, truth
from worldmodel.nn.codec import Prediction, Rules
from worldmodel.nn.frames import Context, State, aligned
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS
from worldmodel.schema.laws import REBIRTH

KINDS = ("residual", "card")
EXACT = 1e-12


def assert_frames_equal(one: State, other: State, tolerance: float = EXACT) -> None:
    torch.testing.assert_close(one.numbers, other.numbers, rtol=0, atol=tolerance)
    assert torch.equal(one.categories, other.categories)
    assert torch.equal(one.flags, other.flags)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [False, True])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_fed_the_truth_it_reproduces_the_game(kind: str, missing: bool, seed: int) -> None:
    rules = Rules(kind).double()
    states, pads, context = random_frames(3, 9, seed=seed, dtype=torch.float64, missing=missing)
    previous, _, following = aligned(states, pads)
    # All rows at once, from the true rows before them.
    assert_frames_equal(advance(previous, truth(previous, following, rules), context, rules), following)
    # Closed loop, from its own rows: errors do not build up.
    state = states[:, 0]
    for t in range(8):
        state = advance(state, truth(state, following[:, t], rules), context, rules)
        assert_frames_equal(state, following[:, t])


@pytest.mark.parametrize(
    ("kind", "constant"), [("residual", "velocity_weight"), ("residual", "tick_up"), ("card", "keep")]
)
def test_the_identity_can_fail(kind: str, constant: str) -> None:
    """One wrong constant, as a position that moves by half of its velocity, breaks the test above."""
    rules, wrong = Rules(kind).double(), Rules(kind).double()
    states, pads, context = random_frames(3, 9, dtype=torch.float64)
    previous, _, following = aligned(states, pads)
    setattr(wrong, constant, getattr(wrong, constant) * 0.5)
    with pytest.raises(AssertionError):
        assert_frames_equal(advance(previous, truth(previous, following, rules), context, wrong), following)


def random_prediction(rules: Rules, shape: tuple[int, ...], seed: int, size: float) -> Prediction:
    g = torch.Generator().manual_seed(seed)

    def normal(width: int) -> torch.Tensor:
        return torch.randn(*shape, 2, width, generator=g) * size

    num_logits = sum(codec.vocab for codec in CATEGORIES if codec.predicted)
    return Prediction(normal(len(NUMBERS)), normal(len(rules.gated)), normal(num_logits), normal(len(LAYOUT.flag_bits)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [None, 1.0])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([0.1, 10.0, 1e6, float("inf")]))
def test_whatever_is_said_the_frame_is_possible(kind: str, temperature: float | None, seed: int, size: float) -> None:
    rules = Rules(kind)
    states, _, context = random_frames(3, 1, seed=seed, missing=True)
    prediction = random_prediction(rules, (3, 1), seed, size)
    generator = torch.Generator().manual_seed(seed)
    after = advance(states, prediction, context, rules, temperature=temperature, generator=generator)
    assert after.numbers.isfinite().all()
    for place, codec in enumerate(NUMBERS):
        values = after.numbers[..., place]
        present = context.present_numbers[:, place]
        assert (values[present] >= codec.bounds[0]).all()
        assert (values[present] <= codec.bounds[1]).all()
        assert not values[~present].any()
        if codec.integer:
            assert torch.equal(values, values.round())
    for place, codec in enumerate(CATEGORIES):
        codes = after.categories[..., place]
        assert (codes >= 0).all()
        assert (codes < codec.vocab).all()
        carried = ~context.present_categories[:, place] | torch.tensor(not codec.predicted)
        assert torch.equal(codes[carried], states.categories[..., place][carried])
    assert not after.flags[~context.present_flags[:, None, None].expand(after.flags.shape)].any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_missing_numbers_changes_nothing(kind: str) -> None:
    """In a replay without velocities no velocity moves a body, whatever its head says."""
    rules = Rules(kind)
    states, _, context = random_frames(3, 4, missing=True)
    one = random_prediction(rules, (3, 4), 1, 10.0)
    other = random_prediction(rules, (3, 4), 2, 10.0)
    mixed = replace(one, numbers=torch.where(context.present_numbers[:, None, None], one.numbers, other.numbers))
    assert not torch.equal(mixed.numbers, one.numbers)
    assert_frames_equal(advance(states, mixed, context, rules), advance(states, one, context, rules), 0.0)


def test_a_closed_gate_is_exactly_the_prior() -> None:
    rules = Rules("residual")
    states, _, context = random_frames(2, 3)
    states.numbers[..., [LAYOUT.number("position_x"), LAYOUT.number("position_y")]] = 0
    states.categories[..., LAYOUT.category("action_state")] = 14
    prediction = random_prediction(rules, (2, 3), 0, 10.0)
    airborne = LAYOUT.flag("airborne")
    # Of deaths there are laws, and of what one stands on.
    lives = (prediction.code_logits("action_state").argmax(-1) > REBIRTH) & (prediction.flags[..., airborne] > 0)
    closed = Prediction(prediction.numbers, torch.full_like(prediction.numbers, -1e-3), *_rest(prediction))
    after = advance(states, closed, context, rules)
    still = rules.project(rules.still(states, after.categories))
    assert torch.equal(after.numbers[lives], rules.project(still + rules.moved(still))[lives])
    assert lives.any()


def _rest(prediction: Prediction) -> tuple[torch.Tensor, torch.Tensor]:
    return prediction.categories, prediction.flags


def test_drawing_is_seeded_and_follows_the_chances() -> None:
    rules = Rules("residual")
    num_b = 4000
    states = State(
        torch.zeros(num_b, 2, len(NUMBERS)),
        torch.zeros(num_b, 2, len(CATEGORIES), dtype=torch.int64),
        torch.zeros(num_b, 2, len(LAYOUT.flag_bits), dtype=torch.bool),
    )
    present = Context(
        torch.zeros(num_b, dtype=torch.int64),
        torch.ones(num_b, len(NUMBERS), dtype=torch.bool),
        torch.ones(num_b, len(CATEGORIES), dtype=torch.bool),
        torch.ones(num_b, len(LAYOUT.flag_bits), dtype=torch.bool),
    )
    one = random_prediction(rules, (1,), 3, 1.0)
    many = one[torch.zeros(num_b, dtype=torch.int64)]

    def draw(seed: int, temperature: float) -> State:
        g = torch.Generator().manual_seed(seed)
        return advance(states, many, present, rules, temperature=temperature, generator=g)

    drawn = draw(0, 1.0)
    assert_frames_equal(drawn, draw(0, 1.0), 0.0)
    assert not torch.equal(drawn.categories, draw(1, 1.0).categories)
    place = LAYOUT.category("jumps")
    chance = one.code_logits("jumps")[0].softmax(-1)
    share = torch.nn.functional.one_hot(drawn.categories[..., place], chance.shape[-1]).float().mean(0)
    assert (share - chance).abs().max() < 0.04
    assert (drawn.flags.float().mean(0) - one.flags[0].sigmoid()).abs().max() < 0.04
    # Cold, it is the likeliest.
    assert_frames_equal(draw(0, 1e-4), advance(states, many, present, rules), 0.0)
