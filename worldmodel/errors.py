"""The few errors that cross rooms, and the exit code each one means.

    WorldModelError            exit 1: the work was understood and failed
    ├── WrongUse               exit 2: the input is wrong; nothing was written
    │   └── NotADataset, SchemaMismatch ... (defined in the rooms that raise them)
    └── StoppedByRule          exit 3: a rule ended a run that was otherwise well

A message for a user is one line with three parts: what was found, what was expected, the way out.
"""

from __future__ import annotations


class WorldModelError(Exception):
    """The work was understood and failed."""

    exit_code = 1


class WrongUse(WorldModelError):
    """Input that cannot be used. Built from the three things a person needs to mend it."""

    exit_code = 2

    def __init__(self, found: str, expected: str, way_out: str) -> None:
        self.found, self.expected, self.way_out = found, expected, way_out
        super().__init__(f"{found}; expected {expected}; {way_out}")


class StoppedByRule(WorldModelError):
    """A kill rule, a budget or a deadline ended the run; what it had is saved."""

    exit_code = 3
