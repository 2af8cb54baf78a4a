"""What a dream does that no single frame shows: events, contradictions, impossible states, leaving the stage.

Owns: these measures of whole rollouts, on the device. Must not: run a model, choose starts, judge.

Letters: B rollouts, T frames, P players, E events, K contradictions, I kinds of impossible states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.dynamics.events import StateRows, events_between, known_events, known_roles
from worldmodel.evaluation.metrics import Metric
from worldmodel.melee.stages import GEOMETRY
from worldmodel.nn.frames import Context, State
from worldmodel.schema import LAYOUT, STAGE, Number
from worldmodel.schema.contradictions import CONTRADICTIONS

WINDOW_FRAMES = 5
"""An event is found, and a dreamed one is right, if the other side has one of its kind so many frames before or after
it, of the same player."""

FAR_UNITS = 20.0
"""A dream is lost once a player is farther than this from where he is in truth."""

IMPOSSIBLE = ("not_finite", "out_of_bounds", "runaway", "stocks_rose")
"""Ways for a dream to be impossible: a number that is none; a number outside its bounds; a position that lies on its
bound, far beyond every blast zone; a player who has more stocks than at the start."""

EVENT_COUNTS = ("true", "found", "dreamed", "right", "true_all", "dreamed_all")
"""Counts of an event: true ones and those of them that were dreamed near by; dreamed ones and those of them that are
near a true one. These four leave out the last frames, whose partner may lie beyond the end; the last two do not."""

DREAM_METRICS: tuple[Metric, ...] = (
    Metric("stocks_error", LAYOUT.the("stocks").unit, "lower", "players", "mean of |error| of the stocks"),
    Metric(
        "off_stage",
        "share",
        "lower",
        "rollouts",
        "a player is beyond the edge or a blast zone while in truth he is not",
    ),
)
"""Curves over the horizon besides the metrics of single frames."""

_STOCKS = LAYOUT.number("stocks")
_POSITION = [LAYOUT.number("position_x"), LAYOUT.number("position_y")]


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a sequence of frames, dreamed or true.

    impossible: (B,T,I), either player. contradicts: (B,T,P,K); knows: (B,K). happens: (B,T,P,E). off_stage: (B,T,P).
    """

    impossible: Tensor
    contradicts: Tensor
    knows: Tensor
    happens: Tensor
    off_stage: Tensor


def facts(frames: State, start: State, context: Context) -> Facts:
    """frames: (B,T,2,·), the first of which follows `start` (B,2,·)."""
    before = State(
        *(
            torch.cat([getattr(start, name)[:, None], getattr(frames, name)[:, :-1]], 1)
            for name in ("numbers", "categories", "flags")
        )
    )
    knows_BK = known_roles(context, [rule.needs for rule in CONTRADICTIONS.values()])
    rows = StateRows(before), StateRows(frames)
    contradicts = torch.stack([rule.rule(*rows) for rule in CONTRADICTIONS.values()], -1)
    return Facts(
        impossible_states(frames, start, context),
        contradicts & knows_BK[:, None, None, :],
        knows_BK,
        events_between(before, frames, context),
        _off_stage(frames, context),
    )


def impossible_states(dream: State, start: State, context: Context) -> Tensor:
    """(B,T,I) bool, over both players. Missing fields cannot be wrong."""
    bounds = [row.codec.bounds for row in LAYOUT.numbers if isinstance(row.codec, Number)]
    low_N, high_N = torch.tensor(bounds, device=dream.numbers.device).T
    present = context.present_numbers[:, None, None, :]
    numbers = dream.numbers
    place = numbers[..., _POSITION]
    found = (
        ~numbers.isfinite() & present,
        ((numbers < low_N) | (numbers > high_N)) & present,
        (place <= low_N[_POSITION]) | (place >= high_N[_POSITION]),
        numbers[..., _STOCKS : _STOCKS + 1] > start.numbers[:, None, :, _STOCKS : _STOCKS + 1],
    )
    return torch.stack([wrong.flatten(2).any(2) for wrong in found], -1)


def event_counts(dream_BTPE: Tensor, truth_BTPE: Tensor) -> Tensor:
    """(B, E, len(EVENT_COUNTS)) float32, both players together."""
    scored = max(0, dream_BTPE.shape[1] - WINDOW_FRAMES)
    found = truth_BTPE & _near(dream_BTPE)
    right = dream_BTPE & _near(truth_BTPE)
    parts = [mask[:, :scored] for mask in (truth_BTPE, found, dream_BTPE, right)] + [truth_BTPE, dream_BTPE]
    return torch.stack([mask.sum((1, 2), dtype=torch.float32) for mask in parts], -1)


def knows_events(context: Context) -> Tensor:
    """(B,E) which events each rollout's replay can tell."""
    return known_events(context)


def produced(dream_BTPE: Tensor, event_B: Tensor, player_B: Tensor, frame: int) -> Tensor:
    """(B,) whether each dream has its own event of its own player near the frame (an index) where the truth has it."""
    cut = dream_BTPE[:, max(0, frame - WINDOW_FRAMES) : frame + WINDOW_FRAMES + 1]
    each_BPE = cut.any(1)
    return each_BPE[torch.arange(len(each_BPE), device=each_BPE.device), player_B, event_B]


def curve_terms(dream: State, target: State, dreamed: Facts, true: Facts) -> tuple[Tensor, Tensor]:
    """Numerators and denominators of DREAM_METRICS, (B,T,len(DREAM_METRICS)) each."""
    error = (dream.numbers[..., _STOCKS] - target.numbers[..., _STOCKS]).abs().sum(-1)
    drift = (dreamed.off_stage & ~true.off_stage).any(-1).float()
    num_p = dream.numbers.shape[2]
    return torch.stack([error, drift], -1), torch.stack([torch.full_like(error, num_p), torch.ones_like(drift)], -1)


def distance(dream: State, target: State) -> Tensor:
    """(B,T,P) between where each player is in the dream and in truth."""
    gap = dream.numbers[..., _POSITION] - target.numbers[..., _POSITION]
    return gap.square().sum(-1).sqrt()


def frames_until(wrong_BT: Tensor) -> Tensor:
    """(B,) how many frames pass before the first wrong one; T if none is."""
    return (wrong_BT.int().cumsum(1) == 0).sum(1)


def _near(happens_BTPE: Tensor) -> Tensor:
    """Where one happens within the window."""
    rows = happens_BTPE.movedim(1, -1).float()
    wide = F.max_pool1d(rows.flatten(0, -2)[:, None], 2 * WINDOW_FRAMES + 1, 1, WINDOW_FRAMES)
    return wide.view(rows.shape).movedim(-1, 1) > 0


def _limits(number: int) -> tuple[float, ...]:
    stage = GEOMETRY.get(number)
    return (stage.edge, stage.left, stage.right, stage.bottom, stage.top) if stage else (0.0,) * 5


_LIMITS = [_limits(code - STAGE.offset) for code in range(STAGE.vocab)]
"""By stage code: edge, and blast zones left, right, bottom, top. Zeros where the geometry is not known."""


def _off_stage(frames: State, context: Context) -> Tensor:
    """(B,T,P). On stages without known geometry nobody is."""
    limits = torch.tensor(_LIMITS, device=frames.numbers.device).index_select(0, context.stage)[:, :, None, None]
    edge, left, right, bottom, top = limits.unbind(1)
    x, y = (frames.numbers[..., at] for at in _POSITION)
    return ((x.abs() > edge) | (x < left) | (x > right) | (y < bottom) | (y > top)) & (edge > 0)
