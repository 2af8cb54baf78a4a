"""Every metric, its definition, and its sums on the device.

Owns: what a metric is called, what it means, and numerator and denominator per game and player. Both players count
in every metric, and what a replay lacks counts in none. Must not: run a model, read a dataset, bring a value to the
CPU before `Sums.numpy`.

The table follows from the schema: a new row of `schema/fields.py` has its metric without a change here. Errors are
taken on *decoded* frames, in the fields' own units, never on raw heads.

Shapes: B sequences, T frames, P the two players, N numbers, C categories, F flags, M metrics, G games (slots of sums).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.schema import LAYOUT, PLAYERS, Category, Field, Number

if TYPE_CHECKING:
    from worldmodel.nn.frames import Context, State

EXACT_TOLERANCE = 0.01
"""A number counts as exactly right within this, in its own unit."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the metrics table.

    unit: "share" for fractions of 1. better: which direction is an improvement. counts: what the denominator counts.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    counts: str
    definition: str


@dataclass(frozen=True, slots=True)
class _Frames:
    """What a frame metric may look at; masks are broadcast to the frames' shape. Error is NaN-safe: NaN stays NaN."""

    error_BTPN: Tensor
    has_number: Tensor
    right_BTPC: Tensor
    moved_BTPC: Tensor
    has_category: Tensor
    agree_BTPF: Tensor
    flipped_BTPF: Tensor
    has_flag: Tensor


Term = Callable[[_Frames], tuple[Tensor, Tensor]]
"""Gives numerator and denominator, (B, T, P) each (the denominator as a mask or a count)."""


Places = slice | list[int]
"""Where on the last axis. A slice needs no index tensor on the device."""


def _places(at: list[int]) -> Places:
    together = at == list(range(at[0], at[0] + len(at)))
    return slice(at[0], at[0] + len(at)) if together else at


def _over(values: Tensor, mask: Tensor, at: Places) -> tuple[Tensor, Tensor]:
    """Sum of `values` where `mask`, and the mask's count, over some of the last axis."""
    mask = mask[..., at].expand(values[..., at].shape)
    return torch.where(mask, values[..., at], values.new_zeros(())).sum(-1), mask.sum(-1)


def _mean_error(at: Places) -> Term:
    return lambda frames: _over(frames.error_BTPN, frames.has_number, at)


def _distance(at: Places) -> Term:
    def term(frames: _Frames) -> tuple[Tensor, Tensor]:
        present = frames.has_number[..., at].all(-1)
        distance = frames.error_BTPN[..., at].square().sum(-1).sqrt()
        present = present.expand(distance.shape)
        return torch.where(present, distance, distance.new_zeros(())), present

    return term


def _whole_number_right(at: int) -> Term:
    return lambda frames: _over((frames.error_BTPN < 0.5).float(), frames.has_number, _places([at]))


def _category_right(at: int) -> Term:
    return lambda frames: _over(frames.right_BTPC.float(), frames.has_category, _places([at]))


def _category_right_at_change(at: int) -> Term:
    return lambda frames: _over(frames.right_BTPC.float(), frames.has_category & frames.moved_BTPC, _places([at]))


def _flags_right(at: Places) -> Term:
    return lambda frames: _over(frames.agree_BTPF.float(), frames.has_flag, at)


def _flags_right_at_change(at: Places) -> Term:
    return lambda frames: _over(frames.agree_BTPF.float(), frames.has_flag & frames.flipped_BTPF, at)


def _all_right(frames: _Frames) -> tuple[Tensor, Tensor]:
    right = ((frames.error_BTPN <= EXACT_TOLERANCE) | ~frames.has_number).all(-1)
    right &= (frames.right_BTPC | ~frames.has_category).all(-1)
    right &= (frames.agree_BTPF | ~frames.has_flag).all(-1)
    return right.float(), torch.ones_like(right)


def _share(name: str, counts: str, definition: str) -> Metric:
    return Metric(name, "share", "higher", counts, definition)


