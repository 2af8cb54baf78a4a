"""`codec.json`: everything that a client without Python must know to step a graph and to show what comes out.

Owns: that file's content. Must not: hold a fact of its own: all of it is the schema's, the game's, or the graph's.
`KEYS` is its documentation, from which the table in docs/export.md is made.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.dynamics.fresh import DEFAULT_STOCKS, fresh_state
from worldmodel.export.graph import CARRIED, NEXT, NOISE, OPSET, SAID, example, output_names
from worldmodel.melee import pad as pads
from worldmodel.melee.action_states import group_of, state_name
from worldmodel.melee.characters import EXTERNAL_NAMES, EXTERNAL_TO_INTERNAL, INTERNAL_NAMES
from worldmodel.melee.stages import GEOMETRY, STANDING_LIFT, stage_name
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import State
from worldmodel.replays.replay import FIRST_FRAME_ID
from worldmodel.schema import LAYOUT, PLAYERS, STAGE, Buttons, Category, Field, Number
from worldmodel.schema.field import OutOfRange

FORMAT = 1
FPS = 60

KEYS: dict[str, str] = {
    "format": "version of this file's shape",
    "fps": "frames per second of a match",
    "first_frame": "Slippi's number of the first frame of a match",
    "codec_hash": "identity of the encoding; a client made for one hash knows what it reads",
    "model": "what was exported: run, architecture, heads, parameters, step, SHA-256 of the weights, data, versions",
    "files": "graphs in this folder by kind (float32, int8, half): name, bytes, SHA-256, operators",
    "graph": (
        "`opset`, `batch_axis`, `inputs` and `outputs` in order (name, type, shape without the batch, meaning), and "
        "`followers`: input of the next frame -> output of this one that it takes"
    ),
    "players": "names of the two players, in the order of the axis of size 2",
    "numbers": "last axis of `numbers`: name, meaning, unit, roles, bounds, whether whole",
    "categories": (
        "last axis of `categories`: name, meaning, unit, roles, and `codes`: for each code its stored ids and, where "
        "it has one, its name"
    ),
    "flags": "last axis of `flags`: name, field and bit in it, roles",
    "pad": (
        "last axes of `pad_numbers` (`numbers`: name, bounds, grid, the steps that are heard as 0) and `pad_buttons` "
        "(`buttons`: name, bit in a replay), and `heard`: what else the game hears of a button"
    ),
    "stages": "the legal ones by external id: name, `code` for the input `stage`, geometry and spawn points",
    "characters": "by external id: name, internal id, `code` among the categories",
    "presence": "values of the inputs `present_*` for a replay of the newest version, which has every field",
    "start": (
        "a fresh match: `rows` by external stage id with both players as `character`; for another character, "
        "`characters` has what differs, for each player: codes to set and numbers to add. What is carried begins as 0"
    ),
}
"""Top-level key -> what it holds."""

_MEANINGS = {
    "numbers": "numbers of the frame before, in their units",
    "categories": "codes of the frame before",
    "flags": "flags of the frame before",
    "pad_numbers": "sticks and triggers of the frame to be made",
    "pad_buttons": "buttons of the frame to be made",
    "stage": "code of the stage",
    "present_numbers": "which numbers are known in this match",
    "present_categories": "which categories are known",
    "present_flags": "which flags are known",
}
_PREFIXES = {
    CARRIED: "the model's memory; zeros before the first frame",
    NEXT: "the same of the frame made: feed it back",
    SAID: "undecoded: steps of numbers, logits of gates, codes side by side, flags",
    NOISE: "added to the logits: 0 for the likeliest frame, temperature x Gumbel (categories) or logistic noise",
}
_TYPES = {"torch.float32": "float32", "torch.int64": "int64", "torch.bool": "bool"}


def describe(
    model: WorldModel, about: dict[str, Any], files: dict[str, dict[str, Any]], *, sampling: bool
) -> dict[str, Any]:
    """The content of `codec.json`. about: of the weights. files: of each graph."""
    told: dict[str, Any] = {
        "format": FORMAT,
        "fps": FPS,
        "first_frame": FIRST_FRAME_ID,
        "codec_hash": LAYOUT.codec_hash,
        "model": about,
        "files": files,
        "graph": _graph(model, sampling=sampling),
        "players": list(PLAYERS),
        "numbers": [_number(row) for row in LAYOUT.numbers],
        "categories": [_category(row) for row in LAYOUT.categories],
        "flags": [
            {
                "name": flag.name,
                "field": flag.field.name,
                "bit": flag.bit,
                "roles": sorted(flag.field.roles),
            }
            for flag in LAYOUT.flag_bits
        ],
        "pad": _pad(),
        "stages": {str(number): _stage(number) for number in GEOMETRY},
        "characters": {
            str(external): {"name": name, "internal": internal, "code": _code(LAYOUT.the("character"), internal)}
            for external, name in EXTERNAL_NAMES.items()
            for internal in [EXTERNAL_TO_INTERNAL[external]]
        },
        "presence": {name: [1] * width for name, width in _widths(model).items()},
        "start": fresh_start(),
    }
    assert told.keys() == KEYS.keys()
    return told


def dump(told: dict[str, Any]) -> str:
    """One top-level key per line: small, and still to be read."""
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}" for key, value in told.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


# ---- the graph -----------------------------------------------------------------------------------------------------


def _graph(model: WorldModel, *, sampling: bool) -> dict[str, Any]:
    inputs = example(model, 1, sampling=sampling)
    outputs = output_names(model)
    return {
        "opset": OPSET,
        "batch_axis": 0,
        "inputs": [
            {
                "name": name,
                "type": _TYPES[str(tensor.dtype)],
                "shape": list(tensor.shape[1:]),
                "meaning": _meaning(name),
            }
            for name, tensor in inputs.items()
        ],
        "outputs": [{"name": name, "meaning": _meaning(name)} for name in outputs],
        "followers": {name.removeprefix(NEXT): name for name in outputs if name.startswith(NEXT)},
    }


def _meaning(name: str) -> str:
    return _MEANINGS.get(name) or next(text for prefix, text in _PREFIXES.items() if name.startswith(prefix))


def _widths(model: WorldModel) -> dict[str, int]:
    given = example(model, 1)
    return {name: given[name].shape[-1] for name in given if name.startswith("present_")}


# ---- fields --------------------------------------------------------------------------------------------------------


def _field(row: Field) -> dict[str, Any]:
    return {"name": row.name, "doc": row.doc, "unit": row.unit, "roles": sorted(row.roles)}


def _number(row: Field) -> dict[str, Any]:
    assert isinstance(row.codec, Number)
    low, high = row.codec.bounds
    return _field(row) | {"low": low, "high": high, "whole": row.codec.integer}


def _category(row: Field) -> dict[str, Any]:
    assert isinstance(row.codec, Category)
    names = _names_of_ids(row)
    codes = []
    for code, ids in enumerate(_ids(row.codec)):
        entry: dict[str, Any] = {"ids": ids}
        if code == row.codec.vocab - 1 and row.codec.out_of_range is OutOfRange.OTHER:
            entry["name"] = "other"
        elif ids and ids[0] in names:
            entry |= names[ids[0]]
        codes.append(entry)
    return _field(row) | {"predicted": row.codec.predicted, "codes": codes}


def _ids(codec: Category) -> list[list[int]]:
    """Stored ids of each code; those of *other* are the listed ones and all that no code has."""
    aliased = dict(codec.alias)
    out: list[list[int]] = [[] for _ in range(codec.vocab)]
    for code in range(codec.vocab):
        stored = code - codec.offset
        if stored >= 0 and stored not in aliased:
            out[code].append(stored)
    for stored, code in codec.alias:
        out[code].append(stored)
    return out


def _names_of_ids(row: Field) -> dict[int, dict[str, str]]:
    """What is known of stored ids, by the field's role."""
    assert isinstance(row.codec, Category)
    if "action_state" in row.roles:
        return {number: {"name": state_name(number), "group": group_of(number)} for number in range(row.codec.vocab)}
    if "character" in row.roles:
        return {number: {"name": name} for number, name in INTERNAL_NAMES.items()}
    return {}


