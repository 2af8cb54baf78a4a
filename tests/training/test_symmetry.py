"""Windows the other way round: the same physics, the same draws for any number of processes, on real games too."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from frames_at_random import random_frames
from tiny_experiment import make_experiment

from worldmodel.dataset.codes import category_codes
from worldmodel.dynamics.step import advance
from worldmodel.melee.stages import GEOMETRY
from worldmodel.models.base import make_model
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.schema import LAYOUT, STAGE
from worldmodel.schema.field import Mirror
from worldmodel.training.config import Symmetry
from worldmodel.training.disturbance import Slots
from worldmodel.training.symmetry import Symmetries, make_symmetries, swapped

CPU = torch.device("cpu")
B, T = 64, 5
ALL = torch.ones(B, dtype=torch.bool)
GROUND, HIT_BY = LAYOUT.category("ground"), LAYOUT.category("last_hit_by")


def symmetries(seed: int = 0, **shares: float) -> Symmetries:
    return Symmetries(Symmetry(**shares), seed=seed, device=CPU)


def frames(stage: int | None = None) -> tuple[State, Pads, Context]:
    states, pads, context = random_frames(B, T, seed=3)
    if stage is not None:
        code = torch.full((B,), stage + STAGE.offset)
        context = Context(code, context.present_numbers, context.present_categories, context.present_flags)
    return states, pads, context


def mirrored(states: State, pads: Pads, context: Context) -> tuple[State, Pads]:
    return symmetries().mirrored(states, pads, context.stage, ALL[: states.numbers.shape[0]])


def same(a: State | Pads, b: State | Pads) -> bool:
    return all(torch.equal(getattr(a, part.name), getattr(b, part.name)) for part in fields(a))


def test_twice_is_not_at_all() -> None:
    for stage in GEOMETRY:
        states, pads, context = frames(stage)
        again = mirrored(*mirrored(states, pads, context), context)
        assert same(states, again[0])
        assert same(pads, again[1])
    states, pads, _ = frames()
    states.categories[..., HIT_BY] = torch.tensor([1, 0])  # a game of ports 1 and 2, in which both were hit
    again = swapped(*swapped(states, pads, ALL), ALL)
    assert same(states, again[0])
    assert same(pads, again[1])


def test_what_mirrors_is_what_the_schema_says() -> None:
    states, pads, context = frames(32)
    there, there_pads = mirrored(states, pads, context)
    for index, row in enumerate(LAYOUT.numbers):
        sign = -1 if row.mirror is Mirror.NEGATE else 1
        assert torch.equal(there.numbers[..., index], sign * states.numbers[..., index]), row.name
    changed = [flag.name for index, flag in enumerate(LAYOUT.flag_bits)
               if not torch.equal(there.flags[..., index], states.flags[..., index])]  # fmt: skip
    assert changed == ["facing"]
    moved = [row.name for index, row in enumerate(LAYOUT.pad_numbers)
             if not torch.equal(there_pads.numbers[..., index], pads.numbers[..., index])]  # fmt: skip
    assert moved == ["stick_x", "cstick_x"]
    assert torch.equal(there_pads.buttons, pads.buttons)


@pytest.mark.parametrize(
    ("stage", "here", "there"),
    [(31, 2, 4), (31, 1, 1), (32, 0, 2), (2, 3, 7), (8, 1, 1), (3, 51, 54), (3, 35, 36), (28, 0, 0)],
)
def test_surfaces_change_places(stage: int, here: int, there: int) -> None:
    states, pads, context = frames(stage)
    codes, _ = category_codes(LAYOUT.the("ground"), torch.tensor([here, there]).numpy())
    states.categories[..., GROUND] = int(codes[0])
    found, _ = mirrored(states, pads, context)
    assert (found.categories[..., GROUND] == int(codes[1])).all()


def test_a_stage_that_is_no_mirror_of_itself_stays() -> None:
    states, pads, context = frames(28)
    found, found_pads = mirrored(states, pads, context)
    assert same(states, found)
    assert same(pads, found_pads)


def test_swapped_players_take_everything_along() -> None:
    states, pads, _ = frames()
    states.categories[..., HIT_BY] = torch.tensor([3, 6])  # the first was hit by port 4, the second by nobody
    there, there_pads = swapped(states, pads, ALL)
    assert torch.equal(there.numbers, states.numbers.flip(-2))
    assert torch.equal(there.flags, states.flags.flip(-2))
    assert torch.equal(there_pads.numbers, pads.numbers.flip(-2))
    assert torch.equal(there_pads.buttons, pads.buttons.flip(-2))
    others = [index for index in range(len(LAYOUT.categories)) if index != HIT_BY]
    assert torch.equal(there.categories[..., others], states.categories.flip(-2)[..., others])
    assert (there.categories[..., HIT_BY] == torch.tensor([6, 0])).all(), "nobody, and the player of the first place"


def test_what_needs_no_learning_does_not_mind() -> None:
    """The transition of a model without weights: mirrored and advanced is advanced and mirrored."""
    model = make_model({"arch": "ballistic"})
    states, pads, context = frames(31)

    def onward(one: State, its_pads: Pads) -> State:
        prediction = model(one[:, :1], its_pads[:, 1:2], context)
        return advance(one[:, :1], prediction, context, model.rules)

    after, _ = mirrored(onward(states, pads), pads[:, 1:2], context)
    assert same(after, onward(*mirrored(states, pads, context)))


def test_the_share_and_that_it_is_a_function_of_seed_and_step() -> None:
    states, pads, context = random_frames(400, 2, seed=1)
    slots = Slots(0, 400, 400)
    turn = symmetries(swap=0.25)

    def turned(which: Symmetries, step: int) -> torch.Tensor:
        found, _, _ = which.apply((states, pads, context), step=step, slots=slots)
        return (found.numbers != states.numbers).flatten(1).any(1)

    assert 0.15 < float(turned(turn, 7).float().mean()) < 0.35
    assert torch.equal(turned(turn, 7), turned(symmetries(swap=0.25), 7))
    assert not torch.equal(turned(turn, 7), turned(turn, 8))
    assert not torch.equal(turned(turn, 7), turned(symmetries(seed=1, swap=0.25), 7))


def test_processes_turn_what_one_would() -> None:
    states, pads, context = frames()
    turn = symmetries(swap=0.5, mirror=0.5)
    whole = turn.apply((states, pads, context), step=5, slots=Slots(0, B, B))
    for first in (0, B // 2):
        part = slice(first, first + B // 2)
        mine = turn.apply((states[part], pads[part], context[part]), step=5, slots=Slots(first, B // 2, B))
        assert same(mine[0], whole[0][part])
        assert same(mine[1], whole[1][part])


def test_only_who_asks_gets_it() -> None:
    assert make_symmetries(make_experiment(), CPU) is None
    assert make_symmetries(make_experiment(symmetry={"swap": 0.0}), CPU) is None
    told = make_symmetries(make_experiment(symmetry={"swap": 0.5, "mirror": 0.25}), CPU)
    assert told is not None
    text = "\n".join(told.describe())
    assert "players swapped in 50%" in text
    assert "mirrored in 25%" in text
    assert "Dream Land" not in text
