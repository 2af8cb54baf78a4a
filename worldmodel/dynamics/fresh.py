"""A new match: the frame that replays begin with, for any stages, characters and stocks.

Owns: the first frame as tensors. Must not: know a value of a field (that is `schema.start`) or a place of a stage.

Letters: B worlds.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.dataset.codes import category_codes, flag_word
from worldmodel.errors import WrongUse
from worldmodel.melee.characters import EXTERNAL_NAMES, EXTERNAL_TO_INTERNAL, ICE_CLIMBERS
from worldmodel.melee.entry import POPO_AHEAD
from worldmodel.melee.stages import GEOMETRY, NAMES
from worldmodel.nn.frames import Context, State
from worldmodel.schema import LAYOUT, PLAYERS, Number
from worldmodel.schema.start import start_values

DEFAULT_STOCKS = 4


def fresh_state(
    stages: Sequence[str | int], characters: Sequence[Sequence[str | int]], *, stocks: int = DEFAULT_STOCKS
) -> tuple[State, Context]:
    """The first frame of B matches, (B,2,·) and (B,·), on the host.

    stages: names or external ids of legal stages. characters: of both players of each match, p0 first, names or
    external ids. Raises WrongUse for names that nobody has, stages without known spawn points, stocks out of range.
    """
    if len(stages) != len(characters):
        raise WrongUse(f"{len(stages)} stages for {len(characters)} pairs of characters", "as many", "give one each")
    bounds = LAYOUT.the("stocks").codec
    assert isinstance(bounds, Number)
    if not 1 <= stocks <= bounds.bounds[1]:
        raise WrongUse(f"{stocks} stocks", f"1 to {bounds.bounds[1]:g}", "tournaments play 4")
    players = []
    numbers = []
    for stage, pair in zip(stages, characters, strict=True):
        number = stage_number(stage)
        numbers.append(number)
        if len(pair) != len(PLAYERS):
            raise WrongUse(f"{len(pair)} characters", f"{len(PLAYERS)}, one for each player", "give two")
        players += [_player(number, p, character_number(who), stocks) for p, who in enumerate(pair)]
    return state_of(players), context_of(np.array(numbers, np.int64))


def _player(stage: int, p: int, character: int, stocks: int) -> dict[str, float | int]:
    """The stored values of one player in the first row. character: external id."""
    x, y = GEOMETRY[stage].spawns[p]
    faces_right = p == 0  # both face the middle, and p0 is on the left
    if character == ICE_CLIMBERS:
        x += POPO_AHEAD if faces_right else -POPO_AHEAD
    return start_values(x=x, y=y, faces_right=faces_right, stocks=stocks, character=EXTERNAL_TO_INTERNAL[character])


def state_of(players: Sequence[Mapping[str, float | int]]) -> State:
    """Stored values of B x 2 players, p0 and p1 in turn, as tensors (B,2,·)."""

    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.array([values[name] for values in players], dtype)

    numbers = [column(row.name, np.float32) for row in LAYOUT.numbers]
    codes = [category_codes(row, column(row.name, row.dtype))[0] for row in LAYOUT.categories]
    flags = [
        (flag_word(flag.field, column(flag.field.name, flag.field.dtype)) >> np.uint64(flag.bit)) & np.uint64(1)
        for flag in LAYOUT.flag_bits
    ]

    def stacked(columns: list[NDArray[Any]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(columns, -1).reshape(-1, len(PLAYERS), len(columns)))

    return State(stacked(numbers), stacked(codes).long(), stacked(flags).bool())


def context_of(stages: NDArray[np.int64]) -> Context:
    """Of B matches by external stage id, of which every field is known."""
    codes = torch.from_numpy(category_codes(LAYOUT.the("stage"), stages)[0]).long()
    known = [len(LAYOUT.numbers), len(LAYOUT.categories), len(LAYOUT.flag_bits)]
    return Context(codes, *(torch.ones(len(stages), count, dtype=torch.bool) for count in known))


def stage_number(stage: str | int) -> int:
    """External id of a legal stage, given by that or by its name, whatever the case. Raises WrongUse."""
    legal = {number: NAMES[number] for number in GEOMETRY}
    return _number(stage, legal, "stage")


def character_number(character: str | int) -> int:
    """External id of a character, given by that or by its name, whatever the case. Raises WrongUse."""
    return _number(character, EXTERNAL_NAMES, "character")


def _number(given: str | int, names: Mapping[int, str], what: str) -> int:
    if isinstance(given, int) and given in names:
        return given
    text = str(given).strip().casefold()
    by_name = {name.casefold(): number for number, name in names.items()}
    if isinstance(given, str) and text in by_name:
        return by_name[text]
    if isinstance(given, str) and text.isdecimal() and int(text) in names:
        return int(text)
    near = difflib.get_close_matches(text, by_name, n=1)
    raise WrongUse(
        f"{what} {given!r}",
        f"one of {', '.join(f'{number} {name}' for number, name in names.items())}",
        f"do you mean {names[by_name[near[0]]]}?" if near else "give a name or an external id",
    )