def _table() -> list[tuple[Metric, Term]]:
    rows: list[tuple[Metric, Term]] = []
    headline = LAYOUT.the("action_state")
    at = LAYOUT.category("action_state")
    rows.append(
        (
            _share("change_acc", "changes", "right action state, on frames where the true one differs from the last"),
            _category_right_at_change(at),
        )
    )
    rows.append(
        (_share(f"{headline.name}_acc", "frames", "right action state, on all frames"), _category_right(at)),
    )

    pair = _places([LAYOUT.numbers.index(row) for row in LAYOUT.with_role("position")])
    unit = LAYOUT.with_role("position")[0].unit
    rows.append(
        (Metric("pos_mae", unit, "lower", "coordinates", "mean of |error| of x and of y"), _mean_error(pair)),
    )
    rows.append(
        (Metric("pos_distance", unit, "lower", "frames", "mean distance between true and predicted"), _distance(pair)),
    )
    velocities = LAYOUT.with_role("velocity")
    rows.append(
        (
            Metric("velocity_mae", velocities[0].unit, "lower", "speeds", "mean of |error| of each of the speeds"),
            _mean_error(_places([LAYOUT.numbers.index(row) for row in velocities])),
        )
    )

    grouped = {*LAYOUT.with_role("position"), *velocities}
    for index, row in enumerate(LAYOUT.numbers):
        if row in grouped:
            continue
        assert isinstance(row.codec, Number)
        if row.codec.integer:
            metric = _share(f"{row.name}_acc", "frames", f"right {_words(row)} (a whole number)")
            rows.append((metric, _whole_number_right(index)))
        else:
            metric = Metric(f"{row.name}_mae", row.unit, "lower", "frames", f"mean of |error| of {_words(row)}")
            rows.append((metric, _mean_error(_places([index]))))

    for index, row in enumerate(LAYOUT.categories):
        assert isinstance(row.codec, Category)
        if row is headline or not row.codec.predicted:
            continue
        rows.append((_share(f"{row.name}_acc", "frames", f"right {_words(row)}"), _category_right(index)))
        rows.append(
            (
                _share(f"{row.name}_change_acc", "changes", f"right {_words(row)}, on frames where it changes"),
                _category_right_at_change(index),
            )
        )

    for row in dict.fromkeys(flag.field for flag in LAYOUT.flag_bits):
        at_row = [index for index, flag in enumerate(LAYOUT.flag_bits) if flag.field is row]
        bits = _places(at_row)
        what = _words(row) if len(at_row) == 1 else f"each of the {len(at_row)} {_words(row)}"
        counts = "frames" if len(at_row) == 1 else "bits"
        rows.append((_share(f"{row.name}_acc", counts, f"right {what}"), _flags_right(bits)))
        rows.append(
            (
                _share(f"{row.name}_change_acc", "changes", f"right {what}, on frames where it changes"),
                _flags_right_at_change(bits),
            )
        )

    everything = f"every field of a player right (numbers within {EXACT_TOLERANCE:g} of their unit)"
    rows.append((_share("exact", "frames", everything), _all_right))
    return rows


def _words(row: Field) -> str:
    return row.name.replace("_", " ")


def _members(group: str) -> str:
    return "loss of " + ", ".join(_words(row) for row in LAYOUT.rows if row.loss == group)


_TABLE = _table()

LOSS_PREFIX = "loss/"

FRAME_METRICS: tuple[Metric, ...] = tuple(metric for metric, _ in _TABLE)
"""Metrics of decoded frames, headline first."""

LOSS_METRICS: tuple[Metric, ...] = (
    Metric(f"{LOSS_PREFIX}total", "loss", "lower", "frames", "weighted sum of the groups below"),
    *(Metric(f"{LOSS_PREFIX}{group}", "loss", "lower", "elements", _members(group)) for group in LAYOUT.loss_groups),
)
"""The objective's losses, comparable only between models of one codec and one set of weights."""

METRICS: tuple[Metric, ...] = FRAME_METRICS + LOSS_METRICS
"""The table, in the order of the last axis of all sums."""

METRIC_AT: dict[str, int] = {metric.name: index for index, metric in enumerate(METRICS)}
"""Position of a metric by its name."""

