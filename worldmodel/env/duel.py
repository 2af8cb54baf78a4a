"""One agent against somebody: matches of which the other pad is held by a policy or by a replay's player.

Owns: whose pad is whose. Must not: step a world by itself, know spaces.

Letters: B worlds, A pad numbers, NB buttons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.dynamics.policies import Policy, policies
from worldmodel.env.matches import Matches, Outcome
from worldmodel.env.views import seen_by
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Pads, State

REPLAY = "replay"
"""The opponent that presses what the replay's player pressed. It does not see what the agent does."""


class Duel:
    """Matches seen by player `player` (0 or 1). opponent: a policy's name, "replay", or a policy of one's own.

    A policy of one's own is given the frame in port order, and gives the pads of both players, of which one is taken.
    """

    def __init__(self, matches: Matches, *, player: int = 0, opponent: str | Policy = "neutral", seed: int = 0) -> None:
        if player not in (0, 1):
            raise WrongUse(f"player {player}", "0 or 1", "the agent is one of the two, in port order")
        self.matches, self.player = matches, player
        self._policy = None if opponent == REPLAY else _find_policy(opponent)
        self._chances = torch.Generator(device=matches.device)
        self._seed(seed)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> State:
        """Begin anew; the first frames (B,2,·), the agent's side first. See `Matches.reset`."""
        if seed is not None:
            self._seed(seed)
        return seen_by(self.matches.reset(seed, options), self.player)

    def step(self, numbers_BA: Tensor, buttons_BNB: Tensor) -> Outcome:
        """One frame under the agent's pads. The outcome is the agent's: its side first, in `reward` too."""
        other = 1 - self.player
        theirs = self._opponent()
        sides = [(numbers_BA, buttons_BNB), (theirs.numbers[:, other], theirs.buttons[:, other])]
        if self.player == 1:
            sides.reverse()
        numbers, buttons = zip(*sides, strict=True)
        outcome = self.matches.step(Pads(torch.stack(numbers, 1), torch.stack(buttons, 1)))
        return turned(outcome, self.player)

    def _opponent(self) -> Pads:
        if self._policy is None:
            return self.matches.recorded()
        return self._policy(self.matches.state, self.matches.frames, self._chances)

    def _seed(self, seed: int) -> None:
        # Not the chances of the matches, which are the first two of the same sequence.
        self._chances.manual_seed(int(np.random.SeedSequence(seed).generate_state(3, np.uint64)[2] >> np.uint64(1)))


def turned(outcome: Outcome, player: int) -> Outcome:
    """An outcome as a player sees it: its own side first."""
    if player == 0:
        return outcome
    return Outcome(
        seen_by(outcome.state, player),
        outcome.reward.flip(-1),
        outcome.terminated,
        outcome.truncated,
        outcome.began,
        outcome.frames,
        outcome.pads,
    )


def _find_policy(given: str | Policy) -> Policy:
    if callable(given):
        return given
    known = policies()
    if given not in known:
        raise WrongUse(
            f"opponent {given!r}", f"{REPLAY}, {', '.join(known)}", "name one of these, or give a policy of your own"
        )
    return known[given]
