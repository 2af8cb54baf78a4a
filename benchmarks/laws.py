"""What the laws of the transition bring: the same weights on the same frames, with one more of them at a time.

    python benchmarks/laws.py --data DATASET [--release FOLDER] [--device cpu]

Judged by paired intervals over held-out games, each way against the one before it. The limits on single numbers are in
all; last comes the count of who has been dead for how long over more rows than the model is shown. And in matches begun
anew under random pads, on the stages where nothing moves: who is said to be on the ground, and has nothing under him.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from common import finish, table
from torch import Tensor

from worldmodel.dataset.store import open_dataset
from worldmodel.dynamics.policies import policy
from worldmodel.dynamics.rollout import burn_in
from worldmodel.dynamics.world import World
from worldmodel.evaluation import closed_loop
from worldmodel.evaluation.compare import Side, compare, read_side
from worldmodel.evaluation.subject import RELEASED, of_release, settings_of
from worldmodel.evaluation.suite import evaluate
from worldmodel.melee.stages import GEOMETRY, Stage
from worldmodel.models.base import ModelState, WorldModel, load_model
from worldmodel.nn.footing import Footing
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.nn.mortality import Mortality
from worldmodel.schema import CATEGORIES, LAYOUT
from worldmodel.schema.laws import DEAD, REBIRTH

SHOWN = (
    "step/change_acc", "step/pos_mae", "uniform/pos_mae@20", "uniform/pos_distance@60", "uniform/percent_mae@5",
    "uniform/percent_mae@20",
    "uniform/percent_mae@60", "uniform/action_state_acc@60", "event/death/recall", "event/death/precision",
    "long/pos_distance@600", "long/stocks_error@600", "survival/near", "survival/possible@600",
)  # fmt: skip
WAYS = ("limits alone", "and death", "and footing", "and the count")
MATCHES, FRAMES, FIRST = 60, 600, 100
NOTHING = 3.0
"""Game units from every surface: further than any body stands in one."""
_ACTION, _AIRBORNE = LAYOUT.category("action_state"), LAYOUT.flag("airborne")
_X, _Y = LAYOUT.number("position_x"), LAYOUT.number("position_y")


def _no_death(self: Mortality, previous: State, codes: Tensor, numbers: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    return codes, numbers


def _no_footing(
    self: Footing, previous: State, codes: Tensor, numbers: Tensor, flags: Tensor, context: object
) -> tuple[Tensor, Tensor, Tensor]:
    return codes, numbers, flags


def _shown_only(
    model: WorldModel, states: State, pads: Pads, context: Context, *, tokens: int
) -> tuple[ModelState, State]:
    return burn_in(model, states[:, -tokens - 1 :], pads[:, -tokens - 1 :], context)


@contextmanager
def laws_of(way: str) -> Iterator[None]:
    """The transition with these laws only, in this process."""
    number = WAYS.index(way)
    with (
        patch.object(Mortality, "forward", _no_death) if number < 1 else nullcontext(),
        patch.object(Footing, "forward", _no_footing) if number < 2 else nullcontext(),
        patch.object(closed_loop, "burn_in", _shown_only) if number < 3 else nullcontext(),
    ):
        yield


@torch.inference_mode()
def on_nothing(weights: Path, device: str) -> tuple[float, float]:
    """Share of the grounded with nothing under them in new matches: in the first `FIRST` frames, and after."""
    world = World(load_model(weights, device=device))
    still = [stage for stage in GEOMETRY.values() if not stage.moving]
    stages = [still[k % len(still)] for k in range(MATCHES)]
    moment = world.fresh([stage.number for stage in stages], [("Fox", "Marth")] * MATCHES)
    act, generator = policy("random"), torch.Generator(device=device).manual_seed(0)
    grounded, lost = torch.zeros(FRAMES), torch.zeros(FRAMES)
    for t in range(FRAMES):
        moment = world.step(moment, act(moment.state, moment.frames, generator))
        action = moment.state.categories[..., _ACTION] - CATEGORIES[_ACTION].offset
        stands = ~moment.state.flags[..., _AIRBORNE] & (action > max(*DEAD, REBIRTH))
        above = torch.stack([_gap(stage, moment.state.numbers[k]) for k, stage in enumerate(stages)])
        grounded[t], lost[t] = stands.sum(), (stands & (above > NOTHING)).sum()
    shares = [lost[part].sum() / grounded[part].sum() for part in (slice(FIRST), slice(FIRST, None))]
    return float(shares[0]), float(shares[1])


def _gap(stage: Stage, numbers: Tensor) -> Tensor:
    """How far each body (2,N) is above or below the nearest surface of a stage that it is over."""
    x, y = numbers[..., _X], numbers[..., _Y]
    surfaces = [(-stage.edge, stage.edge, stage.floor), *((p.left, p.right, p.height) for p in stage.platforms)]
    gaps = [
        torch.where((x > left - NOTHING) & (x < right + NOTHING), (y - height).abs(), torch.inf)
        for left, right, height in surfaces
    ]
    return torch.stack(gaps).amin(0)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, required=True, help="the dataset of the release's evaluation")
    made.add_argument("--release", type=Path, default=RELEASED)
    made.add_argument("--device", default="cpu")
    given = made.parse_args()
    dataset = open_dataset(given.data)
    sides: list[Side] = []
    floating: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as aside:
        for number, way in enumerate(WAYS):
            report = Path(aside) / str(number)
            subject, before = of_release(given.release, report)
            with laws_of(way):
                evaluate(replace(subject, name=way), dataset, settings_of(before), device=given.device, quiet=True)
                floating[way] = on_nothing(subject.weights, given.device)
            sides.append(read_side(report))
    found = [compare(one, other) for one, other in pairwise(sides)]
    measures = [{row["name"]: row for row in each["measures"]} for each in found]
    rows: list[list[object]] = []
    for name in SHOWN:
        values = [measures[0][name]["a"]["value"], *(each[name]["b"]["value"] for each in measures)]
        rows.append([name, measures[0][name]["unit"], *values, *(each[name]["verdict"] for each in measures)])
    for k, what in enumerate((f"on nothing, frames 1 to {FIRST}", f"on nothing, {FIRST + 1} to {FRAMES}")):
        rows.append([what, "share of the grounded", *(floating[way][k] for way in WAYS), "", "", ""])
    table(["measure", "unit", *WAYS, "death", "footing", "count"], rows)
    counts: dict[str, Any] = {way: each["counts"] for way, each in zip(WAYS[1:], found, strict=True)}
    for way, count in counts.items():
        print(f"{way}: {count['better']} numbers better, {count['worse']} worse, {count['undecided']} as before")
    finish("laws", {
        "weights": sides[0].json["weights"]["sha256"], "content_hash": dataset.content_hash, "counts": counts,
        "values": {
            str(row[0]): [None if v is None else round(float(str(v)), 5) for v in row[2 : 2 + len(WAYS)]]
            for row in rows
        },
        "matches": MATCHES,
    })  # fmt: skip


if __name__ == "__main__":
    main()
