"""Intervals of metrics by resampling games.

Owns: what an interval is here, and when there is none. Frames of one game resemble each other, so whole games are drawn
(multinomial weights), never frames. Must not: know a metric or a model. NumPy only.

Percentile bootstrap of a ratio of sums (B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13).
With few games such intervals come out too narrow; below MIN_GAMES none is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_GAMES = 5
"""Fewer games than this give no interval, and the result says so."""

NUM_RESAMPLES = 2000
LEVEL = 0.95

Sums = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Numerators and denominators of metrics per game, (G, M) each."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its interval, and if one of them is missing, why. NaN never occurs."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


def weights(num_games: int, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> NDArray[np.float64]:
    """How often each game is drawn in each resample: (R, G), rows sum to `num_games`."""
    generator = np.random.default_rng(seed)
    equal = np.full(num_games, 1.0 / num_games)
    return generator.multinomial(num_games, equal, size=num_resamples).astype(np.float64)


def estimate(sums: Sums, *, seed: int, num_resamples: int = NUM_RESAMPLES, level: float = LEVEL) -> list[Estimate]:
    """Interval of each metric's ratio of sums over games, M of them."""
    return _estimates(sums, None, seed, num_resamples, level)


def difference(
    model: Sums, baseline: Sums, *, seed: int, num_resamples: int = NUM_RESAMPLES, level: float = LEVEL
) -> list[Estimate]:
    """Interval of model minus baseline, M of them, paired: both are taken on the same draw of games."""
    return _estimates(model, baseline, seed, num_resamples, level)


def spread(model: Sums, baseline: Sums, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> NDArray[np.float64]:
    """Standard error of each paired difference (M,); NaN where there is no interval."""
    draws = _draws([model, baseline], seed, num_resamples)
    if draws is None:
        return np.full(model[0].shape[1], np.nan)
    counted = ~np.isnan(draws)
    num = np.maximum(counted.sum(0), 1)
    middle = np.where(counted, draws, 0.0).sum(0) / num
    error = np.sqrt(np.where(counted, (draws - middle) ** 2, 0.0).sum(0) / num)
    few = np.min([(d > 0).sum(0) for _, d in (model, baseline)], axis=0) < MIN_GAMES
    return np.where(counted.any(0) & ~few, error, np.nan)


def _estimates(model: Sums, baseline: Sums | None, seed: int, num_resamples: int, level: float) -> list[Estimate]:
    num_games, num_metrics = model[0].shape
    sides = [model] if baseline is None else [model, baseline]
    if any(part.shape != (num_games, num_metrics) for side in sides for part in side):
        raise ValueError(f"sums of shapes {[part.shape for side in sides for part in side]} do not go together")
    if num_games == 0:
        return [Estimate(None, None, None, "no games")] * num_metrics

    values = [_ratio(n.sum(0, keepdims=True), d.sum(0, keepdims=True))[0] for n, d in sides]
    value_M = values[0] - values[1] if baseline is not None else values[0]
    # A game counts for a metric if it has any denominator there: old versions lack whole fields.
    counted_M = np.min([(d > 0).sum(0) for _, d in sides], axis=0)
    low_M = high_M = np.full(num_metrics, np.nan)
    draw_RM = _draws(sides, seed, num_resamples)
    if draw_RM is not None:
        low_M, high_M = _percentiles(draw_RM, level)
    return [_one(value_M[m], low_M[m], high_M[m], int(counted_M[m])) for m in range(num_metrics)]


def _draws(sides: list[Sums], seed: int, num_resamples: int) -> NDArray[np.float64] | None:
    """Values of one side, or differences of the first to the second, on each resample (R, M). None: too few games."""
    num_games = len(sides[0][0])
    if num_games < MIN_GAMES:
        return None
    drawn_RG = weights(num_games, seed=seed, num_resamples=num_resamples)
    draws = [_ratio(_weighted(drawn_RG, n), _weighted(drawn_RG, d)) for n, d in sides]
    return draws[0] if len(draws) == 1 else draws[0] - draws[1]


def _weighted(drawn_RG: NDArray[np.float64], values_GM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of resamples (R, M). A game that is not finite spoils its metric, in every resample alike."""
    finite_GM = np.where(np.isfinite(values_GM), values_GM, 0.0)
    sums_RM = drawn_RG @ finite_GM
    sums_RM[:, ~np.isfinite(values_GM).all(0)] = np.nan
    return sums_RM


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    counted = denominator > 0
    out = np.where(counted, numerator, np.nan) / np.where(counted, denominator, 1.0)
    return np.where(np.isfinite(out), out, np.nan)


def _percentiles(draw_RM: NDArray[np.float64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Resamples that miss a metric altogether (all its games undrawn) are left out of its interval."""
    tail = (1.0 - level) / 2
    low, high = np.full(draw_RM.shape[1], np.nan), np.full(draw_RM.shape[1], np.nan)
    for m in range(draw_RM.shape[1]):
        draws = draw_RM[:, m]
        draws = draws[~np.isnan(draws)]
        if draws.size:
            low[m], high[m] = np.quantile(draws, [tail, 1.0 - tail])
    return low, high


def _one(value: float, low: float, high: float, num_counted: int) -> Estimate:
    if num_counted == 0:
        return Estimate(None, None, None, "nothing to count in these games")
    if np.isnan(value):
        return Estimate(None, None, None, "not finite")
    if num_counted < MIN_GAMES:
        return Estimate(float(value), None, None, f"{num_counted} games; an interval needs {MIN_GAMES}")
    return Estimate(float(value), float(low), float(high))
