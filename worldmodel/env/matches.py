"""**The one environment**: B matches at once on a device, both pads in, both players' frames and rewards out.

Owns: when an episode ends, where the next one begins, seeds. Must not: import gymnasium, know whose
agent is whose.
The Gymnasium and PettingZoo environments are views of this; the transition is `dynamics.World`'s.

An episode is **terminated** in the frame in which a player has no stock left, and **truncated** in the frame that
reaches `max_frames` (or, if so wished, the end of the recorded pads) without that. Nothing else ends one: what a model
dreams is projected into the schema's bounds by the transition, and an odd dream is still an episode.

A world that is over begins anew in the *next* step (Gymnasium's `NEXT_STEP`): that step ignores its pads, returns its
first frame, no reward and no end. So every frame that is returned follows the one before it, or is said to begin.
It is also what spares waiting for the device: which worlds are over must be known on the host when the work of a whole
further step is already queued. Only their rows are written; what the others carry is never copied.

Letters: B worlds, S starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.dynamics.world import Moment, World
from worldmodel.env.controller import settle
from worldmodel.env.ground import Ground, InPlace, Kept
from worldmodel.env.rewards import Reward, find_reward
from worldmodel.env.starts import Starts, recorded_pads
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.schema import LAYOUT

MAX_FRAMES = 8 * 60 * 60
"""Time limit of an episode by default: the eight minutes of a tournament match."""

OPTIONS = ("start",)
"""What `reset` may be asked for."""

_STOCKS = LAYOUT.number("stocks")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step returns, on the device. Ordinary tensors of one's own, fit for training on.

    state: (B,2,·) in port order, see `views.seen_by`. reward: (B,2) float, in the unit of the reward. terminated,
    truncated: (B,) bool, never both. began: (B,) bool, worlds whose episode began in this step. frames: (B,) int64,
    frames since the episode began. pads: (B,2,·) as the game heard them, in port order.
    """

    state: State
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    began: Tensor
    frames: Tensor
    pads: Pads