def _code(row: Field, stored: int) -> int:
    assert isinstance(row.codec, Category)
    return dict(row.codec.alias).get(stored, stored + row.codec.offset)


# ---- the controller ------------------------------------------------------------------------------------------------


def _pad() -> dict[str, Any]:
    buttons = LAYOUT.pad_buttons.codec
    assert isinstance(buttons, Buttons)
    names = {mask: name for name, mask in pads.BUTTONS.items()}
    return {
        "numbers": [_axis(row) for row in LAYOUT.pad_numbers],
        "buttons": [{"name": names[mask], "mask": mask} for mask in buttons.masks],
        "heard": [
            {"button": "z", "also": "a", "trigger_at_least": pads.Z_TRIGGER},
            {"button": "l", "trigger_at_least": 1.0},
            {"button": "r", "trigger_at_least": 1.0},
        ],
        "sticks_inside_unit_circle": True,
    }


def _axis(row: Field) -> dict[str, Any]:
    told = _number(row)
    is_stick = told["low"] < 0
    steps, dead = (
        (pads.STICK_STEPS, pads.STICK_DEAD_STEPS) if is_stick else (pads.TRIGGER_STEPS, pads.TRIGGER_DEAD_STEPS)
    )
    del told["whole"]
    return told | {"kind": "stick" if is_stick else "trigger", "steps": steps, "dead_steps": dead}


