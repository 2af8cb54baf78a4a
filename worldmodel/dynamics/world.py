"""Worlds that one can play in: begun from a replay or from nothing, stepped frame by frame, forked and kept.

Owns: how moments are begun and moved on. Must not: decode (that is `step.advance`), know an environment's rules.
The transition is `dynamics.step.advance`, as everywhere; a `World` only carries what it needs.

Letters: B worlds, R rows of history, T rows rolled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from worldmodel.dynamics.fresh import DEFAULT_STOCKS, fresh_state
from worldmodel.dynamics.moment import Moment, load_moment, save_moment, stack_moments
from worldmodel.dynamics.rollout import advance_model, burn_in, nothing_seen
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.nn.frames import Context, Pads, State, stack_rows

__all__ = ["Moment", "World", "load_moment", "save_moment", "stack_moments"]


class World:
    """A model as a place to play in, for any number of worlds at once. Steps are deterministic without a temperature.

    With one, codes, flags and gates are drawn from `generator`, which `save` and `load` keep with a moment. It is one
    for all worlds of a step: the chances of a world depend on which others are stepped with it.
    The model is put into evaluation mode. Moments are made without gradients.

    compile: `step` becomes one compiled function, two to three times as fast on a CPU. The first step takes up to a
    minute, and so does the first with another number of worlds. Numbers differ from the plain ones in the last digits.
    """

    def __init__(
        self, model: WorldModel, *, temperature: float | None = None, seed: int = 0, compile: bool = False
    ) -> None:
        self.model = model.eval()
        self.temperature = temperature
        self.generator = torch.Generator(device=model.like.device).manual_seed(seed)
        self._predict, self._step = model.step, self.one_step
        if compile and temperature is None:
            self._step = torch.compile(self.one_step, fullgraph=True)
        elif compile:
            # Draws cannot be compiled with their generator: so only the model is, and its word is decoded as ever.
            self._predict = torch.compile(model.step, fullgraph=True)

    @torch.inference_mode()
    def begin(self, states: State, pads: Pads, context: Context, *, tokens: int | None = None) -> Moment:
        """Worlds after a true history (B,R,2,·); the model is shown all of it or the last `tokens`: see `burn_in`."""
        carried, last = burn_in(self.model, states, pads, context, tokens=tokens)
        # Copies: views would keep the whole history in memory as long as the moment.
        return self._moment(last.map(torch.clone), carried, context)

    @torch.inference_mode()
    def fresh(
        self,
        stages: Sequence[str | int],
        characters: Sequence[Sequence[str | int]],
        *,
        stocks: int = DEFAULT_STOCKS,
    ) -> Moment:
        """New matches at their first frame (frame id -123), as replays begin. Every field is known in them.

        stages: names or external ids of legal stages, one per world. characters: names or external ids, of both
        players of each world, p0 first (on the left, facing right). Raises WrongUse.
        """
        state, context = fresh_state(stages, characters, stocks=stocks)
        like = self.model.like
        state = State(state.numbers.to(like.dtype), state.categories, state.flags).to(like.device)
        return self._moment(state, nothing_seen(self.model, len(stages)), context.to(like.device))

    @torch.inference_mode()
    def step(self, moment: Moment, pads: Pads) -> Moment:
        """The next frame, under its pads (B,2,·). The given moment stays as it is."""
        state, carried = self._step(moment.carried, moment.state, pads, moment.context)
        return Moment(state, carried, moment.context, moment.frames + 1)

    @torch.inference_mode()
    def rollout(self, moment: Moment, pads: Pads) -> State:
        """The frames (B,T,2,·) after a moment, under their pads (B,T,2,·): `rollout.rollout`, compiled if that is."""
        rows, carried, state = [], moment.carried, moment.state
        for t in range(pads.numbers.shape[1]):
            state, carried = self._step(carried, state, pads[:, t], moment.context)
            rows.append(state)
        return stack_rows(rows)

    def one_step(self, carried: ModelState, state: State, pads: Pads, context: Context) -> tuple[State, ModelState]:
        """One frame, as `rollout.advance_model`."""
        return advance_model(
            self.model, carried, state, pads, context,
            temperature=self.temperature, generator=self._draws(), predict=self._predict,
        )  # fmt: skip

    def save(self, moment: Moment, path: Path) -> None:
        """Write a moment, durably; with a temperature also the generator's state."""
        save_moment(moment, path, self.model, generator=self._draws())

    def load(self, path: Path) -> Moment:
        """A moment that `save` wrote; with a temperature the generator is set back too. Raises WrongUse."""
        return load_moment(path, self.model, generator=self._draws())

    def _draws(self) -> torch.Generator | None:
        return None if self.temperature is None else self.generator

    def _moment(self, state: State, carried: object, context: Context) -> Moment:
        assert isinstance(carried, tuple)
        num_worlds = state.numbers.shape[0]
        return Moment(state, carried, context, torch.zeros(num_worlds, dtype=torch.int64, device=state.numbers.device))
