"""Gymnasium environments: one agent against a policy or a replay's player, one match or many.

Owns: Gymnasium's side of things. Must not: know when an episode ends (that is `matches`) or what is seen (`spaces`).

Registered when `worldmodel.env` is imported, which `gymnasium.make("worldmodel.env:worldmodel/Melee-v0", model=...)`
does by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from worldmodel.clips.clip import FPS, Clip
from worldmodel.dynamics.policies import Policy
from worldmodel.env.duel import REPLAY, Duel
from worldmodel.env.extra import needed
from worldmodel.env.picture import draw, fighters
from worldmodel.env.setup import Model, Setup, make_matches
from worldmodel.env.spaces import Form, Observer, action_space, batch_of_one, observation_space, only, pads_of
from worldmodel.env.tape import Tape
from worldmodel.env.views import seen_by
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import State

with needed():
    import gymnasium
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space

RENDER_MODE = "rgb_array"


class _Side:
    """What the single and the vector environment share: an agent's duel, its spaces, its pictures and clips."""

    def __init__(
        self,
        model: Model,
        num_worlds: int,
        *,
        player: int,
        opponent: str | Policy,
        observation: Form,
        action: Form,
        render_mode: str | None,
        autoreset: bool,
        record: tuple[int, ...],
        setup: Setup,
    ) -> None:
        check_render_mode(render_mode)
        recorded = opponent == REPLAY
        self.matches = make_matches(model, num_worlds, autoreset=autoreset, until_recorded=recorded, **setup)
        self.duel = Duel(self.matches, player=player, opponent=opponent)
        self.action_space, self.observation_space = action_space(action), observation_space(observation)
        self._observer = Observer(observation, self.matches.device)
        self._action = action
        self._tape = Tape(self.matches, record)
        self._run = Path(model).name if isinstance(model, str | Path) else None
        self._held_by = opponent if isinstance(opponent, str) else getattr(opponent, "__name__", "a policy")
        self._seed: int | None = None

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, NDArray[Any]]:
        """First observations, and which start each world began at."""
        self._seed = self._seed if seed is None else seed
        state = self.duel.reset(seed, options)
        self._tape.begin(seen_by(state, self.duel.player))
        return self._observe(state), self.matches.start_numbers.cpu().numpy().copy()

    def step(self, actions: Any) -> Any:
        """The outcome, its observation, and which start each world began at."""
        outcome = self.duel.step(
            *(part.to(self.matches.device) for part in pads_of(actions, self._action, self.matches.num_worlds))
        )
        self._tape.add(outcome, seen_by(outcome.state, self.duel.player))
        return outcome, self._observe(outcome.state), self.matches.start_numbers.cpu().numpy().copy()

    def picture(self, world: int) -> NDArray[np.uint8]:
        """The present frame of a world, whether or not it is recorded."""
        start = self.matches.starts.about[int(self.matches.start_numbers[world])]
        return draw(fighters(self.matches.state[world].to("cpu")), start.stage)

    def clip(self, world: int) -> Clip:
        return self._tape.clip(world, run=self._run, seed=self._seed, held_by=f"agent, {self._held_by}")

    def _observe(self, state: State) -> Any:
        return self._observer(state, self.matches.context.stage)


def check_render_mode(mode: str | None) -> None:
    """Raises WrongUse for a render mode that there is not."""
    if mode not in (None, RENDER_MODE):
        raise WrongUse(f"render mode {mode!r}", RENDER_MODE, "or none")


class MeleeEnv(gymnasium.Env[Any, Any]):
    """One match, one agent. See `docs/environment.md`.

    model: a run's folder, a weights file, or a model. player: which side the agent is, 0 or 1. opponent: a policy's
    name ("neutral", "random", ...), "replay" (with a dataset), or a function. observation, action: "dict" or "flat".
    setup: see `env.setup.Setup`.
    """

    metadata = {"render_modes": [RENDER_MODE], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self,
        model: Model,
        *,
        player: int = 0,
        opponent: str | Policy = "neutral",
        observation: Form = "dict",
        action: Form = "dict",
        render_mode: str | None = None,
        **setup: Unpack[Setup],
    ) -> None:
        self._side = _Side(
            model,
            1,
            player=player,
            opponent=opponent,
            observation=observation,
            action=action,
            render_mode=render_mode,
            autoreset=False,
            record=(0,),
            setup=setup,
        )
        self.render_mode = render_mode
        self.action_space, self.observation_space = self._side.action_space, self._side.observation_space
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        first = self._np_random is None
        super().reset(seed=seed)
        # Never seeded: by chance, as Gymnasium has it; afterwards chances go on from where they are.
        seen, start = self._side.reset(int(self.np_random.integers(2**31)) if first and seed is None else seed, options)
        self._over = False
        return only(seen), {"frames": 0, "start": int(start[0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises WrongUse after the end of an episode, and for what is no action."""
        if self._over:
            raise WrongUse("a step outside an episode", "reset first", "call reset()")
        outcome, seen, start = self._side.step(batch_of_one(action))
        terminated, truncated = bool(outcome.terminated[0]), bool(outcome.truncated[0])
        self._over = terminated or truncated
        info = {"frames": int(outcome.frames[0]), "start": int(start[0])}
        return only(seen), float(outcome.reward[0, 0]), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The present frame (height, width, 3), or None without a render mode."""
        return None if self.render_mode is None else self._side.picture(0)

    def clip(self) -> Clip:
        """The present episode as a clip, from its first frame on."""
        return self._side.clip(0)


class MeleeVectorEnv(VectorEnv[Any, Any, Any]):
    """Many matches at once through one model, one agent in each. Options as `MeleeEnv`; worlds that are over begin
    anew in the next step. record: worlds whose present episodes are kept for `clip`."""

    metadata = {  # noqa: RUF012
        "render_modes": [RENDER_MODE],
        "render_fps": FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        model: Model,
        num_envs: int = 1,
        *,
        player: int = 0,
        opponent: str | Policy = "neutral",
        observation: Form = "dict",
        action: Form = "dict",
        render_mode: str | None = None,
        record: tuple[int, ...] = (),
        **setup: Unpack[Setup],
    ) -> None:
        self._side = _Side(
            model,
            num_envs,
            player=player,
            opponent=opponent,
            observation=observation,
            action=action,
            render_mode=render_mode,
            autoreset=True,
            record=record,
            setup=setup,
        )
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_action_space = self._side.action_space
        self.single_observation_space = self._side.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    @property
    def duel(self) -> Duel:
        """The same matches by tensors: for agents that live on the device."""
        return self._side.duel

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """seed: one for all worlds together."""
        first = self._np_random is None
        super().reset(seed=seed)
        seen, start = self._side.reset(int(self.np_random.integers(2**31)) if first and seed is None else seed, options)
        return seen, {"frames": np.zeros(self.num_envs, np.int64), "start": start}

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Raises WrongUse for what is no batch of actions, and before the first reset."""
        outcome, seen, start = self._side.step(actions)
        info = {"frames": outcome.frames.cpu().numpy(), "began": outcome.began.cpu().numpy(), "start": start}
        reward = outcome.reward[:, 0].cpu().numpy()
        return seen, reward, outcome.terminated.cpu().numpy(), outcome.truncated.cpu().numpy(), info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The present frame of every world, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self._side.picture(world) for world in range(self.num_envs))

    def clip(self, world: int) -> Clip:
        """The present episode of a recorded world as a clip, from its first frame on."""
        return self._side.clip(world)