# ---- the game ------------------------------------------------------------------------------------------------------


def _stage(number: int) -> dict[str, Any]:
    stage = GEOMETRY[number]
    return {
        "name": stage_name(number),
        "code": number + STAGE.offset,
        "floor": {
            "height": stage.floor,
            "edge": stage.edge,
            "edge_height": stage.edge_height,
            "flat": stage.flat,
            "ground": stage.ground,
        },
        "platforms": [
            {"left": part.left, "right": part.right, "height": part.height, "ground": part.ground}
            for part in stage.platforms
        ],
        "blast_zone": {"left": stage.left, "right": stage.right, "top": stage.top, "bottom": stage.bottom},
        "spawns": [list(place) for place in stage.spawns],
        "standing_lift": STANDING_LIFT,
    }


_BASE = 2
"""External id of the character that `start.rows` are written with."""


def fresh_start() -> dict[str, Any]:
    """The first frame of a match on every legal stage, and what another character changes in it."""
    stages = list(GEOMETRY)
    rows = [_row(stage, _BASE) for stage in stages]
    changes = {}
    for external in EXTERNAL_NAMES:
        found = [_changes(rows[0], _row(stages[0], external), p) for p in range(len(PLAYERS))]
        changes[str(external)] = found
    return {
        "stocks": DEFAULT_STOCKS,
        "character": _BASE,
        "rows": {
            str(stage): {
                "numbers": _plain(row.numbers[0].numpy()),
                "categories": row.categories[0].tolist(),
                "flags": row.flags[0].int().tolist(),
            }
            for stage, row in zip(stages, rows, strict=True)
        },
        "characters": changes,
    }


def _row(stage: int, character: int) -> State:
    return fresh_state([stage], [(character, character)])[0]


def _changes(base: State, other: State, player: int) -> dict[str, dict[str, float]]:
    """Codes that are other, numbers that are more; both by place on the last axis. Flags are everybody's."""
    assert bool((base.flags == other.flags).all())
    codes = (base.categories[0, player] != other.categories[0, player]).nonzero().flatten().tolist()
    more = (other.numbers - base.numbers)[0, player]
    return {
        "categories": {str(index): int(other.categories[0, player, index]) for index in codes},
        "numbers": {str(index): float(more[index]) for index in more.nonzero().flatten().tolist()},
    }


def _plain(values: NDArray[np.float32]) -> list[Any]:
    """Nested lists of the shortest decimal that is each float32."""
    if values.ndim:
        return [_plain(part) for part in values]
    return float(str(values))  # type: ignore[return-value]


def keys_table() -> str:
    """The table of docs/export.md."""
    rows = [f"| `{key}` | {text} |" for key, text in KEYS.items()]
    return "\n".join(["| key | what it holds |", "|---|---|", *rows])


if __name__ == "__main__":
    print(keys_table())
