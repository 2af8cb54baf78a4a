"""Rewards: what a frame was worth to each player, as functions of the frame before and the frame after.

Owns: their names and units; every public function of this file is a reward by its name. Must not: know a model, an
end of an episode, or whose agent is whose.

Each takes two states (B,2,·) and returns (B,2): one number per player, in port order. A player is paid for what happens
to the *other* and charged for what happens to itself; the zero-sum ones pay one exactly what they charge the other.

Damage is in percent, as the game shows it: a strong hit is 10 to 20. Stocks are lives: 1 each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from worldmodel.errors import WrongUse
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT
from worldmodel.schema.events import PERCENT_STEP

Reward = Callable[[State, State], Tensor]
"""(before, after), both (B,2,·) -> (B,2) float."""

PERCENT_PER_STOCK = 100.0
"""How much damage `damage_and_stocks` weighs like a stock: in tournament play stocks end somewhere near it."""

_PERCENT, _STOCKS = LAYOUT.number("percent"), LAYOUT.number("stocks")


def damage(before: State, after: State) -> Tensor:
    """Percent dealt minus percent taken. Zero-sum."""
    return _against(_taken(before, after))


def damage_dealt(before: State, after: State) -> Tensor:
    """Percent that the other player takes, whoever is to blame. Not zero-sum."""
    return _taken(before, after).flip(-1)


def stocks(before: State, after: State) -> Tensor:
    """Stocks that the other player loses minus one's own. Zero-sum."""
    return _against(_lost(before, after))


def stocks_taken(before: State, after: State) -> Tensor:
    """Stocks that the other player loses, whoever is to blame. Not zero-sum."""
    return _lost(before, after).flip(-1)


def damage_and_stocks(before: State, after: State) -> Tensor:
    """`stocks` plus `damage` / 100. Zero-sum; in stocks."""
    return _against(_lost(before, after) + _taken(before, after) / PERCENT_PER_STOCK)


def win(before: State, after: State) -> Tensor:
    """1 in the frame in which the other loses its last stock, -1 for one's own last. Zero-sum."""
    fell = (before.numbers[..., _STOCKS] > 0) & (after.numbers[..., _STOCKS] <= 0)
    return _against(fell.to(after.numbers.dtype))


def _taken(before: State, after: State) -> Tensor:
    """Percent by which each player is hurt (B,2). It falls only when a stock is lost: that pays nobody."""
    rise = after.numbers[..., _PERCENT] - before.numbers[..., _PERCENT]
    # Below the step it is a model's rounding, which an agent could gather for hours.
    return torch.where(rise > PERCENT_STEP, rise, torch.zeros_like(rise))


def _lost(before: State, after: State) -> Tensor:
    """Stocks that each player loses (B,2)."""
    return (before.numbers[..., _STOCKS] - after.numbers[..., _STOCKS]).clamp(min=0)


def _against(harm: Tensor) -> Tensor:
    """What was done to the other minus what was done to oneself (B,2)."""
    return harm.flip(-1) - harm


REWARDS: dict[str, Reward] = {
    name: function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and function.__module__ == __name__ and not name.startswith("_")
}
"""Every reward by its name."""


def find_reward(reward: str | Reward) -> Reward:
    """A reward by its name; a function of one's own is taken as it is. Raises WrongUse for a name that there is not."""
    if callable(reward):
        return reward
    if reward not in REWARDS:
        raise WrongUse(f"reward {reward!r}", f"one of {', '.join(REWARDS)}", "or give a function of your own")
    return REWARDS[reward]
