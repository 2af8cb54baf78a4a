"""What a frame is worth, on frames made by hand."""

from __future__ import annotations

import pytest
import torch

from worldmodel.env.rewards import REWARDS, damage, find_reward
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT


def frame(percent: tuple[float, float], stocks: tuple[int, int]) -> State:
    numbers = torch.zeros(1, 2, len(LAYOUT.numbers))
    numbers[0, :, LAYOUT.number("percent")] = torch.tensor(percent)
    numbers[0, :, LAYOUT.number("stocks")] = torch.tensor(stocks, dtype=torch.float32)
    return State(numbers, torch.zeros(1, 2, 1, dtype=torch.int64), torch.zeros(1, 2, 1, dtype=torch.bool))


HIT = (frame((0, 20), (4, 4)), frame((0, 32), (4, 4)))
DEATH = (frame((30, 120), (4, 2)), frame((30, 0), (4, 1)))
LAST = (frame((30, 120), (1, 3)), frame((0, 120), (0, 3)))
ROUNDED = (frame((10, 10), (4, 4)), frame((10.004, 10.009), (4, 4)))
TRADE = (frame((10, 10), (4, 4)), frame((15, 22), (4, 4)))


@pytest.mark.parametrize(
    ("name", "between", "worth"),
    [
        ("damage", HIT, (12, -12)),
        ("damage", TRADE, (7, -7)),
        ("damage", DEATH, (0, 0)),  # percent falls with a stock: nobody is paid for that
        ("damage_dealt", TRADE, (12, 5)),
        ("damage_dealt", ROUNDED, (0, 0)),  # an agent could gather such rounding for hours
        ("stocks", DEATH, (1, -1)),
        ("stocks_taken", DEATH, (1, 0)),
        ("damage_and_stocks", HIT, (0.12, -0.12)),
        ("damage_and_stocks", DEATH, (1, -1)),
        ("win", DEATH, (0, 0)),
        ("win", LAST, (-1, 1)),
    ],
)
def test_worth(name: str, between: tuple[State, State], worth: tuple[float, float]) -> None:
    assert find_reward(name)(*between)[0].tolist() == pytest.approx(worth)


def test_zero_sum_is_zero_sum() -> None:
    torch.manual_seed(0)
    before, after = (
        State(torch.rand(64, 2, len(LAYOUT.numbers)) * 5, HIT[0].categories, HIT[0].flags) for _ in range(2)
    )
    for name, reward in REWARDS.items():
        total = reward(before, after).sum(-1).abs().max()
        assert (total < 1e-4) == ("Zero-sum" in (reward.__doc__ or "")), name


def test_names() -> None:
    assert set(REWARDS) == {"damage", "damage_dealt", "stocks", "stocks_taken", "damage_and_stocks", "win"}
    assert find_reward(damage) is damage
    with pytest.raises(WrongUse, match="one of damage"):
        find_reward("points")