class Matches:
    """B matches. The same seed, starts and pads give the same frames, bit for bit on a CPU.

    reward: a name of `rewards.REWARDS` or a function (before, after) -> (B,2). autoreset: whether worlds that are over
    begin anew; without it they are stepped on until `reset`. until_recorded: truncate where the recorded pads of a
    start end. in_place: the worlds live in one set of buffers, on CUDA as one captured graph: the fast way for many,
    in which `moment` is a copy of everything; compile: that step is compiled. Raises WrongUse.
    """

    def __init__(
        self,
        world: World,
        starts: Starts,
        num_worlds: int,
        *,
        reward: str | Reward = "damage_and_stocks",
        max_frames: int = MAX_FRAMES,
        autoreset: bool = True,
        until_recorded: bool = False,
        in_place: bool = False,
        compile: bool = False,
        seed: int = 0,
    ) -> None:
        if num_worlds < 1 or max_frames < 1:
            raise WrongUse(f"{num_worlds} worlds of {max_frames} frames", "at least one of each", "give counts")
        if until_recorded:
            if not starts.num_recorded:
                raise WrongUse("starts without recorded pads", "starts from replays", "give a dataset")
            max_frames = min(max_frames, starts.num_recorded)
        self.world, self.starts, self.num_worlds = world, starts, num_worlds
        self.max_frames, self.autoreset = max_frames, autoreset
        self._reward = find_reward(reward)
        self.device = world.model.like.device
        self._waits = self.device.type == "cuda"
        if self._waits:
            self._over_on_host = torch.zeros(num_worlds, dtype=torch.bool, pin_memory=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._choice = torch.Generator()
        self._in_place, self._compile = in_place, compile
        self._ground: Ground | None = None
        self._over = torch.zeros(num_worlds, dtype=torch.bool, device=self.device)
        self._start = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)
        self.seed(seed)

    # ---- the interface -----------------------------------------------------------------------------------------

    def seed(self, seed: int) -> None:
        """Set the chances of where matches begin and, with a temperature, of how they go."""
        self._seed = seed
        choice, chances = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self._choice.manual_seed(int(choice >> np.uint64(1)))
        self.world.generator.manual_seed(int(chances >> np.uint64(1)))

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> State:
        """Begin all matches anew; returns their first frames (B,2,·).

        options: `start`, the number of a start of `starts`, or one for each world; else they are chosen by chance.
        Raises WrongUse for other options.
        """
        if self._in_place and self._ground is None:
            # Before the seed is set: the capture of a graph draws, too.
            anywhere = torch.zeros(self.num_worlds, dtype=torch.int64, device=self.device)
            self._ground = InPlace(self.world, self.starts.moment[anywhere], compile=self._compile)
            seed = self._seed if seed is None else seed
        if seed is not None:
            self.seed(seed)
        given = options or {}
        unknown = set(given) - set(OPTIONS)
        if unknown:
            raise WrongUse(f"reset option {sorted(unknown)[0]!r}", f"one of {', '.join(OPTIONS)}", "leave it out")
        start = self._draw(self.num_worlds) if given.get("start") is None else self._check_start(given["start"])
        self._start = start.to(self.device)
        self._over = torch.zeros_like(self._over)
        if self._waits:
            self._copied.synchronize()  # or a copy on its way would come after
            self._over_on_host.zero_()
        with torch.inference_mode():
            begun = self.starts.moment[self._start]
        if self._in_place and self._ground is not None:
            self._ground.put(torch.arange(self.num_worlds, device=self.device), begun)
        else:
            self._ground = Kept(self.world, begun)
        return _own(self.state)

    def step(self, pads: Pads) -> Outcome:
        """One frame of every match under its pads (B,2,·), as any numbers: see `controller.settle`."""
        ground, began = self._on_ground(), self._over
        before = _own(ground.state) if self._in_place else ground.state
        pads = settle(pads)
        ground.advance(pads)
        if self.autoreset:
            self._begin_anew(ground)
        else:
            began = torch.zeros_like(began)
        state, frames = _own(ground.state), ground.frames.clone()
        reward = self._reward(before, state)
        reward = torch.where(began[:, None], torch.zeros_like(reward), reward)
        terminated = (state.numbers[..., _STOCKS] <= 0).any(-1)
        truncated = (frames >= self.max_frames) & ~terminated
        self._over = terminated | truncated
        if self._waits:
            self._over_on_host.copy_(self._over, non_blocking=True)
            self._copied.record()
        return Outcome(state, reward, terminated, truncated, began, frames, pads)

    @property
    def state(self) -> State:
        """The last frame (B,2,·) in port order, as the worlds hold it: not to be kept, see `Outcome.state`."""
        return self._on_ground().state

    @property
    def frames(self) -> Tensor:
        """(B,) int64, frames since each episode began, as the worlds hold it."""
        return self._on_ground().frames

    @property
    def context(self) -> Context:
        """The worlds' stages (B,)."""
        return self._on_ground().context

    @property
    def moment(self) -> Moment:
        """Everything that the worlds carry now. It is never changed: keep it to come back, fork it to look ahead."""
        return self._on_ground().whole()

    def _on_ground(self) -> Ground:
        if self._ground is None:
            raise WrongUse("a step before the first reset", "reset first", "call reset()")
        return self._ground

    @property
    def start_numbers(self) -> Tensor:
        """(B,) int64: which of `starts` each world began at."""
        return self._start

    def recorded(self) -> Pads:
        """What the players of each world's replay pressed in the frame to come (B,2,·). Raises WrongUse without one."""
        return recorded_pads(self.starts, self._start, self.frames)

    # ---- beginnings --------------------------------------------------------------------------------------------

    def _draw(self, count: int) -> Tensor:
        return torch.randint(len(self.starts), (count,), generator=self._choice)

    def _check_start(self, given: int | Sequence[int] | Tensor) -> Tensor:
        start = torch.as_tensor(given, dtype=torch.int64).cpu().expand(self.num_worlds)
        if int(start.min()) < 0 or int(start.max()) >= len(self.starts):
            raise WrongUse(f"start {given}", f"0 to {len(self.starts) - 1}", "choose among the starts that there are")
        return start

    def _ended(self) -> Tensor:
        """Numbers of the worlds that the last step ended, on the host."""
        if self._waits:
            self._copied.synchronize()  # of the step before this one, which is queued: the device has work meanwhile
            return self._over_on_host.nonzero().flatten()
        return self._over.nonzero().flatten()

    def _begin_anew(self, ground: Ground) -> None:
        """Worlds that were over before this step are put at new starts."""
        ended = self._ended()
        if len(ended) == 0:
            return
        start = self._draw(len(ended)).to(self.device)
        rows = ended.to(self.device)
        self._start = self._start.index_copy(0, rows, start)
        with torch.inference_mode():
            ground.put(rows, self.starts.moment[start])


def _own(state: State) -> State:
    """A copy, and not for safety alone: a world's own tensors are inference tensors, which nobody can train on."""
    return state.map(torch.clone)
