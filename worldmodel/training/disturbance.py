"""What disturbs the frames that a model is shown in training: one shape for all, and two kinds of noise.

Owns: when noise acts, on what, how strongly, and what the targets are then relative to. Must not: touch the true
frames, targets, pads, flags, codes, timers or stocks. The third kind, frames of the model's own, is `self_forcing`.

All randomness of a step is drawn for every slot of the global batch, from (seed, step), and cut to the slots at hand:
neither the number of processes nor a resume changes what is drawn.

Letters: B slots at hand, T frames, N numbers.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import torch
from torch import Tensor

from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Context, Pads, State, over_rows
from worldmodel.schema import LAYOUT, NUMBERS
from worldmodel.training.config import ContextNoise, Experiment, ScheduledSampling
from worldmodel.training.self_forcing import OwnFrames

TOUCHED: tuple[int, ...] = tuple(index for index, codec in enumerate(NUMBERS) if codec.noise)
"""Positions among the numbers that noise may touch."""

_DRIFT_STREAM = 1
"""Makes the randomness of the drift another than the card's. (The card's own is stream 0.)"""


@dataclass(frozen=True, slots=True)
class Presented:
    """Previous frames (B,T,2,·), twice: what the model is shown, and what its targets are relative to."""

    shown: State
    origin: State

    def settled(self) -> Presented:
        """The same in memory of their own, the two apart: then every batch looks alike to a compiled step.

        Else it is compiled anew whenever a disturbance begins: what was one tensor twice is then two, a view is none.
        """

        def copy(tensor: Tensor) -> Tensor:
            return tensor.clone(memory_format=torch.contiguous_format)

        return Presented(self.shown.map(copy), self.origin.map(copy))


@dataclass(frozen=True, slots=True)
class Slots:
    """Which part of the global batch of `num_all` slots is at hand: `num_local` from `first` on."""

    first: int
    num_local: int
    num_all: int

    def cut(self, tensor: Tensor) -> Tensor:
        """The part at hand of a tensor (num_all,...)."""
        return tensor[self.first : self.first + self.num_local]


class Disturbance(Protocol):
    """One way to disturb a batch. A pure function of its arguments; nothing in it waits for the device."""

    def describe(self) -> list[str]:
        """What will be done and when, for people, before the run."""

    def apply(
        self,
        presented: Presented,
        previous: State,
        pads: Pads,
        context: Context,
        *,
        step: int,
        model: WorldModel,
        slots: Slots,
    ) -> Presented:
        """What was presented so far, disturbed. previous: the true frames; pads: those of the frames after them."""


def make_disturbances(
    experiment: Experiment, num_steps: int, steps_per_epoch: int, device: torch.device
) -> list[Disturbance]:
    """An experiment's disturbances, in the order in which they act: noise first, so that rollouts start from it.

    Raises WrongUse if a key names what may not be disturbed, or asks for more own frames than are shown.
    """
    seed, length = experiment.training.seed, experiment.data.length
    out: list[Disturbance] = []
    if experiment.scheduled_sampling is not None:
        out.append(CardNoise(experiment.scheduled_sampling, num_steps, steps_per_epoch, seed=seed, device=device))
    if experiment.context_noise is not None:
        out.append(Drift(experiment.context_noise, num_steps, length=length, seed=seed, device=device))
    if experiment.self_forcing is not None:
        out.append(OwnFrames(experiment, num_steps, device))
    return out


# ---- the card's scheduled sampling -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong a noise is: share of samples, and standard deviation (its unit is the noise's own)."""

    rate: float
    noise: float


OFF = Strength(0.0, 0.0)


