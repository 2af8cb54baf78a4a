"""Rollouts of held-out games with their true pads: how the error grows with every frame that a model dreams.

Owns: sums per game and horizon, what each rollout came to, rollout coherence. Must not: step a model (that is
`dynamics.rollout`), define what is measured (`metrics`, `dreams`), choose starts, judge.

Rollout coherence RC(K) is the reference system's number: the mean over k = 1..K of the position error at k frames,
itself the mean of |error| of x and y of both players. Theirs had no interval and no baseline; ours have both.

Shapes: S rollouts, B rollouts of a batch, T frames, P players, M curves, E events, K contradictions, I kinds of
impossible states, G games, Q groups that sums are kept for.
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
from worldmodel.evaluation import dreams, heldout
from worldmodel.evaluation.dreams import DREAM_METRICS, EVENT_COUNTS, FAR_UNITS, IMPOSSIBLE, Facts
from worldmodel.evaluation.heldout import Games, Tick
from worldmodel.evaluation.metrics import METRIC_AT, METRICS, Metric, frame_terms
from worldmodel.evaluation.starts import LEAD_FRAMES, Starts
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Context, DeviceBlock, State
from worldmodel.schema import LAYOUT, PLAYERS
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.schema.events import EVENTS

HORIZON_FRAMES = 60
"""One second."""

LONG_POINTS = (1, 5, 10, 20, 30, 60, 90, 120, 180, 240, 300, 360, 420, 480, 540, 600)
"""Horizons of long rollouts that a result holds."""

COHERENCE_FRAMES = (5, 10, 20)
"""The K of RC(K)."""

TRUTH = "truth"
"""In the place of a model: what true replays do by themselves, where that can be said of them."""

_FRAME_CURVES: tuple[str, ...] = (
    "pos_mae",
    "pos_distance",
    f"{LAYOUT.the('percent').name}_mae",
    "velocity_mae",
    f"{LAYOUT.the('action_state').name}_acc",
    "change_acc",
    f"{LAYOUT.the('stocks').name}_acc",
    "exact",
)

CURVES: tuple[str, ...] = (*_FRAME_CURVES, *(metric.name for metric in DREAM_METRICS))
"""Metrics that are followed over the horizon."""

CURVE_METRICS: tuple[Metric, ...] = (*(METRICS[METRIC_AT[name]] for name in _FRAME_CURVES), *DREAM_METRICS)

_CURVE_AT = [METRIC_AT[name] for name in _FRAME_CURVES]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What one model's rollouts came to. Of the truth, the sums of curves are 0 and positions are its own.

    numerator, denominator: (Q, T, M) sums per group and horizon, M as in CURVES. impossible: (S, I) whether ever.
    contradictions: (S, K) player-frames, of (S, K) `known` ones. events: (S, E, len(EVENT_COUNTS)). produced: (S,)
    whether a conditioned rollout has its event. possible, consistent, near: (S,) frames before the first impossible
    state, contradiction, or position error above FAR_UNITS; the horizon if there is none. position: (S, T, P, 2).
    distance: (S, T) between dream and truth, mean over players.
    """

    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]
    impossible: NDArray[np.bool_]
    contradictions: NDArray[np.float32]
    known: NDArray[np.float32]
    events: NDArray[np.float32]
    produced: NDArray[np.bool_]
    possible: NDArray[np.int64]
    consistent: NDArray[np.int64]
    near: NDArray[np.int64]
    position: NDArray[np.float32]
    distance: NDArray[np.float32]

    @classmethod
    def zeros(cls, num_starts: int, num_groups: int, horizon: int) -> Rollouts:
        """To be filled in place."""
        return cls(
            numerator=np.zeros((num_groups, horizon, len(CURVES))),
            denominator=np.zeros((num_groups, horizon, len(CURVES))),
            impossible=np.zeros((num_starts, len(IMPOSSIBLE)), np.bool_),
            contradictions=np.zeros((num_starts, len(CONTRADICTIONS)), np.float32),
            known=np.zeros((num_starts, len(CONTRADICTIONS)), np.float32),
            events=np.zeros((num_starts, len(EVENTS), len(EVENT_COUNTS)), np.float32),
            produced=np.zeros(num_starts, np.bool_),
            possible=np.zeros(num_starts, np.int64),
            consistent=np.zeros(num_starts, np.int64),
            near=np.zeros(num_starts, np.int64),
            position=np.zeros((num_starts, horizon, len(PLAYERS), 2), np.float32),
            distance=np.zeros((num_starts, horizon), np.float32),
        )

    def coherence(self, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums (Q,) of RC(frames). Each horizon counts the same frames, so this is the mean of means."""
        at = CURVES.index("pos_mae")
        return self.numerator[:, :frames, at].sum(1), self.denominator[:, :frames, at].sum(1)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Rollouts of all models, and of `TRUTH`, from the same starts. truth: positions (S, T + 1, P, 2), the start first.

    knows_events: (S, E) which events each start's replay can tell.
    """

    starts: Starts
    history: int
    models: dict[str, Rollouts]
    truth: NDArray[np.float32]
    knows_events: NDArray[np.bool_]

    @property
    def horizon(self) -> int:
        return self.starts.horizon


def evaluate(
    models: Mapping[str, WorldModel],
    dataset: Dataset,
    games: Games,
    starts: Starts,
    *,
    history: int,
    counted: int,
    batch: int = 256,
    block_frames: int = heldout.BLOCK_FRAMES,
    device: torch.device | str = "cpu",
    tick: Tick | None = None,
) -> ClosedLoop:
    """Roll every model out from every start, with the true pads.

    `history`: tokens that a model consumes before it is on its own: it is shown that many frames and one more.
    `counted`: rows before each start, `history` or more, over which it is counted how long players have been dead.
    `tick` hears of frames rolled out, summed over models. Models are put into evaluation mode. Sums are kept per game,
    or, of conditioned starts, per event and game: group e * G + g.
    """
    at_S2, horizon = starts.at, starts.horizon
    group_S = at_S2[:, 0] + (len(games) * starts.event[:, 0] if len(starts.event) else 0)
    num_groups = len(games) * (len(EVENTS) if len(starts.event) else 1)
    found = {name: Rollouts.zeros(len(starts), num_groups, horizon) for name in (*models, TRUTH)}
    truth = np.zeros((len(starts), horizon + 1, len(PLAYERS), 2), np.float32)
    knows = np.zeros((len(starts), len(EVENTS)), np.bool_)
    used = np.unique(at_S2[:, 0])

    for places in (used[cut] for cut in heldout.blocks(used, games.num_frames[used], block_frames)):
        block = DeviceBlock.from_block(load_block(dataset, games.num[places]), device)
        members = np.flatnonzero(np.isin(at_S2[:, 0], places))
        for first in range(0, len(members), batch):
            chosen = members[first : first + batch]
            cuts = np.stack([np.searchsorted(places, at_S2[chosen, 0]), at_S2[chosen, 1] - counted], 1)
            states, pads, context = block.gather(torch.from_numpy(cuts).to(device), counted + 1 + horizon)
            before, held = states[:, : counted + 1], pads[:, : counted + 1]
            previous, target = states[:, counted:-1], states[:, counted + 1 :]
            start = states[:, counted]
            truth[chosen] = _positions(states[:, counted:])
            knows[chosen] = dreams.knows_events(context).cpu().numpy()
            true = dreams.facts(target, start, context)
            wanted = _wanted(starts, chosen, device)
            for name, model in models.items():
                model.eval()
                with torch.inference_mode():
                    carried, last = burn_in(model, before, held, context, tokens=history)
                    dream = rollout(model, carried, last, pads[:, counted + 1 :], context)
                    dreamed = dreams.facts(dream, start, context)
                    _keep_curves(found[name], (dream, previous, target), context, dreamed, true, group_S[chosen])
                    _keep(found[name], chosen, dream, target, dreamed, true, wanted)
                if tick:
                    tick(len(chosen) * horizon)
            with torch.inference_mode():
                _keep(found[TRUTH], chosen, target, target, true, true, wanted)
    return ClosedLoop(starts, history, found, truth, knows)


def _wanted(starts: Starts, chosen: NDArray[np.int64], device: torch.device | str) -> tuple[Tensor, Tensor] | None:
    """Number and player of the event that each conditioned rollout should have."""
    if not len(starts.event):
        return None
    event, player = torch.from_numpy(starts.event[chosen]).to(device).unbind(1)
    return event, player


def _keep_curves(
    run: Rollouts,
    frames: tuple[State, State, State],
    context: Context,
    dreamed: Facts,
    true: Facts,
    group_B: NDArray[np.int64],
) -> None:
    """Add a batch's curves to the sums of its groups. frames: dream, truth one before, truth."""
    dream, _, target = frames
    of_dreams = dreams.curve_terms(dream, target, dreamed, true)
    for total, of_frames, extra in zip(
        (run.numerator, run.denominator), frame_terms(*frames, context), of_dreams, strict=True
    ):
        curves = of_frames[..., _CURVE_AT].sum(2, dtype=torch.float64)
        np.add.at(total, group_B, torch.cat([curves, extra.double()], -1).cpu().numpy())


def _keep(
    run: Rollouts,
    chosen: NDArray[np.int64],
    dream: State,
    target: State,
    dreamed: Facts,
    true: Facts,
    wanted: tuple[Tensor, Tensor] | None,
) -> None:
    """Write what each rollout of a batch came to."""
    far_BTP = dreams.distance(dream, target)
    num_frames = dream.numbers.shape[1] * len(PLAYERS)
    values = {
        "impossible": dreamed.impossible.any(1),
        "contradictions": dreamed.contradicts.sum((1, 2)),
        "known": dreamed.knows * num_frames,
        "events": dreams.event_counts(dreamed.happens, true.happens),
        "possible": dreams.frames_until(dreamed.impossible.any(-1)),
        "consistent": dreams.frames_until(dreamed.contradicts.any(-1).any(-1)),
        # Not "> FAR_UNITS": a position that is no number is lost too.
        "near": dreams.frames_until(~(far_BTP <= FAR_UNITS).all(-1)),
        "distance": far_BTP.mean(-1),
    }
    if wanted is not None:
        values["produced"] = dreams.produced(dreamed.happens, *wanted, LEAD_FRAMES - 1)
    for name, value in values.items():
        getattr(run, name)[chosen] = value.cpu().numpy()
    run.position[chosen] = _positions(dream)


def _positions(states: State) -> NDArray[np.float32]:
    return states.numbers[..., [LAYOUT.number("position_x"), LAYOUT.number("position_y")]].float().cpu().numpy()
