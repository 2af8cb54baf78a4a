"""What a measured plan said of a run, for rooms that compare and do not measure.

Owns: the numbers that a plan gives as its answer, and finding them in `plans.jsonl` by a run's name. Must not: know how
they were measured (the room `cards` does).
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from worldmodel.runs.strict import Strict

FILE = "plans.jsonl"
"""Name of the file, in the folder of cards."""

SAME_MOMENT = timedelta(seconds=1)
"""Times of runs are whole seconds."""


class Told(Strict):
    """What a plan said on the day. raw_s: by its measured parts alone; others with what earlier estimates were worth.

    step_s: a step in the mean over the schedule; start_s: until the first step; epoch_s: with validations and saving.
    """

    num_steps: int
    raw_s: float
    total_s: float
    low_s: float
    high_s: float
    epoch_s: float
    step_s: float
    start_s: float
    usd: float | None = None

    def part_s(self, num_steps: int) -> float:
        """As much of the whole as so many steps are."""
        return self.start_s + (self.total_s - self.start_s) * num_steps / max(1, self.num_steps)


def told_of(cards: Path | None, run: str, began: str) -> Told | None:
    """What the newest plan for a run said before it began (a time in ISO form); None if there is none that can be read.

    Lines of other kinds are passed over, and so are damaged ones: whoever owns the file says where.
    """
    if cards is None or not began:
        return None
    newest: tuple[datetime, Told] | None = None
    with suppress(OSError, ValueError):
        limit = datetime.fromisoformat(began) + SAME_MOMENT
        for line in (cards / FILE).read_text(encoding="utf-8").split("\n")[:-1]:
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                if row["kind"] != "plan" or row["name"] != run or "told" not in row:
                    continue
                at = datetime.fromisoformat(row["at"])
                if at <= limit and (newest is None or at >= newest[0]):
                    newest = at, Told.model_validate(row["told"])
    return newest[1] if newest else None
