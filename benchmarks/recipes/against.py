"""A run against the mission's recipe, trained on the same frames for the same number of passes.

    python benchmarks/recipes/against.py CARD_RUN RUN

From the reports of two evaluated runs (`worldmodel eval`), of the same games and starts. Asked for: a third less
position error and half of the percent error after 5, 10 and 20 frames, or better, and nothing worse.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import against

from worldmodel.runs.folder import RunFolder
from worldmodel.training.config import load_experiment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import finish, table


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("card", type=Path, help="run of the mission's recipe")
    made.add_argument("run", type=Path)
    given = made.parse_args()
    runs = [RunFolder.open(path) for path in (given.card, given.run)]
    passes = [load_experiment(run.config).training.epochs for run in runs]
    if passes[0] != passes[1]:
        raise SystemExit(f"{passes[1]} passes against {passes[0]}: train both for as many")
    found = against(runs[1].report, runs[0].report)
    table(["error, as a share of the mission's recipe's", "share"], [[name, v] for name, v in found["ratios"].items()])
    print(f"worse in: {', '.join(found['worse']) or 'nothing'}")
    finish("against_card", {"card": runs[0].id, "run": runs[1].id, "passes": passes[0], **found})


if __name__ == "__main__":
    main()
