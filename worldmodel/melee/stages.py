"""Stages: external ids, names, and the geometry of the six legal ones.

Owns: ids, names, floors, platforms, ledges, blast zones, ground ids. Must not: simulate anything.

How each number was checked, on 248 real two-player games (2.2 million frames) of Slippi 3.9-3.17:

- floor and platform heights: `y` of grounded frames in idle, walk, dash, run, crouch and landing states, per ground
  id. The game rests bodies `STANDING_LIFT` above the surface, so heights here are the observed ones less 0.0001.
- platform extents and edges: extreme `x` of the same frames. Bodies stand up to 0.1 past an end, so the observed
  extremes are these values plus at most 0.1 (the right platform of Dream Land is 31.70 .. 63.07: wider to the right
  than the left one, and at another height).
- blast zones: all 1,513 deaths have their first frame outside. Living bodies are inside left and right on every
  frame, and inside bottom but for a few held or thrown ones. The top kills bodies in hitstun only; others fly above it.
- ground ids: the `ground` of the same frames.
- mirrored surfaces: the two of a pair hold grounded bodies at opposite x. Dream Land is no mirror of itself (above),
  nor is Yoshi's Story, where bodies die at 175.7 to the left and 173.6 to the right. What moves by itself on the others
  (the Fountain's platforms, a transformed Stadium) does so unseen.
- Fountain of Dreams: the side platforms move; heights seen run from 0.375 (almost in the floor) to 27.375. The floor
  is stepped: 0.0029 in the middle, 0.6239 past |x| 53.585, a slope from 51.26 between.
- Yoshi's Story: the floor is flat to |x| 39.2 and slopes to -3.5 at the ledges. Randall, the cloud, is not listed.
- Pokémon Stadium: this is the untransformed stage.
- places of return: the 1,267 first rows of action state 12. All are at the stage's height (to 0.0001) with its
  speed. The x is the player's own where the place is free (97 %), else another's, as with ports 3 and 4 on two stages.
- spawn points: `x` and `y` of the first row of 250 real two-player games (Slippi 3.9-3.17). They follow the order of
  the ports, not their numbers (ports 1 and 3 begin as ports 1 and 2 do), and both players face the middle: these are
  the neutral spawns of tournament play. Console replays of the unmodified game may begin elsewhere, by port number, and
  in old versions a little lower on Dream Land. The one exception seen is the leader of the Ice Climbers
  (`melee.entry.POPO_AHEAD`).
"""

from __future__ import annotations

from dataclasses import dataclass

NAMES: dict[int, str] = {
    0: "Dummy",
    1: "Test",
    2: "Fountain of Dreams",
    3: "Pokémon Stadium",
    4: "Princess Peach's Castle",
    5: "Kongo Jungle",
    6: "Brinstar",
    7: "Corneria",
    8: "Yoshi's Story",
    9: "Onett",
    10: "Mute City",
    11: "Rainbow Cruise",
    12: "Jungle Japes",
    13: "Great Bay",
    14: "Hyrule Temple",
    15: "Brinstar Depths",
    16: "Yoshi's Island",
    17: "Green Greens",
    18: "Fourside",
    19: "Mushroom Kingdom",
    20: "Mushroom Kingdom II",
    21: "Akaneia",
    22: "Venom",
    23: "Poké Floats",
    24: "Big Blue",
    25: "Icicle Mountain",
    26: "Icetop",
    27: "Flat Zone",
    28: "Dream Land N64",
    29: "Yoshi's Island N64",
    30: "Kongo Jungle N64",
    31: "Battlefield",
    32: "Final Destination",
}
"""Name by external stage id. 0, 1, 21 and 26 are in no menu."""

STANDING_LIFT = 0.0001
"""Bodies at rest stand this much above the surface."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A surface that one can drop through. Units: game units."""

    left: float
    right: float
    height: float
    ground: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Geometry, game units. `floor` is the height of the middle of the main floor, `edge` the |x| of its ends,
    `edge_height` the height there. Blast zones: `left`, `right`, `top`, `bottom`. `ground` is the main floor's id."""

    number: int
    floor: float
    edge: float
    edge_height: float
    flat: float
    """|x| up to which the floor is flat; it slopes from there to `edge_height` at the edge."""
    ground: int
    left: float
    right: float
    top: float
    bottom: float
    spawns: tuple[tuple[float, float], tuple[float, float]]
    """(x, y) in the first row of a match, of the player of the lower port and of the other."""
    returns: tuple[tuple[float, float], float]
    """Where the dead come back: x of the player of the lower port and of the other, and the height."""
    descent: float
    """Speed at which they come down from there, for 60 rows."""
    platforms: tuple[Platform, ...] = ()
    moving: frozenset[int] = frozenset()
    """Ids of surfaces that are not always where they are listed."""
    mirrored: tuple[tuple[int, int], ...] | None = None
    """Ids of surfaces that change places when the stage is mirrored left-right; all others stay. None: the mirrored
    stage is another one."""

    @property
    def name(self) -> str:
        """Name of the stage."""
        return NAMES[self.number]


