"""Where matches may begin: new matches, or moments of real replays that were burnt in once.

Owns: the choice of moments, and what the replay's players pressed after them. Must not: step a world, know a reward.

Letters: S starts, R rows of history, L frames recorded after a start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset, Split
from worldmodel.dynamics.fresh import character_number, stage_number
from worldmodel.dynamics.moment import stack_moments
from worldmodel.dynamics.world import Moment, World
from worldmodel.errors import WrongUse
from worldmodel.melee.stages import LEGAL_STAGES
from worldmodel.nn.frames import DeviceBlock, Pads
from worldmodel.replays.replay import FIRST_FRAME_ID
from worldmodel.schema import LAYOUT, PLAYERS

Character = str | int
Pair = tuple[Character, Character]

DEFAULT_PAIR: Pair = ("Fox", "Marth")
HISTORY_FRAMES = 120
"""Frames of true history that a start of a replay is burnt in with: two seconds."""
RECORDED_FRAMES = 600
"""Frames after a start of a replay whose pads are kept: ten seconds, at 56 bytes a frame."""
NUM_STARTS = 64
BATCH = 64
"""Starts burnt in at a time."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a start is from. stage, characters: external ids; frame_id: Slippi's number of the frame that it begins at.
    game_id: of the dataset, None for a new match."""

    stage: int
    characters: tuple[int, int]
    frame_id: int
    game_id: str | None = None


@dataclass(frozen=True, slots=True)
class Starts:
    """S moments to begin at, on the world's device.

    pads: (S,L,2,·), what the players of the replays pressed in the frames after; None for new matches.
    about: where each one is from.
    """

    moment: Moment
    pads: Pads | None
    about: tuple[Origin, ...]

    def __len__(self) -> int:
        return len(self.about)

    @property
    def num_recorded(self) -> int:
        """L; 0 for new matches."""
        return 0 if self.pads is None else self.pads.numbers.shape[1]


def fresh_starts(
    world: World,
    *,
    stages: Sequence[str | int] = LEGAL_STAGES,
    characters: Sequence[Pair] = (DEFAULT_PAIR,),
    stocks: int = 4,
) -> Starts:
    """New matches: every pair of characters on every stage (names or external ids). Raises WrongUse."""
    if not stages or not characters:
        raise WrongUse("no stage, or no pair of characters", "at least one of each", "leave them out for the usual")
    each = [(stage, pair) for pair in characters for stage in stages]
    moment = world.fresh([stage for stage, _ in each], [pair for _, pair in each], stocks=stocks)
    about = tuple(
        Origin(stage_number(stage), (character_number(pair[0]), character_number(pair[1])), FIRST_FRAME_ID)
        for stage, pair in each
    )
    return Starts(moment, None, about)


def replay_starts(
    world: World,
    dataset: Dataset,
    *,
    num_starts: int = NUM_STARTS,
    seed: int = 0,
    split: Split = "all",
    history_frames: int = HISTORY_FRAMES,
    recorded_frames: int = RECORDED_FRAMES,
) -> Starts:
    """Moments of a dataset's games, chosen by seed, uniformly over frames, each burnt in with its true history.

    A start has `history_frames` + 1 rows up to it and `recorded_frames` after it, both players alive. Games that lack
    a field that models see are left out, so that no observation has holes. Raises WrongUse if nothing is left.
    """
    if num_starts < 1 or history_frames < 0 or recorded_frames < 0:
        raise WrongUse(
            f"{num_starts} starts, {history_frames} and {recorded_frames} frames", "counts", "leave them out"
        )
    rng = np.random.default_rng(seed)
    games = dataset.rows(split=split)
    room = dataset.num_frames_per_game[games] - history_frames - 1 - recorded_frames
    weight = np.maximum(room, 0).astype(np.float64)
    if not weight.any():
        raise WrongUse(
            f"no game of {dataset.path} has {history_frames + 1 + recorded_frames} frames",
            "at least one that long",
            "ask for less history, or for fewer recorded frames",
        )
    # More than are wanted are drawn: some moments are not fit to begin at. Drawn in order, so that the seed says all.
    drawn = rng.choice(len(games), size=4 * num_starts + 16, p=weight / weight.sum())
    rows = history_frames + (rng.random(len(drawn)) * room[drawn]).astype(np.int64)
    moments: list[Moment] = []
    pads: list[Pads] = []
    about: list[Origin] = []
    for begin in range(0, len(drawn), BATCH):
        if len(about) == num_starts:
            break
        some = slice(begin, begin + BATCH)
        numbers, place = np.unique(games[drawn[some]], return_inverse=True)
        block = DeviceBlock.from_block(load_block(dataset, numbers), world.model.like.device)
        first = torch.from_numpy(np.stack([place, rows[some] - history_frames], 1)).to(block.device)
        states, pressed, context = block.gather(first, history_frames + 1 + recorded_frames)
        now = states.numbers[:, history_frames]
        fit = (now[..., LAYOUT.number("stocks")] > 0).all(-1) & context.present_numbers.all(-1)
        fit &= context.present_categories.all(-1) & context.present_flags.all(-1)
        chosen = fit.nonzero().flatten()[: num_starts - len(about)]
        if len(chosen) == 0:
            continue
        history = slice(0, history_frames + 1)
        moments.append(world.begin(states[chosen, history], pressed[chosen, history], context[chosen]))
        pads.append(pressed[chosen, history_frames + 1 :].map(torch.clone))
        for k in chosen.tolist():
            game = int(games[drawn[begin + k]])
            about.append(_origin(dataset, game, int(rows[begin + k])))
    if len(about) < num_starts:
        raise WrongUse(
            f"{len(about)} moments of {dataset.path} to begin at in {len(drawn)} drawn",
            f"{num_starts} with both players alive and every field recorded (Slippi 3.8 or newer)",
            "ask for fewer starts, or ingest newer replays",
        )
    recorded = Pads(torch.cat([p.numbers for p in pads]), torch.cat([p.buttons for p in pads]))
    return Starts(stack_moments(moments), recorded, tuple(about))


def _origin(dataset: Dataset, game: int, row: int) -> Origin:
    info = dataset.game(game).info
    p0, p1 = (int(info[f"{player}_character"]) for player in PLAYERS)
    return Origin(int(info["stage"]), (p0, p1), int(info["first_frame_id"]) + row, str(info["game_id"]))


def recorded_pads(starts: Starts, start_B: Tensor, frame_B: Tensor) -> Pads:
    """What the replays' players pressed (B,2,·) in frame `frame_B` (0 is the first after the start), both (B,) int64.

    Past the end of the record the last pads are held.
    """
    if starts.pads is None:
        raise WrongUse("new matches", "starts from replays", "give a dataset, or another opponent")
    return starts.pads[start_B, frame_B.clamp(max=starts.num_recorded - 1)]
