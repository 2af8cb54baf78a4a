"""All laws together, and the limits on single numbers."""

from __future__ import annotations

import torch
from frames_at_random import random_frames

from worldmodel.melee.action_states import GROUPS
from worldmodel.nn.laws import Laws, within_limits
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS

STOCKS, PERCENT, ACTION = LAYOUT.number("stocks"), LAYOUT.number("percent"), LAYOUT.category("action_state")
WAIT, COMES_BACK = 14, min(GROUPS["respawn"])


def limited(stocks: tuple[float, float], percent: tuple[float, float], action: int) -> tuple[float, float]:
    """Stocks and percent, from what they were to what they would be, as the limits leave them."""
    was, now = torch.zeros(1, 2, len(NUMBERS)), torch.zeros(1, 2, len(NUMBERS))
    codes = torch.zeros(1, 2, len(CATEGORIES), dtype=torch.int64)
    codes[..., ACTION] = action + CATEGORIES[ACTION].offset
    was[..., STOCKS], now[..., STOCKS] = stocks
    was[..., PERCENT], now[..., PERCENT] = percent
    kept = within_limits(was, now, codes)
    return float(kept[0, 0, STOCKS]), float(kept[0, 0, PERCENT])


def test_limits_cut_what_never_happens() -> None:
    assert limited((4, 3), (10, 20), WAIT) == (3, 20), "what may happen stays"
    assert limited((4, 4), (90, 0), COMES_BACK) == (4, 0)
    assert limited((3, 4), (10, 10), WAIT) == (3, 10), "nobody gains a stock"
    assert limited((4, 0), (10, 10), WAIT) == (3, 10), "or loses two at once"
    assert limited((4, 4), (90, 80), WAIT) == (4, 90), "nobody heals"
    assert limited((4, 4), (90, 80), COMES_BACK) == (4, 0), "but for all of it, on the platform"
    assert limited((4, 4), (0, 5), COMES_BACK) == (4, 5)


def test_what_a_replay_lacks_stays_nothing() -> None:
    """Also where a law would write it: those who come back have numbers of their own."""
    states, _, context = random_frames(6, 40, missing=True)
    previous, following = states[:, :-1], states[:, 1:]
    codes = following.categories.clone()
    codes[..., ACTION] = COMES_BACK + CATEGORIES[ACTION].offset
    kept = Laws()(previous, type(following)(following.numbers, codes, following.flags), context)
    absent = ~context.present_numbers
    assert absent.any()
    assert (kept.numbers.movedim(-1, 1)[absent] == 0).all()


def test_twice_is_once() -> None:
    """What the laws leave, they leave."""
    laws = Laws()
    states, _, context = random_frames(6, 40, seed=1)
    wild = random_frames(6, 40, seed=2)[0]
    once = laws(states, wild, context)
    again = laws(states, once, context)
    for name in ("numbers", "categories", "flags"):
        assert torch.equal(getattr(once, name), getattr(again, name)), name
    assert not torch.equal(once.numbers, wild.numbers)
