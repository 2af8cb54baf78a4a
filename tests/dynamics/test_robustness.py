"""No pads and no model lead a world out of what can be: numbers, bounds, laws, codes."""

from __future__ import annotations

import pytest
import torch
from frames_at_random import random_frames

from worldmodel.dynamics.policies import policy
from worldmodel.dynamics.world import Moment, World
from worldmodel.melee.action_states import GROUPS
from worldmodel.melee.stages import GEOMETRY
from worldmodel.models.base import WorldModel, make_model
from worldmodel.nn.frames import State
from worldmodel.nn.mortality import Mortality
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS
from worldmodel.schema.events import is_one_of
from worldmodel.schema.laws import DEAD, HELD, REBIRTH

STOCKS, PERCENT, ACTION = LAYOUT.number("stocks"), LAYOUT.number("percent"), LAYOUT.category("action_state")


def build(heads: str, *, wild: float) -> WorldModel:
    """A small model. wild: how much its heads say; far more than a trained one, so that everything happens."""
    torch.manual_seed(0)
    model = make_model(
        {"arch": "mamba2", "heads": heads, "d_model": 32, "n_layers": 2, "d_state": 8, "headdim": 16}
    ).eval()
    with torch.no_grad():
        model.heads.out.weight.mul_(wild)
        model.heads.out.bias.add_(torch.randn(model.heads.out.bias.shape) * wild / 10)
    return model


def check(before: State, after: State, stage: torch.Tensor) -> None:
    """Everything that a frame may not be, by the schema."""
    numbers = after.numbers
    assert numbers.isfinite().all()
    for k, codec in enumerate(NUMBERS):
        low, high = codec.bounds
        assert ((numbers[..., k] >= low) & (numbers[..., k] <= high)).all(), LAYOUT.numbers[k].name
        if codec.integer:
            assert (numbers[..., k] == numbers[..., k].round()).all()
    for k, codec in enumerate(CATEGORIES):
        codes = after.categories[..., k]
        assert ((codes >= 0) & (codes < codec.vocab)).all()
        if not codec.predicted:
            assert torch.equal(codes, before.categories[..., k])
    # Of the dead: nobody lives outside the stage, and stocks go with deaths.
    was, now = (state.categories[..., ACTION] - CATEGORIES[ACTION].offset for state in (before, after))
    zones = Mortality().zones_S4[stage].unsqueeze(1)
    x, y = (numbers[..., LAYOUT.number(role)] for role in ("position_x", "position_y"))
    outside = (x < zones[..., 0]) | (x > zones[..., 1]) | (y < zones[..., 2])
    assert not (outside & (now > DEAD[-1]) & ~is_one_of(now, HELD)).any()
    assert ((now == REBIRTH) | (now <= DEAD[-1]))[was <= DEAD[-1]].all()
    assert (now <= DEAD[-1])[before.numbers[..., STOCKS] > numbers[..., STOCKS]].all()
    lost = before.numbers[..., STOCKS] - numbers[..., STOCKS]
    assert ((lost == 0) | (lost == 1)).all()
    healed = numbers[..., PERCENT] < before.numbers[..., PERCENT]
    respawns = (after.categories[..., ACTION, None] == torch.tensor(sorted(GROUPS["respawn"]))).any(-1)
    assert (respawns & (numbers[..., PERCENT] == 0))[healed].all()


def run(world: World, moment: Moment, name: str, num_frames: int) -> int:
    generator = torch.Generator().manual_seed(0)
    for _ in range(num_frames):
        following = world.step(moment, policy(name)(moment.state, moment.frames, generator))
        check(moment.state, following.state, moment.context.stage)
        moment = following
    return num_frames * len(moment)


WORLDS = 64


@pytest.mark.parametrize("name", ["random", "extreme"])
@pytest.mark.parametrize("temperature", [None, 1.0])
@pytest.mark.parametrize(("heads", "wild"), [("residual", 1.0), ("residual", 30.0), ("card", 30.0)])
def test_nothing_impossible_happens(heads: str, wild: float, temperature: float | None, name: str) -> None:
    world = World(build(heads, wild=wild), temperature=temperature)
    stages = [list(GEOMETRY)[b % len(GEOMETRY)] for b in range(WORLDS)]
    begun = world.fresh(stages, [(b % 26, (7 * b) % 26) for b in range(WORLDS)])
    assert run(world, begun, name, 60) == 60 * WORLDS


@pytest.mark.parametrize("wild", [1e6, float("inf"), float("nan")])
def test_a_model_that_says_nonsense_does_not_spread_it(wild: float) -> None:
    """Weights that went to infinity, or to no number at all."""
    world = World(build("residual", wild=wild))
    run(world, world.fresh(["Battlefield"], [("Fox", "Falco")]), "random", 20)


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["residual", "card"])
def test_a_hundred_thousand_frames(heads: str) -> None:
    world = World(build(heads, wild=30.0), temperature=1.0)
    states, pads, context = random_frames(WORLDS, 4, missing=True)
    played = run(world, world.begin(states, pads, context), "extreme", 800)
    played += run(world, world.fresh(["Battlefield"] * WORLDS, [("Fox", "Falco")] * WORLDS), "random", 800)
    assert played > 100_000
