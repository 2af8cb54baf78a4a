"""An agent in thirty lines: search for a linear policy that hurts an opponent who does nothing, inside a world model.

    python examples/search_agent.py RUN [--frames 240] [--rounds 15] [--candidates 256]

The cross-entropy method: draw candidates, play one match each, all at once, keep the best tenth, draw around them.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from worldmodel.env import Duel, make_matches
from worldmodel.env.setup import Model
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT

X, Y = LAYOUT.number("position_x"), LAYOUT.number("position_y")
NUM_FEATURES, NUM_OUTPUTS = 6, len(LAYOUT.pad_numbers) + len(LAYOUT.pad_buttons.codec.masks)  # type: ignore[union-attr]


def features(state: State, frames: Tensor) -> Tensor:
    """(B,6): where the other is, which way one faces, whether one is in the air, a clock that ticks, and 1."""
    away = (state.numbers[:, 1] - state.numbers[:, 0]) / 40
    facing, airborne = (state.flags[:, 0, LAYOUT.flag(role)].float() * 2 - 1 for role in ("facing", "airborne"))
    tick = (frames // 8 % 2).float() * 2 - 1
    return torch.stack([away[:, X], away[:, Y], facing, airborne, tick, torch.ones_like(tick)], -1)


@torch.no_grad()
def search(
    model: Model,
    *,
    num_frames: int = 240,
    num_rounds: int = 15,
    num_candidates: int = 256,
    seed: int = 0,
    **setup: object,
) -> tuple[list[float], Tensor]:
    """Mean damage per candidate of each round, and the last round's mean policy (6,13)."""
    duel = Duel(make_matches(model, num_candidates, reward="damage", **setup), opponent="neutral")  # type: ignore[arg-type]
    chances = torch.Generator().manual_seed(seed)
    mean, spread = torch.zeros(NUM_FEATURES, NUM_OUTPUTS), torch.ones(NUM_FEATURES, NUM_OUTPUTS)
    scores = []
    for _ in range(num_rounds):
        weights = mean + spread * torch.randn(num_candidates, NUM_FEATURES, NUM_OUTPUTS, generator=chances)
        state, frames = duel.reset(seed, {"start": 0}), torch.zeros(num_candidates)
        total = torch.zeros(num_candidates)
        for _ in range(num_frames):
            out = torch.einsum("bf,bfo->bo", features(state, frames), weights)
            numbers, buttons = out[:, : len(LAYOUT.pad_numbers)], out[:, len(LAYOUT.pad_numbers) :]
            outcome = duel.step(numbers, buttons > 1)
            state, frames, total = outcome.state, outcome.frames, total + outcome.reward[:, 0]
        best = weights[total.topk(num_candidates // 10).indices]
        mean, spread = best.mean(0), best.std(0) + 0.05
        scores.append(float(total.mean()))
        print(f"mean damage {total.mean():6.1f}   best {total.max():6.1f}")
    return scores, mean


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--candidates", type=int, default=256)
    given = parser.parse_args()
    search(given.run, num_frames=given.frames, num_rounds=given.rounds, num_candidates=given.candidates)
