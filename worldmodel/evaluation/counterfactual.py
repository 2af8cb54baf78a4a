"""What if the pads had been different: dreams against the synthetic simulator, where the other future is known.

Owns: measures of forked futures, and their part of the result. Must not: simulate, step a model.

Each fork is one moment with two true futures: as it was played, and with one player's pads replaced. A model sees the
same history and dreams both. That it errs no more under the other pads says that it follows them; that the *difference*
of its futures is the true difference says so without the errors that both share.

Shapes: S forks, T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.dynamics.recording import of_replay
from worldmodel.dynamics.rollout import burn_in, rollout
from worldmodel.evaluation.heldout import Tick
from worldmodel.evaluation.sums import Ledger, Measure, Numbers
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.synth.forks import Fork, forks
from worldmodel.replays.synth.writer import write_slp
from worldmodel.schema import LAYOUT

SEED = 20_000_003
"""Added to the evaluation's seed: games that no training set is likely to hold."""

HORIZON_FRAMES = 60

APART_UNITS = 1.0
"""Direction is asked for only where the true futures are so far apart."""

_UNIT = LAYOUT.with_role("position")[0].unit

MEASURES: tuple[Measure, ...] = (
    Measure("played", _UNIT, "lower", "mean distance to the truth under the pads that were played"),
    Measure("changed", _UNIT, "lower", "mean distance to the truth under the other pads"),
    Measure(
        "difference",
        _UNIT,
        "lower",
        "of the player whose pads were replaced: distance between the dreamed and the true shift from one future to "
        "the other; whoever ignores pads has the true shift itself",
    ),
    Measure(
        "direction",
        "cosine",
        "higher",
        f"cosine between the two shifts where the true one is above {APART_UNITS:g}; 0 for no shift",
    ),
    Measure("size", "share", "neither", "sum of the dreamed shifts over the sum of the true ones; 1 is right"),
    Measure("state", "share", "higher", "right action state under the other pads, where it is another than as played"),
)
"""Followed over the horizon, in this order."""


def evaluate(
    models: Mapping[str, WorldModel],
    *,
    num_forks: int,
    history: int,
    earliest: int,
    seed: int,
    horizon: int = HORIZON_FRAMES,
    batch: int = 256,
    device: torch.device | str = "cpu",
    tick: Tick | None = None,
) -> Ledger:
    """Dream both futures of every fork with every model; a ledger with a fork in the place of a game."""
    found = list(forks(SEED + seed, num_forks, earliest=earliest, before=earliest, after=horizon))
    ledger = Ledger([f"{fork.number}@{fork.row}" for fork in found])
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in models}
    for first in range(0, len(found), batch):
        some = found[first : first + batch]
        played, changed = (_tensors(some, which, device) for which in ("played", "changed"))
        player = np.array([fork.player for fork in some])
        begin, after = slice(earliest + 1), slice(earliest + 1, None)
        truth = played[0][:, after], changed[0][:, after]
        for name, model in models.items():
            model.eval()
            dreams = []
            with torch.inference_mode():
                for states, pads, context in (played, changed):
                    carried, last = burn_in(model, states[:, begin], pads[:, begin], context, tokens=history)
                    dreams.append(rollout(model, carried, last, pads[:, after], context))
            parts[name].append(_terms((dreams[0], dreams[1]), truth, player))
            if tick:
                tick(len(some) * 2 * horizon)
    sums = {name: np.concatenate(terms, 1) for name, terms in parts.items()}  # (2, S, T, measures)
    for m, measure in enumerate(MEASURES):
        for t in range(horizon):
            at = Measure(f"fork/{measure.name}@{t + 1}", measure.unit, measure.better, measure.what)
            ledger.add(at, {name: (values[0, :, t, m], values[1, :, t, m]) for name, values in sums.items()})
    return ledger


def as_json(numbers: Numbers, *, num_forks: int, seed: int, horizon: int = HORIZON_FRAMES) -> dict[str, Any]:
    """The part of the result: curves over the horizon, with intervals over forks."""

    def curves(table: Mapping[str, Any]) -> dict[str, Any]:
        return {
            measure.name: _lists([table[f"fork/{measure.name}@{frames}"] for frames in range(1, horizon + 1)])
            for measure in MEASURES
        }

    return {
        "num_forks": num_forks,
        "horizon_frames": horizon,
        "seed": SEED + seed,
        "measures": [{"name": m.name, "unit": m.unit, "better": m.better, "definition": m.what} for m in MEASURES],
        "models": {name: curves(values) for name, values in numbers.of.items()},
        "differences": {name: curves(values) for name, values in numbers.against.items()},
    }


def _lists(estimates: Sequence[Any]) -> dict[str, Any]:
    return {
        **{key: [getattr(e, key) for e in estimates] for key in ("value", "low", "high")},
        "reason": next((e.reason for e in estimates if e.reason), None),
    }


def _tensors(some: Sequence[Fork], which: str, device: torch.device | str) -> tuple[State, Pads, Context]:
    """One future of some forks (S,T,2,·), written as replays and read again: models see what they always see."""
    parts = [of_replay(parse_replay(write_slp(getattr(fork, which))), which).tensors() for fork in some]

    def joined(kind: Any, index: int) -> Any:
        names = list(kind.__dataclass_fields__)
        return kind(*(torch.cat([getattr(part[index], name) for part in parts]).to(device) for name in names))

    return joined(State, 0), joined(Pads, 1), joined(Context, 2)


def _terms(dreams: tuple[State, State], truth: tuple[State, State], player_S: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numerators and denominators (2, S, T, measures). Pairs are (played, changed)."""
    at = [LAYOUT.number("position_x"), LAYOUT.number("position_y")]
    code = LAYOUT.category("action_state")

    def places(states: State) -> NDArray[np.float64]:
        return states.numbers[..., at].double().cpu().numpy()

    def own(values: NDArray[Any]) -> NDArray[Any]:
        """Of the player whose pads were replaced: (S,T,P,...) -> (S,T,...)."""
        return values[np.arange(len(values)), :, player_S]

    dreamed, true = tuple(map(places, dreams)), tuple(map(places, truth))
    error = [np.linalg.norm(d - t, axis=-1).mean(-1) for d, t in zip(dreamed, true, strict=True)]
    shift, true_shift = own(dreamed[1] - dreamed[0]), own(true[1] - true[0])
    size, true_size = np.linalg.norm(shift, axis=-1), np.linalg.norm(true_shift, axis=-1)
    apart = true_size > APART_UNITS
    product = (shift * true_shift).sum(-1)
    lengths = size * true_size
    cosine = np.where(apart & (lengths > 0), product / np.where(lengths > 0, lengths, 1.0), 0.0)
    states = [own(s.categories[..., code].cpu().numpy()) for s in (*truth, dreams[1])]
    other = states[0] != states[1]
    ones = np.ones_like(size)
    numerators = [*error, np.linalg.norm(shift - true_shift, axis=-1), cosine, size, other & (states[2] == states[1])]
    denominators = [ones, ones, ones, apart, true_size, other]
    return np.stack([np.stack(numerators, -1).astype(np.float64), np.stack(denominators, -1).astype(np.float64)])
