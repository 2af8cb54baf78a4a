"""Rollouts of held-out games with their true pads: how the error grows with every frame that a model dreams.

Owns: the curves per horizon, rollout coherence, impossible states. Must not: step a model (that is
`dynamics.rollout`), choose games, judge.

Rollout coherence RC(K) is the reference system's number: the mean over k = 1..K of the position error at k frames,
itself the mean of |error| of x and y of both players. Theirs had no interval and no baseline; ours have both.

Shapes: S rollouts, B rollouts of a batch, T frames, P players, M curves, G games.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset
from worldmodel.dynamics.rollout import burn_in, rollout
from worldmodel.evaluation import heldout
from worldmodel.evaluation.heldout import Games, Tick
from worldmodel.evaluation.metrics import METRIC_AT, frame_terms
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Context, DeviceBlock, State
from worldmodel.schema import LAYOUT, PLAYERS, Number

HORIZON_FRAMES = 60
"""One second."""

COHERENCE_FRAMES = (5, 10, 20)
"""The K of RC(K)."""

CURVES: tuple[str, ...] = (
    "pos_mae",
    "pos_distance",
    f"{LAYOUT.the('percent').name}_mae",
    "velocity_mae",
    f"{LAYOUT.the('action_state').name}_acc",
    f"{LAYOUT.the('stocks').name}_acc",
    "exact",
)
"""Metrics that are followed over the horizon."""

_CURVE_AT = [METRIC_AT[name] for name in CURVES]

IMPOSSIBLE = ("not_finite", "out_of_bounds", "runaway", "stocks_rose")
"""Ways for a dream to be impossible: a number that is none; a number outside its bounds; a position that lies on its
bound, far beyond every blast zone; a player who has more stocks than at the start."""

_POSITION = [LAYOUT.number("position_x"), LAYOUT.number("position_y")]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What one model's rollouts came to.

    numerator, denominator: (G, T, M) sums per game and horizon, M as in CURVES. impossible: (S, len(IMPOSSIBLE)).
    position: (S, T, P, 2) of the dream. distance: (S, T) between dream and truth, mean over players.
    """

    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]
    impossible: NDArray[np.bool_]
    position: NDArray[np.float32]
    distance: NDArray[np.float32]

    def coherence(self, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums (G, 1) of RC(frames). Each horizon counts the same frames, so this is the mean of means."""
        at = CURVES.index("pos_mae")
        return self.numerator[:, :frames, at].sum(1)[:, None], self.denominator[:, :frames, at].sum(1)[:, None]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Rollouts of all models from the same starts. truth: positions (S, T + 1, P, 2), the start frame first.

    starts: (S, 2) place of the game, row of the last given frame.
    """

    starts: NDArray[np.int64]
    history: int
    horizon: int
    models: dict[str, Rollouts]
    truth: NDArray[np.float32]


def evaluate(
    models: Mapping[str, WorldModel],
    dataset: Dataset,
    games: Games,
    starts: NDArray[np.int64],
    *,
    history: int,
    horizon: int = HORIZON_FRAMES,
    batch: int = 256,
    block_frames: int = heldout.BLOCK_FRAMES,
    device: torch.device | str = "cpu",
    tick: Tick | None = None,
) -> ClosedLoop:
    """Roll every model out from every start, with the true pads.

    `history`: tokens that a model consumes before it is on its own: it is shown that many frames and one more. `tick`
    hears of rollouts done, summed over models. Models are put into evaluation mode.
    """
    num_starts, num_games = len(starts), len(games)
    sums = {
        name: torch.zeros(2, num_games, horizon, len(CURVES), dtype=torch.float64, device=device) for name in models
    }
    impossible = {name: np.zeros((num_starts, len(IMPOSSIBLE)), np.bool_) for name in models}
    position = {name: np.zeros((num_starts, horizon, len(PLAYERS), 2), np.float32) for name in models}
    truth = np.zeros((num_starts, horizon + 1, len(PLAYERS), 2), np.float32)
    used = np.unique(starts[:, 0])
    curve_at = torch.tensor(_CURVE_AT, device=device)

    for places in (used[cut] for cut in heldout.blocks(used, games.num_frames[used], block_frames)):
        block = DeviceBlock.from_block(load_block(dataset, games.num[places]), device)
        members = np.flatnonzero(np.isin(starts[:, 0], places))
        for first in range(0, len(members), batch):
            chosen = members[first : first + batch]
            cuts = np.stack([np.searchsorted(places, starts[chosen, 0]), starts[chosen, 1] - history], 1)
            states, pads, context = block.gather(torch.from_numpy(cuts).to(device), history + 1 + horizon)
            slots_B = torch.from_numpy(starts[chosen, 0]).to(device)
            previous, target = states[:, history:-1], states[:, history + 1 :]
            truth[chosen] = _positions(states[:, history:])
            for name, model in models.items():
                model.eval()
                with torch.inference_mode():
                    carried, last = burn_in(model, states[:, : history + 1], pads[:, : history + 1], context)
                    dream = rollout(model, carried, last, pads[:, history + 1 :], context)
                    terms = frame_terms(dream, previous, target, context)
                    for total, term_BTPM in zip(sums[name], terms, strict=True):
                        curve_BTM = term_BTPM.index_select(-1, curve_at).sum(2, dtype=torch.float64)
                        total.index_add_(0, slots_B, curve_BTM)
                    impossible[name][chosen] = _impossible(dream, states[:, history], context).cpu().numpy()
                position[name][chosen] = _positions(dream)
                if tick:
                    tick(len(chosen))

    rollouts = {}
    for name in models:
        numerator, denominator = sums[name].cpu().numpy()
        gap = position[name].astype(np.float64) - truth[:, 1:]
        distance = np.sqrt((gap**2).sum(-1)).mean(-1).astype(np.float32)
        rollouts[name] = Rollouts(numerator, denominator, impossible[name], position[name], distance)
    return ClosedLoop(starts, history, horizon, rollouts, truth)


def _positions(states: State) -> NDArray[np.float32]:
    return states.numbers[..., _POSITION].float().cpu().numpy()


def _impossible(dream: State, start: State, context: Context) -> Tensor:
    """(B, len(IMPOSSIBLE)) bool, over all frames and both players of each rollout. Missing fields cannot be wrong."""
    bounds = [row.codec.bounds for row in LAYOUT.numbers if isinstance(row.codec, Number)]
    low_N, high_N = torch.tensor(bounds, device=dream.numbers.device).T
    present = context.present_numbers[:, None, None, :]
    numbers = dream.numbers
    stocks = LAYOUT.number("stocks")
    place = numbers[..., _POSITION]
    found = (
        ~numbers.isfinite() & present,
        ((numbers < low_N) | (numbers > high_N)) & present,
        (place <= low_N[_POSITION]) | (place >= high_N[_POSITION]),
        numbers[..., stocks] > start.numbers[:, None, :, stocks],
    )
    return torch.stack([wrong.flatten(1).any(1) for wrong in found], 1)
