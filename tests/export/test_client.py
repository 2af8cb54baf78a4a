"""`codec.json` holds what the schema, the game and the graph say, and no more."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from small_export import Exported

from worldmodel.dataset.codes import category_codes
from worldmodel.dynamics.fresh import fresh_state
from worldmodel.export import client, folder
from worldmodel.export.graph import example, input_names, output_names
from worldmodel.melee import pad
from worldmodel.melee.characters import EXTERNAL_NAMES
from worldmodel.melee.stages import GEOMETRY
from worldmodel.schema import LAYOUT


@pytest.fixture
def told(exported: Exported) -> dict[str, Any]:
    return json.loads((exported.path / folder.CODEC).read_text(encoding="utf-8"))


def test_every_key_is_documented(told: dict[str, Any]) -> None:
    assert list(told) == list(client.KEYS)


def test_the_orders_are_the_layouts(told: dict[str, Any]) -> None:
    assert told["codec_hash"] == LAYOUT.codec_hash
    assert [row["name"] for row in told["numbers"]] == [row.name for row in LAYOUT.numbers]
    assert [row["name"] for row in told["categories"]] == [row.name for row in LAYOUT.categories]
    assert [row["name"] for row in told["flags"]] == [flag.name for flag in LAYOUT.flag_bits]
    assert [row["name"] for row in told["pad"]["numbers"]] == [row.name for row in LAYOUT.pad_numbers]
    assert [row["mask"] for row in told["pad"]["buttons"]] == list(LAYOUT.pad_buttons.codec.masks)
    assert all(pad.BUTTONS[row["name"]] == row["mask"] for row in told["pad"]["buttons"])
    for row, field in zip(told["numbers"], LAYOUT.numbers, strict=True):
        assert (row["low"], row["high"], row["whole"]) == (*field.codec.bounds, field.codec.integer)
        assert (row["unit"], row["roles"]) == (field.unit, sorted(field.roles))


def test_codes_and_ids_are_the_codecs(told: dict[str, Any]) -> None:
    """Each id that a code is said to stand for is encoded as that code; nothing below the last id is left out."""
    for row, field in zip(told["categories"], LAYOUT.categories, strict=True):
        assert len(row["codes"]) == field.codec.vocab
        listed = {number: code for code, entry in enumerate(row["codes"]) for number in entry["ids"]}
        ids = np.array(sorted(listed))
        np.testing.assert_array_equal(category_codes(field, ids)[0], [listed[number] for number in ids])
    state = told["categories"][LAYOUT.category("action_state")]["codes"]
    assert state[14]["name"] == "Wait"
    assert state[-1]["name"] == "other"


def test_the_graph_is_the_graph(exported: Exported, told: dict[str, Any]) -> None:
    graph = exported.graph()
    inputs = {given["name"]: (tuple(given["shape"]), np.dtype(given["type"])) for given in told["graph"]["inputs"]}
    assert inputs == {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in graph.inputs.items()}
    assert list(inputs) == input_names(exported.model, sampling=True)
    assert [made["name"] for made in told["graph"]["outputs"]] == graph.outputs == output_names(exported.model)
    assert told["graph"]["followers"] == graph.followers
    assert {name for name in inputs if name in told["graph"]["followers"]} == set(told["graph"]["followers"])
    assert {name: len(bits) for name, bits in told["presence"].items()} == {
        name: tensor.shape[-1] for name, tensor in example(exported.model, 1).items() if name.startswith("present_")
    }


def test_a_fresh_match_is_that_of_the_dynamics(told: dict[str, Any]) -> None:
    """Any stage, any two characters, put together from the file as a client does."""
    start = told["start"]
    for stage in GEOMETRY:
        for first, second in zip(EXTERNAL_NAMES, reversed(EXTERNAL_NAMES), strict=True):
            rows = {name: np.array(values) for name, values in start["rows"][str(stage)].items()}
            for player, character in enumerate((first, second)):
                changes = start["characters"][str(character)][player]
                for index, code in changes["categories"].items():
                    rows["categories"][player, int(index)] = code
                for index, more in changes["numbers"].items():
                    rows["numbers"][player, int(index)] += more
            state, context = fresh_state([stage], [(first, second)], stocks=start["stocks"])
            np.testing.assert_array_equal(rows["numbers"].astype(np.float32), state.numbers[0])
            np.testing.assert_array_equal(rows["categories"], state.categories[0])
            np.testing.assert_array_equal(rows["flags"], state.flags[0])
            assert told["stages"][str(stage)]["code"] == int(context.stage[0])


def test_numbers_come_back_as_they_were(told: dict[str, Any]) -> None:
    assert json.loads(client.dump(told)) == told
    (row,) = told["start"]["rows"]["28"]["numbers"][:1]
    state, _ = fresh_state([28], [(2, 2)])
    np.testing.assert_array_equal(np.float32(row), state.numbers[0, 0])


def test_geometry_is_the_stages(told: dict[str, Any]) -> None:
    for number, stage in GEOMETRY.items():
        found = told["stages"][str(number)]
        assert found["blast_zone"] == {side: getattr(stage, side) for side in ("left", "right", "top", "bottom")}
        assert found["spawns"] == [list(place) for place in stage.spawns]
        assert len(found["platforms"]) == len(stage.platforms)