class CardNoise:
    """The card's "scheduled sampling", to the letter.

    Off in the first epoch; then rate and noise rise with the epoch's index until `anneal_epochs`. In each sample drawn,
    normal noise is added to the *scaled* values of the numbers that the schema allows it for (`Number.noise`: core
    continuous and velocity), both players, in the last `corrupt_frames` frames that the model is shown.
    """

    def __init__(
        self, settings: ScheduledSampling, num_steps: int, steps_per_epoch: int, *, seed: int, device: torch.device
    ) -> None:
        self._settings, self._seed, self._device = settings, seed, device
        self._steps_per_epoch, self._epochs = steps_per_epoch, ceil(num_steps / steps_per_epoch)
        self._size_N = torch.tensor([1 / codec.scale if codec.noise else 0.0 for codec in NUMBERS], device=device)

    def strength(self, epoch: int) -> Strength:
        """Rate, and noise on scaled values, of an epoch (index from 0)."""
        if epoch < 1:
            return OFF
        ramp = min(1.0, epoch / self._settings.anneal_epochs)
        return Strength(self._settings.rate * ramp, self._settings.noise * ramp)

    def apply(
        self,
        presented: Presented,
        previous: State,
        pads: Pads,
        context: Context,
        *,
        step: int,
        model: WorldModel,
        slots: Slots,
    ) -> Presented:
        now = self.strength(step // self._steps_per_epoch)
        if now == OFF:
            return presented
        numbers = presented.shown.numbers
        first = max(0, numbers.shape[1] - self._settings.corrupt_frames)
        generator = step_generator(self._seed, step, self._device)
        chosen_B = slots.cut(torch.rand(slots.num_all, generator=generator, device=self._device)) < now.rate
        noise = _normal((slots.num_all, *numbers[:, first:].shape[1:]), numbers, generator)
        may_BN = chosen_B[:, None] & context.present_numbers
        noise = slots.cut(noise) * (self._size_N * now.noise)
        noise = torch.where(over_rows(may_BN.unsqueeze(1), noise), noise, torch.zeros_like(noise))
        disturbed = torch.cat([numbers[:, :first], numbers[:, first:] + noise], 1)
        return _with_numbers(presented, disturbed, corrective=self._settings.targets == "corrective")

    def describe(self) -> list[str]:
        settings = self._settings
        may, may_not = (
            [r.name for r, c in zip(LAYOUT.numbers, NUMBERS, strict=True) if c.noise is n] for n in (True, False)
        )
        lines = [
            f"scheduled sampling on the last {settings.corrupt_frames} context frames, both players, "
            f"{settings.targets} targets: {', '.join(may)}",
            f"  never on: {', '.join(may_not)}, or any flag or category",
        ]
        for epoch in range(min(self._epochs, settings.anneal_epochs + 1)):
            now = self.strength(epoch)
            lines.append(f"  epoch {epoch + 1}: rate {now.rate:.3g}, noise {now.noise:.3g} on scaled values")
        return lines


# ---- ours: drift in physical units -------------------------------------------------------------------------------


class Drift:
    """Noise as a rollout's own errors are: per field in its unit, and correlated from frame to frame.

    In each sample drawn, every context frame of both players is moved by a stationary AR(1) process, and stays in the
    field's bounds. Rate and size rise together over the first `ramp` of all steps, and are the configured ones from
    then on. With corrective targets the model learns the way back.
    """

    def __init__(self, settings: ContextNoise, num_steps: int, *, length: int, seed: int, device: torch.device) -> None:
        self._settings, self._seed, self._device = settings, seed, device
        self._ramp_steps = settings.ramp * num_steps
        self.sizes = _drifts(settings)
        """Standard deviation of each number at full strength, in its unit; 0: never touched."""
        self._size_N = torch.tensor(self.sizes, device=device)
        self._touched_N = self._size_N > 0
        self._mix_TT = ar1(length, settings.correlation).to(device)

    def strength(self, step: int) -> Strength:
        """Share of samples, and times the full size, at a step (index from 0)."""
        ramp = min(1.0, step / self._ramp_steps) if self._ramp_steps else 1.0
        return Strength(self._settings.rate * ramp, ramp)

    def apply(
        self,
        presented: Presented,
        previous: State,
        pads: Pads,
        context: Context,
        *,
        step: int,
        model: WorldModel,
        slots: Slots,
    ) -> Presented:
        now = self.strength(step)
        if not now.rate or not now.noise:
            return presented
        numbers = presented.shown.numbers
        generator = step_generator(self._seed, step, self._device, stream=_DRIFT_STREAM)
        chosen_B = slots.cut(torch.rand(slots.num_all, generator=generator, device=self._device)) < now.rate
        white = slots.cut(_normal((slots.num_all, *numbers.shape[1:]), numbers, generator))
        correlated = (self._mix_TT.to(white.dtype) @ white.flatten(2)).view_as(white)
        moved = model.rules.project(numbers + correlated * (self._size_N * now.noise))
        may_BN = chosen_B[:, None] & context.present_numbers & self._touched_N
        disturbed = torch.where(over_rows(may_BN.unsqueeze(1), moved), moved, numbers)
        return _with_numbers(presented, disturbed, corrective=self._settings.targets == "corrective")

    def describe(self) -> list[str]:
        settings = self._settings
        sizes = ", ".join(
            f"{row.name} {size:.3g} {row.unit}" for row, size in zip(LAYOUT.numbers, self.sizes, strict=True) if size
        )
        by_step = {step: self.strength(step) for step in (0, ceil(self._ramp_steps / 2), ceil(self._ramp_steps))}
        table = "  ".join(f"{step:,}: {now.rate:.3g} x {now.noise:.3g}" for step, now in by_step.items())
        return [
            f"context noise on all context frames, both players, {settings.targets} targets, correlation "
            f"{settings.correlation:g} from frame to frame: {sizes or 'nothing'}",
            f"  share of samples x share of these sizes, by step  {table}",
        ]


def ar1(length: int, correlation: float) -> Tensor:
    """(T,T) float32: times T independent standard normal numbers, T of variance 1 that are correlated by
    `correlation` to the power of their distance in time.

    Row t is x[t] = correlation * x[t-1] + sqrt(1 - correlation²) * e[t], begun with x[0] = e[0] and written out.
    """
    t = torch.arange(length, dtype=torch.float64)
    powers = correlation ** (t[:, None] - t[None, :]).clamp(min=0)
    fresh = torch.full((length,), (1 - correlation**2) ** 0.5, dtype=torch.float64)
    fresh[0] = 1.0
    return (powers * fresh).tril().float()


def _drifts(settings: ContextNoise) -> list[float]:
    """Standard deviation of each number in its unit. Raises WrongUse for a name that may not be disturbed."""
    allowed = [row.name for row in LAYOUT.numbers if row.drift]
    for name in settings.fields:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            raise WrongUse(
                f"context_noise.fields.{name}",
                f"one of {', '.join(allowed)}",
                f"did you mean {near[0]!r}?" if near else "leave it out: noise on anything else is no drift",
            )
    return [settings.fields.get(row.name, row.drift * settings.scale) for row in LAYOUT.numbers]


# ---- shared ------------------------------------------------------------------------------------------------------


def step_generator(seed: int, step: int, device: torch.device, *, stream: int = 0) -> torch.Generator:
    """The randomness of one step: a function of (seed, step), so that a resumed run draws what it would have drawn.

    stream: another number for each thing that draws, so that they do not draw the same.
    """
    generator = torch.Generator(device=device)
    generator.manual_seed((seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + step) % 2**63)
    return generator


def touched_on(previous: State, disturbed: State) -> Tensor:
    """Which numbers differ anywhere in a batch (N,) bool: to show what was touched on a real one."""
    return (previous.numbers != disturbed.numbers).flatten(0, -2).any(0)


def _normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


def _with_numbers(presented: Presented, numbers: Tensor, *, corrective: bool) -> Presented:
    shown = State(numbers, presented.shown.categories, presented.shown.flags)
    return Presented(shown, shown if corrective else presented.origin)
