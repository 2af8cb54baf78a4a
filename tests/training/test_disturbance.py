"""The card's scheduled sampling, to the letter."""

from __future__ import annotations

import pytest
import torch

from worldmodel.nn.frames import Context, State
from worldmodel.schema import LAYOUT
from worldmodel.training.config import ScheduledSampling
from worldmodel.training.disturbance import (
    OFF,
    TOUCHED,
    Strength,
    describe,
    disturb,
    step_generator,
    strength,
    touched_on,
)

CARD = ScheduledSampling()
B, T, N = 4000, 10, len(LAYOUT.numbers)


@pytest.fixture
def previous() -> State:
    generator = torch.Generator().manual_seed(0)
    return State(
        torch.randn(B, T, 2, N, generator=generator),
        torch.randint(0, 3, (B, T, 2, len(LAYOUT.categories)), generator=generator),
        torch.rand(B, T, 2, len(LAYOUT.flag_bits), generator=generator) > 0.5,
    )


def context(present: bool = True) -> Context:
    def full(size: int) -> torch.Tensor:
        return torch.full((B, size), present)

    return Context(torch.zeros(B).long(), full(N), full(len(LAYOUT.categories)), full(len(LAYOUT.flag_bits)))


def run(previous: State, strength: Strength, *, frames: int = 3, seed: int = 1, present: bool = True) -> State:
    return disturb(
        previous, context(present), strength, corrupt_frames=frames, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize(
    ("epoch", "rate", "noise"), [(0, 0, 0), (1, 0.1, 0.1 / 3), (2, 0.2, 0.2 / 3), (3, 0.3, 0.1), (9, 0.3, 0.1)]
)
def test_the_cards_schedule(epoch: int, rate: float, noise: float) -> None:
    found = strength(CARD, epoch)
    assert (found.rate, found.noise) == (pytest.approx(rate), pytest.approx(noise))
    assert strength(None, epoch) == OFF


def test_only_core_and_velocity_may_be_touched() -> None:
    """Four core numbers and five speeds; never stocks, hitlag, combo, hitstun or the age of a state."""
    allowed = {LAYOUT.the(role) for role in ("percent", "shield", "position_x", "position_y")}
    allowed |= set(LAYOUT.with_role("velocity"))
    assert {LAYOUT.numbers[index] for index in TOUCHED} == allowed
    assert len(allowed) == 9


def test_what_is_touched_on_a_batch(previous: State) -> None:
    shown = run(previous, Strength(0.3, 0.1))
    touched = touched_on(previous, shown)
    assert [index for index in range(N) if touched[index]] == list(TOUCHED)
    changed = shown.numbers != previous.numbers
    assert not changed[:, :-3].any()  # the last three frames only
    assert changed[:, -3:, 0].any()  # both players
    assert changed[:, -3:, 1].any()
    assert shown.categories is previous.categories
    assert shown.flags is previous.flags


def test_rate_is_per_sample_and_noise_on_scaled_values(previous: State) -> None:
    shown = run(previous, Strength(0.3, 0.1))
    delta = (shown.numbers - previous.numbers)[:, -3:][..., list(TOUCHED)]
    chosen = (delta != 0).flatten(1).any(1)
    assert (delta[chosen] != 0).all()  # a sample is touched everywhere or nowhere
    assert chosen.float().mean().item() == pytest.approx(0.3, abs=0.03)
    scale = torch.tensor([LAYOUT.numbers[index].codec.scale for index in TOUCHED])  # type: ignore[union-attr]
    scaled = delta[chosen] * scale
    assert torch.allclose(scaled.std((0, 1, 2)), torch.full((9,), 0.1), atol=0.005)
    assert torch.allclose(scaled.mean((0, 1, 2)), torch.zeros(9), atol=0.005)


def test_off_and_missing_change_nothing(previous: State) -> None:
    assert run(previous, OFF) is previous
    assert torch.equal(run(previous, Strength(1.0, 0.1), present=False).numbers, previous.numbers)


def test_more_frames_than_there_are(previous: State) -> None:
    changed = run(previous, Strength(1.0, 0.1), frames=99).numbers != previous.numbers
    assert changed[..., list(TOUCHED)].all()


def test_a_step_draws_what_it_always_draws(previous: State) -> None:
    def drawn(seed: int, step: int) -> torch.Tensor:
        generator = step_generator(seed, step, torch.device("cpu"))
        return disturb(previous, context(), Strength(0.3, 0.1), corrupt_frames=3, generator=generator).numbers

    assert torch.equal(drawn(0, 7), drawn(0, 7))
    assert not torch.equal(drawn(0, 7), drawn(0, 8))
    assert not torch.equal(drawn(0, 7), drawn(1, 7))


def test_it_is_told_before_the_run() -> None:
    lines = describe(CARD, 3)
    assert LAYOUT.the("percent").name in lines[0]
    assert LAYOUT.the("stocks").name in lines[1]
    assert [line.split(":")[0].strip() for line in lines[2:]] == ["epoch 1", "epoch 2", "epoch 3"]
    assert "rate 0, noise 0" in lines[2]
    assert "rate 0.2, noise 0.0667" in lines[4]
