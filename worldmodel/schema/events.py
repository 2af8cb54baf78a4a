"""**The one table of events**: what may happen to a player from one row to the next, as rules of two consecutive rows.

Owns: the name and the rule of every event. Must not: import numpy or torch. Rules use operators only, so that one rule
serves columns at rest (`dataset.events`), tensors (`dynamics.events`) and whoever else brings `Rows`.

An event of row t is decided by the rows t-1 and t of one player. It is *unknown* where the replay lacks a field that
the rule reads: that is said beside the answer, and never counts as "did not happen".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from worldmodel.melee.action_states import GRAB_HOLDS, GROUPS, LEDGE_GRABS, TECHS


class Rows(ABC):
    """Rows of players, as arrays of any kind that have comparisons and `&`, `|`, `~`."""

    @abstractmethod
    def number(self, role: str) -> Any:
        """The number with a role, in the schema's unit."""

    @abstractmethod
    def flag(self, role: str) -> Any:
        """The one-bit flag with a role, bool."""

    @abstractmethod
    def action_states(self) -> Any:
        """Ids of the action states, as the replay has them."""

    def in_states(self, ids: frozenset[int]) -> Any:
        """Whether the action state is one of `ids`, bool."""
        return is_one_of(self.action_states(), ids)


Rule = Callable[[Rows, Rows], Any]
"""(rows before, rows now) -> bool array: whether it happened now."""


@dataclass(frozen=True, slots=True)
class GameEvent:
    """One kind of event. needs: roles of the fields that its rule reads; unknown where a replay lacks one of them."""

    name: str
    doc: str
    needs: tuple[str, ...]
    rule: Rule


def is_one_of(ids: Any, wanted: frozenset[int]) -> Any:
    """Membership as comparisons with the ends of each run of consecutive ids: no table, so nothing to put anywhere."""
    ordered = sorted(wanted)
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), ordered[-1]]
    first, *others = [(ids >= low) & (ids <= high) for low, high in zip(starts, ends, strict=True)]
    for other in others:
        first = first | other
    return first


def _enters(ids: frozenset[int]) -> Rule:
    return lambda before, now: ~before.in_states(ids) & now.in_states(ids)


PERCENT_STEP = 0.01
"""Rises of percent up to this are a model's rounding and no hit: the smallest of 22,580 real ones is 0.74."""

_STATE = ("action_state",)
_LEDGE = GROUPS["ledge"] | GROUPS["ledge_option"]

_TABLE = (
    GameEvent(
        "hit",
        "percent rises",
        ("percent",),
        lambda before, now: now.number("percent") > before.number("percent") + PERCENT_STEP,
    ),
    GameEvent(
        "death",
        "stocks fall",
        ("stocks",),
        lambda before, now: now.number("stocks") < before.number("stocks"),
    ),
    GameEvent("respawn", "comes down on the platform after a death", _STATE, _enters(GROUPS["respawn"])),
    GameEvent(
        "landing",
        "in the air before, on the ground now; not from a ledge",
        ("airborne", "action_state"),
        lambda before, now: (
            before.flag("airborne") & ~now.flag("airborne") & ~before.in_states(_LEDGE) & ~now.in_states(_LEDGE)
        ),
    ),
    GameEvent("ledge_grab", "takes hold of a ledge", _STATE, _enters(LEDGE_GRABS)),
    GameEvent("shield", "raises the shield", _STATE, _enters(GROUPS["shield"])),
    GameEvent(
        "grab", "has caught the other player; characters' own command grabs do not count", _STATE, _enters(GRAB_HOLDS)
    ),
    GameEvent("thrown", "begins to be thrown", _STATE, _enters(GROUPS["thrown"])),
    GameEvent("tech", "techs on the floor, a wall or the ceiling", _STATE, _enters(TECHS)),
)

EVENTS: dict[str, GameEvent] = {event.name: event for event in _TABLE}
"""Every event by its name; the order is that of the axis E."""
