"""Each contradiction is seen where it is, and not beside it. Rows are columns of two frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldmodel.melee.action_states import AIRBORNE_STATES, GROUNDED_STATES, GROUPS
from worldmodel.schema import LAYOUT
from worldmodel.schema.contradictions import CONTRADICTIONS, TELEPORT_UNITS
from worldmodel.schema.events import Rows

IN_AIR, ON_GROUND = min(AIRBORNE_STATES - GROUPS["dead"] - GROUPS["respawn"] - GROUPS["entry"]), min(GROUNDED_STATES)
DEAD, BACK, THROWN = (min(GROUPS[name]) for name in ("dead", "respawn", "thrown"))
DEFAULTS: dict[str, float] = {"action_state": ON_GROUND, "airborne": 0, "stocks": 4}


class Row(Rows):
    """One row of one player, by role; what is not said is 0."""

    def __init__(self, **values: float) -> None:
        self.values = DEFAULTS | values

    def number(self, role: str) -> Any:
        return np.float32(self.values.get(role, 0))

    def flag(self, role: str) -> Any:
        return np.bool_(self.values.get(role, 0))

    def action_states(self) -> Any:
        return np.int64(self.values["action_state"])


def seen(before: Row, now: Row) -> set[str]:
    return {name for name, rule in CONTRADICTIONS.items() if rule.rule(before, now)}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {}, set()),
        ({}, {"action_state": IN_AIR}, {"airborne_state_on_ground"}),
        ({}, {"airborne": 1}, {"grounded_state_in_air"}),
        ({}, {"airborne": 1, "action_state": IN_AIR}, set()),
        ({}, {"percent": 3}, {"percent_up_unhit"}),
        ({}, {"percent": 0.005}, set()),
        ({}, {"percent": 3, "hitlag": 4}, set()),
        ({}, {"percent": 3, "hitstun": 9}, set()),
        ({"hitstun": 9}, {"percent": 3, "hitstun": 8}, {"percent_up_unhit"}),
        ({"action_state": THROWN, "airborne": 1}, {"percent": 3, "airborne": 1, "action_state": IN_AIR}, set()),
        ({"percent": 30}, {"percent": 20}, {"percent_down_alive"}),
        ({"percent": 30}, {"percent": 0, "action_state": BACK, "airborne": 1}, set()),
        ({}, {"position_x": TELEPORT_UNITS + 1}, {"teleport"}),
        ({}, {"position_y": -TELEPORT_UNITS - 1}, {"teleport"}),
        ({}, {"position_x": TELEPORT_UNITS + 1, "velocity_x": 2}, set()),
        ({"knockback_x": -2}, {"position_x": TELEPORT_UNITS + 1}, set()),
        ({}, {"position_x": TELEPORT_UNITS + 1, "velocity_y": 2}, {"teleport"}),
        ({}, {"position_x": np.nan}, {"teleport"}),
        ({"action_state": DEAD}, {"position_y": 119, "action_state": BACK, "airborne": 1}, set()),
        ({}, {"stocks": 5}, {"stocks_up"}),
        ({}, {"stocks": 3}, {"stock_lost_alive"}),
        ({}, {"stocks": 3, "action_state": DEAD, "airborne": 1}, set()),
    ],
)
def test_a_contradiction_is_seen_where_it_is(before: dict, now: dict, expected: set[str]) -> None:
    assert seen(Row(**before), Row(**now)) == expected


def test_every_role_that_a_rule_reads_is_named_and_exists() -> None:
    """A rule that reads what it does not name would judge replays that lack it."""

    class Spy(Row):
        def __init__(self) -> None:
            super().__init__(position_x=50, position_y=50, stocks=3)
            self.read: set[str] = set()

        def number(self, role: str) -> Any:
            self.read.add(role)
            return super().number(role)

        def flag(self, role: str) -> Any:
            self.read.add(role)
            return super().flag(role)

        def action_states(self) -> Any:
            self.read.add("action_state")
            return super().action_states()

    for name, rule in CONTRADICTIONS.items():
        before, now = Spy(), Spy()
        rule.rule(before, now)
        assert before.read | now.read <= set(rule.needs), name
        for role in rule.needs:
            LAYOUT.the(role)
