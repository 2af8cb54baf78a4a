"""Characters: the two numberings of the game, and their names.

Owns: ids and names. A replay's Game Start event carries *external* ids (the character select screen), its frames
carry *internal* ids (the running game). Must not: hold attributes of characters (weights, speeds).

Checked on 496 players of 248 real games: the external id of the start and the internal id of the first frame agree
with these tables for all of them (22 characters seen). The unseen ones (Ice Climbers, Bowser, the bosses) are from
Slippi's published id lists.
"""

from __future__ import annotations

EXTERNAL_NAMES: dict[int, str] = {
    0: "Captain Falcon",
    1: "Donkey Kong",
    2: "Fox",
    3: "Mr. Game & Watch",
    4: "Kirby",
    5: "Bowser",
    6: "Link",
    7: "Luigi",
    8: "Mario",
    9: "Marth",
    10: "Mewtwo",
    11: "Ness",
    12: "Peach",
    13: "Pikachu",
    14: "Ice Climbers",
    15: "Jigglypuff",
    16: "Samus",
    17: "Yoshi",
    18: "Zelda",
    19: "Sheik",
    20: "Falco",
    21: "Young Link",
    22: "Dr. Mario",
    23: "Roy",
    24: "Pichu",
    25: "Ganondorf",
    26: "Master Hand",
    27: "Wireframe Male",
    28: "Wireframe Female",
    29: "Giga Bowser",
    30: "Crazy Hand",
    31: "Sandbag",
    32: "Popo",
}
"""Name by external id."""

INTERNAL_NAMES: dict[int, str] = {
    0: "Mario",
    1: "Fox",
    2: "Captain Falcon",
    3: "Donkey Kong",
    4: "Kirby",
    5: "Bowser",
    6: "Link",
    7: "Sheik",
    8: "Ness",
    9: "Peach",
    10: "Popo",
    11: "Nana",
    12: "Pikachu",
    13: "Samus",
    14: "Yoshi",
    15: "Jigglypuff",
    16: "Mewtwo",
    17: "Luigi",
    18: "Marth",
    19: "Zelda",
    20: "Young Link",
    21: "Dr. Mario",
    22: "Falco",
    23: "Pichu",
    24: "Mr. Game & Watch",
    25: "Ganondorf",
    26: "Roy",
    27: "Master Hand",
    28: "Crazy Hand",
    29: "Wireframe Male",
    30: "Wireframe Female",
    31: "Giga Bowser",
    32: "Sandbag",
}
"""Name by internal id."""

ICE_CLIMBERS = 14
"""External id of the pair. In frames the leader is Popo, the follower Nana."""

_INTERNAL_BY_NAME = {name: number for number, name in INTERNAL_NAMES.items()}
_EXTERNAL_BY_NAME = {name: number for number, name in EXTERNAL_NAMES.items()}

EXTERNAL_TO_INTERNAL: dict[int, int] = {
    number: _INTERNAL_BY_NAME["Popo" if number == ICE_CLIMBERS else name] for number, name in EXTERNAL_NAMES.items()
}
"""Internal id that a game starts with, by external id."""

INTERNAL_TO_EXTERNAL: dict[int, int] = {
    number: ICE_CLIMBERS if name in ("Popo", "Nana") else _EXTERNAL_BY_NAME[name]
    for number, name in INTERNAL_NAMES.items()
}
"""External id by internal id; both climbers give the pair."""


def external_name(character: int) -> str:
    """Name of an external id; unknown ids (modded games) are named by their number."""
    return EXTERNAL_NAMES.get(character, f"character {character}")


def internal_name(character: int) -> str:
    """Name of an internal id; unknown ids (modded games) are named by their number."""
    return INTERNAL_NAMES.get(character, f"internal character {character}")
