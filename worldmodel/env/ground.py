"""What matches stand on: worlds that are stepped, of which single ones can be put somewhere else.

Owns: stepping with whole moments, or in place. Must not: know why a world is put elsewhere, or what a pad may say.

`Kept` leaves every moment whole, so that one can come back to it or fork it. `InPlace` has one set of buffers: the
fast way for many worlds, on CUDA one captured graph; a moment of it is a copy of everything.

Letters: B worlds, K of them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from worldmodel.dynamics.live import Live
from worldmodel.dynamics.moment import Moment, tensors_of_moment
from worldmodel.dynamics.world import World
from worldmodel.nn.frames import Context, Pads, State


class Ground(Protocol):
    """B worlds between two frames."""

    @property
    def state(self) -> State:
        """The last frame (B,2,·). May be overwritten by the next step."""

    @property
    def context(self) -> Context: ...

    @property
    def frames(self) -> Tensor:
        """(B,) int64, since each world was put where it began. May be overwritten by the next step."""

    def advance(self, pads: Pads) -> None:
        """One frame under the pads (B,2,·)."""

    def put(self, rows: Tensor, moment: Moment) -> None:
        """The worlds with numbers `rows` (K,) int64 become those of a moment of K worlds. Only once after a step."""

    def whole(self) -> Moment:
        """A moment that stays what it is."""


class Kept:
    """Every moment stays what it is."""

    def __init__(self, world: World, moment: Moment) -> None:
        self._world, self._moment, self._before = world, moment, moment

    @property
    def state(self) -> State:
        return self._moment.state

    @property
    def context(self) -> Context:
        return self._moment.context

    @property
    def frames(self) -> Tensor:
        return self._moment.frames

    def advance(self, pads: Pads) -> None:
        self._before, self._moment = self._moment, self._world.step(self._moment, pads)

    @torch.inference_mode()
    def put(self, rows: Tensor, moment: Moment) -> None:
        # In place where nobody has seen it: the rest of what the worlds carry is not copied. What a step leaves as it
        # was (the context) is shared with the moment before, and copied first.
        shared = {tensor.data_ptr() for tensor in tensors_of_moment(self._before)}

        def write(mine: Tensor, theirs: Tensor) -> Tensor:
            own = mine.clone() if mine.data_ptr() in shared else mine
            return own.index_copy_(0, rows, theirs)

        pairs = zip(tensors_of_moment(self._moment), tensors_of_moment(moment), strict=True)
        written = {id(mine): write(mine, theirs) for mine, theirs in pairs}
        self._moment = self._moment.map(lambda tensor: written[id(tensor)])

    def whole(self) -> Moment:
        return self._moment


class InPlace(Live):
    """One set of buffers, overwritten by every step."""

    @property
    def context(self) -> Context:
        return self._moment.context

    @property
    def frames(self) -> Tensor:
        return self._moment.frames

    def advance(self, pads: Pads) -> None:
        self.step(pads)

    @torch.inference_mode()
    def put(self, rows: Tensor, moment: Moment) -> None:
        for mine, theirs in zip(tensors_of_moment(self._moment), tensors_of_moment(moment), strict=True):
            mine.index_copy_(0, rows, theirs)

    def whole(self) -> Moment:
        return self.moment()
