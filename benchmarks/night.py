"""A scripted night: everything that can happen to a run happens to one, and each card says what it was.

    python benchmarks/night.py [--only TEXT] [--at-once N] [--keep FOLDER]

Runs are launched by cards, by the verb, on generated games, with a checkpoint every 0.6 s. The short form is
tests/launch/test_night.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import finish, table

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "tracking")]


def night(place: Path, *, only: str, at_once: int) -> bool:
    """All scenarios whose name has `only` in it; whether each was as it must be."""
    from night_grounds import Grounds, make_dataset
    from nights import SCENARIOS, Row, play

    from worldmodel.runs.folder import RunFolder

    data = make_dataset(place)
    first, *others = SCENARIOS
    began = time.monotonic()

    def one(name: str, reference: RunFolder | None) -> Row:
        row = play(name, Grounds(place / name.replace(" ", "-").replace(";", "").replace(",", ""), data), reference)
        print(f"{row.seconds:6.1f} s  {name}: {row.state}", flush=True)
        return row

    rows = [one(first, None)]
    reference = RunFolder(place / first.replace(" ", "-") / "runs" / "night")
    with ThreadPoolExecutor(at_once) as pool:
        rows += pool.map(lambda name: one(name, reference), [name for name in others if only in name])
    print()
    table(
        ["what happened", "how it went", "lives", "steps lost", "s lost", "the card says"],
        [[r.scenario, r.state, r.lives, r.lost_steps, r.lost_s, r.card_says[:90]] for r in rows],
    )
    print()
    is_good = not any(row.state.startswith("WRONG") for row in rows)
    result = {
        "interval_s": rows[0].interval_s,
        "at_once": at_once,
        "seconds": round(time.monotonic() - began, 1),
        "num_wrong": sum(row.state.startswith("WRONG") for row in rows),
        "num_not_done": sum(row.state.startswith("not done") for row in rows),
        "scenarios": [row.as_json() for row in rows],
    }
    finish("night", result)
    return is_good


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", default="", help="scenarios with this in their name, after the one that is left alone")
    made.add_argument("--at-once", type=int, default=1, help="scenarios beside each other")
    made.add_argument("--keep", type=Path, help="a new folder for cards and runs (default: a temporary one)")
    told = made.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = (told.keep or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        is_good = night(place, only=told.only, at_once=told.at_once)
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