HEADLINES = ("change_acc", "pos_mae")
"""The metrics named in run cards, besides the loss."""


def frame_terms(decoded: State, previous: State, target: State, context: Context) -> tuple[Tensor, Tensor]:
    """Numerators and denominators of FRAME_METRICS, each (B, T, P, M) float32, on the states' device.

    decoded: predicted frames, out of `dynamics.advance` or a rollout; previous: the true frames before; target: the
    true frames. All are State of (B, T, P, ·); the context is per sequence.
    """

    def per_frame(present: Tensor) -> Tensor:
        return present[:, None, None, :]

    has_category = per_frame(context.present_categories)
    frames = _Frames(
        error_BTPN=(decoded.numbers - target.numbers).abs(),
        has_number=per_frame(context.present_numbers),
        right_BTPC=decoded.categories == target.categories,
        moved_BTPC=previous.categories != target.categories,
        has_category=has_category,
        agree_BTPF=decoded.flags == target.flags,
        flipped_BTPF=previous.flags != target.flags,
        has_flag=per_frame(context.present_flags),
    )
    pairs = [term(frames) for _, term in _TABLE]
    numerators = torch.stack([numerator.float() for numerator, _ in pairs], -1)
    denominators = torch.stack([denominator.float() for _, denominator in pairs], -1)
    return numerators, denominators


@dataclass(frozen=True, slots=True)
class Sums:
    """Numerators and denominators, (G, P, M) float64 on a device, in the order of METRICS. Added to in place.

    On CUDA the order of additions is free, so the last bits of a sum may differ between two runs.
    """

    numerator: Tensor
    denominator: Tensor

    @classmethod
    def zeros(cls, num_games: int, device: torch.device | str) -> Sums:
        shape = (num_games, len(PLAYERS), len(METRICS))
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for _ in range(2)))

    def add_frames(self, terms: tuple[Tensor, Tensor], slots_B: Tensor, *, scored_BT: Tensor | None = None) -> None:
        """Adds `frame_terms` to each sequence's slot; of the frames, those that are `scored` (None: all)."""
        last = len(FRAME_METRICS)
        for total, term_BTPM in zip((self.numerator, self.denominator), terms, strict=True):
            if scored_BT is not None:
                term_BTPM = torch.where(scored_BT[:, :, None, None], term_BTPM, 0.0)
            total[..., :last].index_add_(0, slots_B, term_BTPM.sum(1, dtype=torch.float64))

    def add_losses(self, losses: Mapping[str, tuple[Tensor, Tensor]], slots_B: Tensor) -> None:
        """Adds losses by group or "total": per sequence the sum (B,) and the count (B,) that it is over.

        A frame's loss belongs to both players: it is booked in equal halves.
        """
        for group, pair in losses.items():
            at = METRIC_AT[f"{LOSS_PREFIX}{group}"]
            for total, value_B in zip((self.numerator, self.denominator), pair, strict=True):
                half_BP = (value_B.double() / len(PLAYERS))[:, None].expand(-1, len(PLAYERS))
                total[..., at].index_add_(0, slots_B, half_BP)

    def numpy(self) -> GameSums:
        """On the CPU. This waits for the device; call it once, at the end."""
        return GameSums(self.numerator.cpu().numpy(), self.denominator.cpu().numpy())


@dataclass(frozen=True, slots=True)
class GameSums:
    """Sums as NumPy arrays (G, P, M)."""

    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]

    def per_game(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(G, M) numerators and denominators: both players together."""
        return self.numerator.sum(1), self.denominator.sum(1)

    def overall(self) -> dict[str, float | None]:
        """Each metric over all games; None where nothing was counted or the sum is not finite."""
        numerator, denominator = self.numerator.sum((0, 1)), self.denominator.sum((0, 1))
        return {m.name: ratio(numerator[i], denominator[i]) for i, m in enumerate(METRICS)}


def ratio(numerator: float, denominator: float) -> float | None:
    """Numerator over denominator; None (a JSON null) where nothing was counted or the sum is not finite."""
    if not denominator > 0 or not np.isfinite(numerator):
        return None
    return float(numerator / denominator)
