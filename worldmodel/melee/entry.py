"""How a match begins: what each character enters with, and where the Ice Climbers stand.

Owns: these few facts. Spawn points are the stages' (`melee.stages`). Must not: know fields.

Measured on the first rows of 250 real two-player games (500 players, 22 characters) of Slippi 3.9 to 3.17.
"""

from __future__ import annotations

AIR_JUMPS = 1
"""Jumps left in the first row: the character enters in the air, so the one from the ground is not counted."""

AIR_JUMPS_BY_CHARACTER: dict[int, int] = {4: 5, 15: 5}
"""The same by internal id, where it differs: Kirby (1 player seen) and Jigglypuff (15 seen) float up five times."""

POPO_AHEAD = 5.0
"""Game units: the leader of the Ice Climbers enters so far from the spawn point, the way it faces (2 players seen)."""
