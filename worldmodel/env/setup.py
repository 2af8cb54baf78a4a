"""From what a person writes to matches: a run, stages, characters or a dataset, and the rest by default.

Owns: the keyword options that every environment of this room takes. Must not: import gymnasium.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from worldmodel.dataset.store import Dataset, Split, open_dataset
from worldmodel.dynamics.chosen import choose_model
from worldmodel.dynamics.world import World
from worldmodel.env.matches import MAX_FRAMES, Matches
from worldmodel.env.rewards import Reward
from worldmodel.env.starts import (
    DEFAULT_PAIR,
    HISTORY_FRAMES,
    NUM_STARTS,
    RECORDED_FRAMES,
    Pair,
    fresh_starts,
    replay_starts,
)
from worldmodel.errors import WrongUse
from worldmodel.melee.stages import LEGAL_STAGES
from worldmodel.models.base import WorldModel

Model = WorldModel | str | Path
"""A model, a run's folder (its newest whole checkpoint), or a weights file."""


class Setup(TypedDict, total=False):
    """What matches may be made of; everything has a default.

    New matches: stages, characters (pairs, p0 first) by name or external id, stocks. Or moments of replays: dataset,
    split, num_starts, starts_seed, history_frames, recorded_frames. For both: reward, max_frames, temperature, device,
    ema (the running mean of a run's weights), in_place and compile (see `Matches`).
    """

    stages: Sequence[str | int]
    characters: Sequence[Pair]
    stocks: int
    dataset: Dataset | str | Path
    split: Split
    num_starts: int
    starts_seed: int
    history_frames: int
    recorded_frames: int
    reward: str | Reward
    max_frames: int
    temperature: float | None
    device: str
    ema: bool
    in_place: bool
    compile: bool


_FRESH = ("stages", "characters", "stocks")
_REPLAYS = ("split", "num_starts", "starts_seed", "history_frames", "recorded_frames")


def make_matches(
    model: Model, num_worlds: int, *, autoreset: bool = True, until_recorded: bool = False, **setup: Unpack[Setup]
) -> Matches:
    """Matches as `setup` says. Raises WrongUse for options that there are not, and for two kinds of starts at once."""
    unknown = set(setup) - set(Setup.__annotations__)
    if unknown:
        raise WrongUse(f"option {sorted(unknown)[0]!r}", f"one of {', '.join(Setup.__annotations__)}", "check its name")
    wrong = [name for name in (_FRESH if "dataset" in setup else _REPLAYS) if name in setup]
    if wrong:
        kind = "moments of a dataset's replays" if "dataset" in setup else "new matches"
        raise WrongUse(f"{wrong[0]} for {kind}", "options of one kind of start", f"leave {wrong[0]} or dataset out")
    in_place, compiled = setup.get("in_place", False), setup.get("compile", False)
    world = World(
        find_model(model, device=setup.get("device"), ema=setup.get("ema", False)),
        temperature=setup.get("temperature"),
        compile=compiled and not in_place,  # in place it is the step in its buffers that is compiled
    )
    if "dataset" in setup:
        data = setup["dataset"]
        starts = replay_starts(
            world,
            data if isinstance(data, Dataset) else open_dataset(data),
            num_starts=setup.get("num_starts", NUM_STARTS),
            seed=setup.get("starts_seed", 0),
            split=setup.get("split", "all"),
            history_frames=setup.get("history_frames", HISTORY_FRAMES),
            recorded_frames=setup.get("recorded_frames", RECORDED_FRAMES),
        )
    else:
        starts = fresh_starts(
            world,
            stages=setup.get("stages", LEGAL_STAGES),
            characters=setup.get("characters", (DEFAULT_PAIR,)),
            stocks=setup.get("stocks", 4),
        )
    return Matches(
        world,
        starts,
        num_worlds,
        reward=setup.get("reward", "damage_and_stocks"),
        max_frames=setup.get("max_frames", MAX_FRAMES),
        autoreset=autoreset,
        until_recorded=until_recorded,
        in_place=in_place,
        compile=compiled,
    )


def find_model(model: Model, *, device: str | None = None, ema: bool = False) -> WorldModel:
    """The model itself, that of a run's newest whole checkpoint, or that of a weights file. Raises WrongUse."""
    if isinstance(model, WorldModel):
        return model if device is None else model.to(device)
    chosen = choose_model(Path(model), ema=ema, device=device or "cpu")
    for problem in chosen.problems:
        warnings.warn(f"{chosen.weights}: {problem}", stacklevel=2)
    return chosen.model
