"""PettingZoo's parallel environment: one match, two agents.

Owns: PettingZoo's side of things. Must not: know when an episode ends (that is `matches`) or what is seen (`spaces`).
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.clips.clip import FPS, Clip
from worldmodel.env.extra import needed
from worldmodel.env.gym import RENDER_MODE, check_render_mode
from worldmodel.env.matches import OPTIONS
from worldmodel.env.picture import draw, fighters
from worldmodel.env.setup import Model, Setup, make_matches
from worldmodel.env.spaces import Form, Observer, action_space, batch_of_one, observation_space, only, pads_of
from worldmodel.env.tape import Tape
from worldmodel.env.views import seen_by
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Pads, State
from worldmodel.schema import PLAYERS

with needed():
    from gymnasium import Space
    from pettingzoo import ParallelEnv


class MeleeParallelEnv(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """One match between the agents "p0" and "p1", each of which sees its own side first. See `docs/environment.md`.

    model: a run's folder, a weights file, or a model. observation, action: "dict" or "flat". setup: see
    `env.setup.Setup`. An episode ends for both at once.
    """

    metadata = {"name": "melee_v0", "render_modes": [RENDER_MODE], "render_fps": FPS, "is_parallelizable": True}  # noqa: RUF012

    def __init__(
        self,
        model: Model,
        *,
        observation: Form = "dict",
        action: Form = "dict",
        render_mode: str | None = None,
        **setup: Unpack[Setup],
    ) -> None:
        check_render_mode(render_mode)
        self.matches = make_matches(model, 1, autoreset=False, **setup)
        self.render_mode = render_mode
        self.possible_agents = list(PLAYERS)
        self.agents: list[str] = []
        self._action = action
        self._observer = Observer(observation, self.matches.device)
        # Spaces of their own, as each can be seeded for itself.
        self.action_spaces = {agent: action_space(action) for agent in PLAYERS}
        self.observation_spaces = {agent: observation_space(observation) for agent in PLAYERS}
        self._tape = Tape(self.matches, (0,))
        self._seed: int | None = None

    def observation_space(self, agent: str) -> Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """options: `start`. Others are let pass: PettingZoo's own checker gives one that means nothing."""
        if seed is None and self._seed is None:
            seed = int(np.random.default_rng().integers(2**31))  # never seeded: by chance
        self._seed = self._seed if seed is None else seed
        known = {name: value for name, value in (options or {}).items() if name in OPTIONS}
        state = self.matches.reset(seed, known)
        self.agents = list(PLAYERS)
        self._tape.begin(state)
        return self._observe(state), {agent: self._info(0) for agent in PLAYERS}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Raises WrongUse outside an episode, and for what is no action."""
        if not self.agents:
            raise WrongUse("a step outside an episode", "reset first", "call reset()")
        if set(actions) != set(PLAYERS):
            raise WrongUse(f"actions of {', '.join(map(str, actions))}", f"of {', '.join(PLAYERS)}", "give one of each")
        both = [pads_of(batch_of_one(actions[agent]), self._action, 1) for agent in PLAYERS]
        numbers, buttons = zip(*both, strict=True)
        outcome = self.matches.step(Pads(torch.stack(numbers, 1), torch.stack(buttons, 1)).to(self.matches.device))
        self._tape.add(outcome, outcome.state)
        terminated, truncated = bool(outcome.terminated[0]), bool(outcome.truncated[0])
        if terminated or truncated:
            self.agents = []
        return (
            self._observe(outcome.state),
            {agent: float(outcome.reward[0, place]) for place, agent in enumerate(PLAYERS)},
            dict.fromkeys(PLAYERS, terminated),
            dict.fromkeys(PLAYERS, truncated),
            {agent: self._info(int(outcome.frames[0])) for agent in PLAYERS},
        )

    def render(self) -> NDArray[np.uint8] | None:
        """The present frame (height, width, 3), or None without a render mode."""
        if self.render_mode is None:
            return None
        start = self.matches.starts.about[int(self.matches.start_numbers[0])]
        return draw(fighters(self.matches.state[0].to("cpu")), start.stage)

    def clip(self) -> Clip:
        """The present episode as a clip, from its first frame on."""
        return self._tape.clip(0, run=None, seed=self._seed, held_by="agents")

    def close(self) -> None:
        """Nothing is held open."""

    def _observe(self, state: State) -> dict[str, Any]:
        stage = self.matches.context.stage
        batches = {agent: self._observer(seen_by(state, place), stage) for place, agent in enumerate(PLAYERS)}
        return {agent: only(seen) for agent, seen in batches.items()}

    def _info(self, frames: int) -> dict[str, Any]:
        return {"frames": frames, "start": int(self.matches.start_numbers[0])}
