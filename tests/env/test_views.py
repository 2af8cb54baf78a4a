"""What a player sees."""

from __future__ import annotations

import torch
from frames_at_random import random_frames

from worldmodel.env.views import FLAG_FIELDS, NUM_FLAT, Flat, flat_bounds, flat_names, seen_by
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS


def test_own_side_first() -> None:
    states, _, _ = random_frames(3, 1)
    state = states[:, 0]
    assert seen_by(state, 0) is state
    turned = seen_by(state, 1)
    for name in ("numbers", "categories", "flags"):
        assert torch.equal(getattr(turned, name)[:, 0], getattr(state, name)[:, 1])
        assert torch.equal(getattr(turned, name)[:, 1], getattr(state, name)[:, 0])


def test_flag_fields_cover_every_bit_once() -> None:
    assert [held.begin for held in FLAG_FIELDS] == [0, *(held.end for held in FLAG_FIELDS[:-1])]
    assert FLAG_FIELDS[-1].end == len(LAYOUT.flag_bits)


def test_every_element_of_the_flat_vector_is_what_its_name_says() -> None:
    states, _, context = random_frames(5, 1, seed=3)
    state = states[:, 0]
    flat, names = Flat("cpu")(state, context.stage), flat_names()
    low, high = flat_bounds()
    assert flat.shape == (5, NUM_FLAT)
    assert len(names) == len(set(names)) == len(low) == len(high) == NUM_FLAT
    assert bool((flat >= torch.tensor(low)).all())
    assert bool((flat <= torch.tensor(high)).all())
    column = {name: flat[:, place] for place, name in enumerate(names)}
    for place, side in enumerate(("own", "other")):
        for k, row in enumerate(LAYOUT.numbers):
            assert torch.equal(column[f"{side}.{row.name}"], state.numbers[:, place, k] * NUMBERS[k].scale)
        for k, flag in enumerate(LAYOUT.flag_bits):
            assert torch.equal(column[f"{side}.{flag.name}"], state.flags[:, place, k].float())
        for k, (row, codec) in enumerate(zip(LAYOUT.categories, CATEGORIES, strict=True)):
            hot = torch.stack([column[f"{side}.{row.name}={code}"] for code in range(codec.vocab)], -1)
            assert torch.equal(hot.sum(-1), torch.ones(5))
            assert torch.equal(hot.argmax(-1), state.categories[:, place, k])
    stage = torch.stack([column[f"stage={code}"] for code in range(33)], -1)
    assert torch.equal(stage.argmax(-1), context.stage)
