"""What an evaluation does with a model: which frames, which starts, how many, beside which baselines.

Owns: the settings and their defaults, the order of work. Must not: define a metric or a verdict, know run folders.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from worldmodel import models
from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation import (
    closed_loop,
    counterfactual,
    heldout,
    measures,
    result,
    result_loop,
    starts,
    teacher_forced,
    tiers,
)
from worldmodel.evaluation.closed_loop import ClosedLoop
from worldmodel.evaluation.heldout import Games, Tick
from worldmodel.evaluation.measures import CONDITIONED, LONG, REFERENCE, UNIFORM
from worldmodel.evaluation.starts import EARLIEST_ROW, Starts
from worldmodel.evaluation.sums import MODEL, Ledger
from worldmodel.evaluation.teacher_forced import TeacherForced
from worldmodel.models.base import NaiveModel, WorldModel, architectures, make_model
from worldmodel.tracking.progress import progress

Json = dict[str, Any]

DEFAULT_FORKS = 200
"""Counterfactuals, where the data is the simulator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to evaluate.

    length, burn_in: windows of `length` tokens, of which the first `burn_in` are not scored: those of the run.
    weights: of loss groups, those of the run. max_frames: how many held-out frames are scored one step ahead, a seeded
    choice; None for all. num_rollouts: start frames, spread over games, of rollouts of `horizon` frames. num_long,
    long_horizon: the same for long ones, fewer because they are long. num_per_event: starts before each kind of event.
    reference: whether to measure rollout coherence on the reference's own scheme too. num_forks: counterfactuals
    (None: if the data is synthetic). earliest: no start before this row. history: tokens before each start (None:
    burn_in), never more than `earliest`, so that starts are the same for every model.
    """

    length: int
    burn_in: int
    weights: Mapping[str, float]
    max_frames: int | None = 200_000
    num_rollouts: int = 1_000
    horizon: int = closed_loop.HORIZON_FRAMES
    num_long: int = 100
    long_horizon: int = closed_loop.LONG_POINTS[-1]
    num_per_event: int = 100
    reference: bool = True
    num_forks: int | None = None
    earliest: int = EARLIEST_ROW
    history: int | None = None
    seed: int = 0

    @property
    def max_windows(self) -> int | None:
        """Windows that hold `max_frames` scored frames."""
        return None if self.max_frames is None else -(-self.max_frames // (self.length - self.burn_in))

    @property
    def tokens_before(self) -> int:
        """Tokens that a model is shown before each start."""
        return min(self.burn_in if self.history is None else self.history, self.earliest)


@dataclass(frozen=True, slots=True)
class Found:
    """What came out. json: the parts of a result. ledger: sums per game. forks: sums per counterfactual, if any."""

    json: Json
    ledger: Ledger
    forks: Ledger | None


def baselines() -> dict[str, WorldModel]:
    """The naive models, one of each file in `models/` that is one."""
    kinds = {name: importlib.import_module(f"{models.__name__}.{name}").Model for name in architectures()}
    return {name: make_model({"arch": name}) for name, kind in kinds.items() if issubclass(kind, NaiveModel)}


def choose_starts(dataset: Dataset, games: Games, settings: Settings) -> dict[str, Starts]:
    """Every list of starts, by name. A list for which no game is long enough is left out."""
    seed, earliest = settings.seed, settings.earliest
    lists = {
        UNIFORM: starts.uniform(
            games, num_starts=settings.num_rollouts, earliest=earliest, horizon=settings.horizon, seed=seed
        ),
        LONG: starts.uniform(
            games, num_starts=settings.num_long, earliest=earliest, horizon=settings.long_horizon, seed=seed
        ),
    }
    if settings.num_per_event:
        lists[CONDITIONED] = starts.before_events(
            dataset, games, num_starts=settings.num_per_event, earliest=earliest, seed=seed
        )
    if settings.reference:
        lists[REFERENCE] = starts.of_the_reference(games, earliest=earliest)
    return {name: found for name, found in lists.items() if len(found)}


def evaluate_model(
    model: WorldModel,
    dataset: Dataset,
    games: Games,
    settings: Settings,
    *,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> Found:
    """All parts of the evaluation: the keys "headlines", "tiers", "starts", "teacher_forced", "closed_loop",
    "counterfactuals". Raises WrongUse if no game is long enough for a window."""
    contestants = {MODEL: model} | {name: naive.to(device) for name, naive in baselines().items()}
    lists = choose_starts(dataset, games, settings)
    step = _one_step(contestants, dataset, games, settings, device, quiet)
    loops = _rollouts(contestants, dataset, games, lists, settings, device, quiet)
    forks = _forks(contestants, dataset, settings, device, quiet)

    ledger = Ledger(games.id)
    result.enter_step(ledger, step, comparable_losses=model.rules.kind == "residual")
    measures.enter(ledger, loops)
    numbers = ledger.numbers(seed=settings.seed)
    step_json = result.one_step(step, numbers, games)
    loop_json = result_loop.rollouts(loops, numbers, games)
    fork_json = None
    if forks is not None:
        fork_json = counterfactual.as_json(
            forks.numbers(seed=settings.seed), num_forks=len(forks.games), seed=settings.seed
        )
    return Found(
        {
            "headlines": result.headlines(step_json, loop_json),
            "tiers": None if loop_json is None else tiers.judge(_value_in(loop_json), settings.horizon),
            "starts": result_loop.starts_json(starts.digest(dataset.content_hash, games, lists), lists),
            "teacher_forced": step_json,
            "closed_loop": loop_json,
            "counterfactuals": fork_json,
        },
        ledger,
        forks,
    )


def _value_in(loop_json: Json) -> Any:
    curves = loop_json["models"][MODEL]
    return lambda curve, frames: curves[curve]["value"][frames - 1]


def _one_step(
    contestants: Mapping[str, WorldModel],
    dataset: Dataset,
    games: Games,
    settings: Settings,
    device: torch.device | str,
    quiet: bool,
) -> TeacherForced:
    windows = heldout.windows(games.num_frames, length=settings.length, burn_in=settings.burn_in)
    if not len(windows):
        raise WrongUse(
            f"the longest of {len(games)} games has {int(games.num_frames.max())} frames",
            f"at least {settings.length + 1}",
            "evaluate on longer games",
        )
    num_windows = len(windows) if settings.max_windows is None else min(len(windows), settings.max_windows)
    with progress("one step ahead", num_windows * len(contestants), unit="windows") as bar:
        return teacher_forced.evaluate(
            contestants,
            dataset,
            games,
            length=settings.length,
            burn_in=settings.burn_in,
            weights=settings.weights,
            max_windows=settings.max_windows,
            seed=settings.seed,
            device=device,
            tick=_tick(bar.advance, quiet),
        )


def _rollouts(
    contestants: Mapping[str, WorldModel],
    dataset: Dataset,
    games: Games,
    lists: Mapping[str, Starts],
    settings: Settings,
    device: torch.device | str,
    quiet: bool,
) -> dict[str, ClosedLoop]:
    num_frames = sum(len(found) * found.horizon for found in lists.values())
    with progress("rollouts", num_frames * len(contestants), unit="frames") as bar:
        return {
            name: closed_loop.evaluate(
                contestants,
                dataset,
                games,
                found,
                history=settings.tokens_before,
                counted=settings.earliest,
                device=device,
                tick=_tick(bar.advance, quiet),
            )
            for name, found in lists.items()
        }


def _forks(
    contestants: Mapping[str, WorldModel],
    dataset: Dataset,
    settings: Settings,
    device: torch.device | str,
    quiet: bool,
) -> Ledger | None:
    wanted = settings.num_forks
    if wanted is None:
        wanted = DEFAULT_FORKS if is_synthetic(dataset) else 0
    if not wanted:
        return None
    num_frames = wanted * 2 * counterfactual.HORIZON_FRAMES * len(contestants)
    with progress("counterfactuals", num_frames, unit="frames") as bar:
        return counterfactual.evaluate(
            contestants,
            num_forks=wanted,
            history=settings.tokens_before,
            earliest=EARLIEST_ROW,
            seed=settings.seed,
            device=device,
            tick=_tick(bar.advance, quiet),
        )


def is_synthetic(dataset: Dataset) -> bool:
    """Whether all games are the simulator's."""
    column = "platform"
    return column in dataset.games.column_names and set(dataset.games[column].to_pylist()) == {"synth"}


def _tick(advance: Any, quiet: bool) -> Tick | None:
    return None if quiet else lambda amount: advance(amount)