GEOMETRY: dict[int, Stage] = {
    2: Stage(
        number=2,
        floor=0.0028,
        edge=63.35,
        edge_height=0.6238,
        flat=51.26,
        ground=5,
        left=-198.75,
        right=198.75,
        top=202.5,
        bottom=-146.25,
        spawns=((-41.25, 21.0), (41.25, 27.0)),
        returns=((0.0, 0.0), 111.6875),
        descent=0.8125,
        platforms=(
            Platform(-49.5, -21.0, 16.125, 0),
            Platform(21.0, 49.5, 22.125, 1),
            Platform(-14.25, 14.25, 42.75, 2),
        ),
        moving=frozenset({0, 1}),
        mirrored=((0, 1), (3, 7), (4, 6)),
    ),
    3: Stage(
        number=3,
        floor=0.0,
        edge=87.75,
        edge_height=0.0,
        flat=87.75,
        ground=34,
        left=-230.0,
        right=230.0,
        top=180.0,
        bottom=-111.0,
        spawns=((-40.0, 32.0), (40.0, 32.0)),
        returns=((0.0, 0.0), 119.0),
        descent=1.0,
        platforms=(Platform(-55.0, -25.0, 25.0, 35), Platform(25.0, 55.0, 25.0, 36)),
        moving=frozenset({34, 35, 36}),
        mirrored=((35, 36), (51, 54), (52, 53)),
    ),
    8: Stage(
        number=8,
        floor=0.0,
        edge=56.0,
        edge_height=-3.5,
        flat=39.2,
        ground=3,
        left=-175.7,
        right=173.6,
        top=168.0,
        bottom=-91.0,
        spawns=((-42.0, 26.6), (42.0, 28.0)),
        returns=((0.0, 0.0), 117.20334),
        descent=1.0966668,
        platforms=(
            Platform(-59.5, -28.0, 23.45, 1),
            Platform(28.0, 59.5, 23.45, 5),
            Platform(-15.75, 15.75, 42.0, 4),
        ),
    ),
    28: Stage(
        number=28,
        floor=0.0088,
        edge=77.27,
        edge_height=0.0088,
        flat=77.27,
        ground=4,
        left=-255.0,
        right=255.0,
        top=250.0,
        bottom=-123.0,
        spawns=((-46.6, 37.2), (47.4, 37.3)),
        returns=((0.0, 0.0), 188.23703),
        descent=1.762975,
        platforms=(
            Platform(-61.3929, -31.7254, 30.1421, 0),
            Platform(31.7036, 63.0745, 30.2425, 1),
            Platform(-19.0182, 19.0171, 51.4253, 2),
        ),
    ),
    31: Stage(
        number=31,
        floor=0.0,
        edge=68.4,
        edge_height=0.0,
        flat=68.4,
        ground=1,
        left=-224.0,
        right=224.0,
        top=200.0,
        bottom=-108.8,
        spawns=((-38.8, 35.2), (38.8, 35.2)),
        returns=((12.8, -40.0), 135.06665),
        descent=0.9333334,
        platforms=(
            Platform(-57.6, -20.0, 27.2, 2),
            Platform(20.0, 57.6, 27.2, 4),
            Platform(-18.8, 18.8, 54.4, 3),
        ),
        mirrored=((0, 5), (2, 4)),
    ),
    32: Stage(
        number=32,
        floor=0.0,
        edge=85.5657,
        edge_height=0.0,
        flat=85.5657,
        ground=1,
        left=-246.0,
        right=246.0,
        top=188.0,
        bottom=-140.0,
        spawns=((-60.0, 10.0), (60.0, 10.0)),
        returns=((16.0, -50.0), 112.85),
        descent=1.15,
        mirrored=((0, 2),),
    ),
}
"""Geometry by external stage id. Fountain's side platforms are at two of the heights at which they rest."""

LEGAL_STAGES: tuple[int, ...] = tuple(GEOMETRY)
"""The stages of tournament play."""


def stage_name(stage: int) -> str:
    """Name of an external stage id; ids outside of the versus menu are named by their number."""
    return NAMES.get(stage, f"stage {stage}")
