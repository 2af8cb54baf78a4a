"""Every event's rule, on rows made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldmodel.melee.action_states import NAMES
from worldmodel.schema import LAYOUT, Category
from worldmodel.schema.events import EVENTS, Rows, is_one_of


class HandRows(Rows):
    """Rows out of a dictionary; remembers what was read."""

    def __init__(self, **columns: list[Any]) -> None:
        self.columns = {name: np.array(values) for name, values in columns.items()}
        self.read: set[str] = set()

    def number(self, role: str) -> Any:
        self.read.add(role)
        return self.columns[role]

    def flag(self, role: str) -> Any:
        return self.number(role)

    def action_states(self) -> Any:
        return self.number("action_state")


def states(*names: str) -> dict[str, list[int]]:
    return {"action_state": [NAMES.index(name) for name in names]}


WAIT = "Wait"
# event, rows before, rows after, when it happens
CASES = [
    ("hit", {"percent": [0.0, 10.5, 10.5, 80.0]}, {"percent": [0.25, 10.5, 22.0, 0.0]}, [1, 0, 1, 0]),
    ("death", {"stocks": np.uint8([4, 4, 1, 0])}, {"stocks": np.uint8([3, 4, 0, 0])}, [1, 0, 1, 0]),
    (
        "respawn",
        states("DeadDown", "Rebirth", "RebirthWait", WAIT),
        states("Rebirth", "RebirthWait", "Fall", WAIT),
        [1, 0, 0, 0],
    ),
    (
        "landing",
        {"airborne": [True, True, False, False, True]} | states("Fall", "Fall", WAIT, "KneeBend", "CliffClimbQuick"),
        {"airborne": [False, True, False, True, False]} | states("Landing", "Fall", WAIT, "JumpF", WAIT),
        [1, 0, 0, 0, 0],
    ),
    (
        "ledge_grab",
        states("Fall", "CliffCatch", "CliffWait", "CliffWait"),
        states("CliffCatch", "CliffWait", "CliffWait", "Fall"),
        [1, 0, 0, 0],
    ),
    (
        "shield",
        states(WAIT, "GuardOn", "Guard", "Run", "GuardOff"),
        states("GuardOn", "Guard", "GuardSetOff", "GuardReflect", WAIT),
        [1, 0, 0, 1, 0],
    ),
    (
        "grab",
        states("Catch", "CatchDash", "CatchPull", WAIT, "Catch"),
        states("CatchPull", "CatchDashPull", "CatchWait", "Catch", WAIT),
        [1, 1, 0, 0, 0],
    ),
    (
        "thrown",
        states("CaptureWaitHi", "ThrownF", "ThrownF", "CaptureDamageLw"),
        states("ThrownF", "ThrownF", "DamageFlyN", "ThrownLwWomen"),
        [1, 0, 0, 1],
    ),
    (
        "tech",
        states("DamageFlyN", "Passive", "DamageFall", "DamageFlyTop", "JumpF", "DamageFlyRoll"),
        states("Passive", WAIT, "PassiveStandF", "PassiveCeil", "PassiveWallJump", "DownBoundU"),
        [1, 0, 1, 1, 0, 0],
    ),
]


@pytest.mark.parametrize(("name", "before", "now", "happens"), CASES, ids=[case[0] for case in CASES])
def test_each_rule_by_hand(name: str, before: Any, now: Any, happens: list[int]) -> None:
    rows, following = HandRows(**before), HandRows(**now)
    found = EVENTS[name].rule(rows, following)
    assert found.dtype == bool
    assert found.tolist() == [bool(value) for value in happens]
    assert rows.read | following.read == set(EVENTS[name].needs)  # what decides whether it is known


def test_every_event_is_tried() -> None:
    assert [case[0] for case in CASES] == list(EVENTS)


def test_what_rules_read_exists_once() -> None:
    for event in EVENTS.values():
        for role in event.needs:
            assert LAYOUT.the(role).codec is not None  # models see it too


def test_membership_is_that_of_the_set() -> None:
    """Also of ids past the common states, up to the last that a model can tell from *other*."""
    codec = LAYOUT.the("action_state").codec
    assert isinstance(codec, Category)
    ids = np.arange(codec.vocab - 1)
    for wanted in ({5}, {0, 1, 2}, {0, 2, 4, 5, 6, 398}, set(range(399))):
        assert set(ids[is_one_of(ids, frozenset(wanted))].tolist()) == wanted
