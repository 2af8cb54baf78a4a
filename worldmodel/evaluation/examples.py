"""A few rollouts to look at, chosen by rule.

Owns: the choice and what is kept of each. Must not: draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worldmodel.evaluation.closed_loop import ClosedLoop
from worldmodel.evaluation.heldout import Games
from worldmodel.evaluation.sums import MODEL

Json = dict[str, Any]

_EXAMPLES = (("typical", 0.5), ("good", 0.1), ("bad", 0.9), ("worst", 1.0))
"""Which rollouts are shown: by rank of the model's distance from the truth, averaged over the horizon."""


def examples(found: ClosedLoop, games: Games) -> list[Json]:
    """A few rollouts, chosen by rank, so that nobody picks the prettiest. Positions to a hundredth of a unit."""
    run = found.models[MODEL]
    order = np.argsort(np.nan_to_num(run.distance.mean(1), nan=np.inf), kind="stable")
    shown: list[Json] = []
    seen: set[int] = set()
    for label, rank in _EXAMPLES:
        if not len(order):
            break
        which = int(order[round(rank * (len(order) - 1))])
        if which in seen:
            continue
        seen.add(which)
        place, row = (int(value) for value in found.starts.at[which])
        truth = found.truth[which]
        dream = np.concatenate([truth[:1], run.position[which]])
        shown.append(
            {
                "label": label,
                "rank": rank,
                "game": games.id[place],
                "row": row,
                "stage": games.stage[place],
                "characters": list(games.character[place]),
                "distance": [_rounded(value) for value in run.distance[which]],
                "truth": [[[_rounded(v) for v in point] for point in track] for track in truth.swapaxes(0, 1)],
                "dream": [[[_rounded(v) for v in point] for point in track] for track in dream.swapaxes(0, 1)],
            }
        )
    return shown


def _rounded(value: float) -> float | None:
    return round(float(value), 2) if np.isfinite(value) else None
