"""The card's "scheduled sampling": noise on the newest context frames of some samples, and nothing else.

Owns: when it acts, on what, how strongly. Must not: touch targets, pads, flags, codes, timers or stocks.

Off in the first epoch; then rate and noise rise with the epoch's index until `anneal_epochs`. In each sample drawn,
normal noise is added to the *scaled* values of the numbers that the schema allows it for (`Number.noise`: core
continuous and velocity), both players, in the last `corrupt_frames` frames that the model is shown.

Letters: B sequences, T frames, N numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.nn.codec import NUMBERS
from worldmodel.nn.frames import Context, State, over_rows
from worldmodel.schema import LAYOUT
from worldmodel.training.config import ScheduledSampling

TOUCHED: tuple[int, ...] = tuple(index for index, codec in enumerate(NUMBERS) if codec.noise)
"""Positions among the numbers that noise may touch."""


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong the disturbance is in an epoch."""

    rate: float
    noise: float


OFF = Strength(0.0, 0.0)


def strength(settings: ScheduledSampling | None, epoch: int) -> Strength:
    """Rate and noise of an epoch (index from 0)."""
    if settings is None or epoch < 1:
        return OFF
    ramp = min(1.0, epoch / settings.anneal_epochs)
    return Strength(settings.rate * ramp, settings.noise * ramp)


def disturb(
    previous: State, context: Context, strength: Strength, *, corrupt_frames: int, generator: torch.Generator
) -> State:
    """The states that the model is shown (B,T,2,·), disturbed. What a replay lacks stays as it is.

    A pure function of its arguments and the generator's state; the generator lives on the states' device.
    """
    if strength == OFF:
        return previous
    numbers = previous.numbers
    num_b, num_t = numbers.shape[:2]
    first = max(0, num_t - corrupt_frames)
    chosen_B = torch.rand(num_b, generator=generator, device=numbers.device) < strength.rate
    noise = torch.randn(numbers[:, first:].shape, generator=generator, device=numbers.device, dtype=numbers.dtype)
    may_BN = chosen_B[:, None] & context.present_numbers
    size_N = numbers.new_tensor([strength.noise / codec.scale if codec.noise else 0.0 for codec in NUMBERS])
    noise = torch.where(over_rows(may_BN.unsqueeze(1), noise), noise * size_N, torch.zeros_like(noise))
    numbers = torch.cat([numbers[:, :first], numbers[:, first:] + noise], 1)
    return State(numbers, previous.categories, previous.flags)


def describe(settings: ScheduledSampling | None, epochs: int) -> list[str]:
    """What will be done in each epoch, for people, before the run."""
    if settings is None:
        return ["scheduled sampling: off"]
    touched = ", ".join(LAYOUT.numbers[index].name for index in TOUCHED)
    untouched = ", ".join(row.name for index, row in enumerate(LAYOUT.numbers) if index not in TOUCHED)
    lines = [
        f"scheduled sampling on the last {settings.corrupt_frames} context frames, both players, "
        f"{settings.targets} targets: {touched}",
        f"  never on: {untouched}, or any flag or category",
    ]
    for epoch in range(min(epochs, settings.anneal_epochs + 1)):
        now = strength(settings, epoch)
        lines.append(f"  epoch {epoch + 1}: rate {now.rate:.3g}, noise {now.noise:.3g} on scaled values")
    return lines


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The randomness of one step: a function of (seed, step), so that a resumed run draws what it would have drawn."""
    generator = torch.Generator(device=device)
    generator.manual_seed((seed * 0x9E3779B97F4A7C15 + step) % 2**63)
    return generator


def touched_on(previous: State, disturbed: State) -> Tensor:
    """Which numbers differ anywhere in a batch (N,) bool: to show what was touched on a real one."""
    return (previous.numbers != disturbed.numbers).flatten(0, -2).any(0)
