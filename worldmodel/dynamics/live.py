"""Worlds that live in place: one set of buffers, overwritten by every step. For very many worlds, and for CUDA.

Owns: the buffers, and the captured graph of a step on CUDA. Must not: be another transition (the step is the world's).

`World.step` leaves every moment whole, which costs memory for two states of all worlds and their allocation. Whoever
never goes back can do without. On CUDA a whole step becomes one graph: no kernel is launched from Python.

Letters: B worlds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from worldmodel.dynamics.moment import Moment, tensors_of_moment
from worldmodel.dynamics.world import World
from worldmodel.nn.frames import Pads, State
from worldmodel.schema import LAYOUT, Buttons

_WARM_UP_STEPS = 3
"""Steps before a capture: libraries choose their kernels and take their memory in them."""


_NUM_AXES = len(LAYOUT.pad_numbers)
_NUM_BUTTONS = len(cast(Buttons, LAYOUT.pad_buttons.codec).masks)


class Live:
    """B worlds in buffers of their own, begun as copies of a moment.

    compile: on a CPU, the step and its writing back are one compiled function. It saves memory, not time: there
    `World(compile=True)` was measured faster (benchmarks/results/rollout_cpu2_20261123.md). On CUDA the step is
    captured as a graph whatever `compile` says; with it, the kernels inside are compiled too.
    """

    def __init__(self, world: World, moment: Moment, *, compile: bool = False) -> None:
        self._world = world
        with torch.inference_mode():
            self._moment = moment.map(lambda tensor: tensor.clone(memory_format=torch.contiguous_format))
            held = self._neutral()
        self._pads = held
        advance: Callable[[], None] = self._advance
        if compile:
            advance = torch.compile(self._advance, fullgraph=world.temperature is None, dynamic=False)
        self._run = _captured(advance, self._moment, world) if moment.frames.is_cuda else advance

    def __len__(self) -> int:
        return len(self._moment)

    @property
    def state(self) -> State:
        """The last frame (B,2,·): the buffers themselves, overwritten by the next step."""
        return self._moment.state

    @torch.inference_mode()
    def step(self, pads: Pads) -> State:
        """The next frame under its pads (B,2,·), which are copied. Returns `state`."""
        self._pads.numbers.copy_(pads.numbers, non_blocking=True)
        self._pads.buttons.copy_(pads.buttons, non_blocking=True)
        self._run()
        return self._moment.state

    @torch.inference_mode()
    def replace(self, mask_B: Tensor, moment: Moment) -> None:
        """Worlds where the mask (B,) bool is set become those of a moment of as many worlds."""
        _write(moment.where(mask_B, self._moment), self._moment)

    @torch.inference_mode()
    def moment(self) -> Moment:
        """A copy of everything, which stays."""
        return self._moment.map(torch.clone)

    def _neutral(self) -> Pads:
        state, device = self._moment.state, self._moment.frames.device
        return Pads(
            torch.zeros(len(self), 2, _NUM_AXES, dtype=state.numbers.dtype, device=device),
            torch.zeros(len(self), 2, _NUM_BUTTONS, dtype=torch.bool, device=device),
        )

    def _advance(self) -> None:
        now = self._moment
        state, carried = self._world.one_step(now.carried, now.state, self._pads, now.context)
        _write(Moment(state, carried, now.context, now.frames + 1), now)


def _write(new: Moment, into: Moment) -> None:
    """Overwrite a moment's tensors."""
    for target, source in zip(tensors_of_moment(into), tensors_of_moment(new), strict=True):
        if target is not source:
            target.copy_(source)


def _captured(advance: Callable[[], None], moment: Moment, world: World) -> Callable[[], None]:
    """The step as one CUDA graph. The moment is what it was before."""
    kept = [tensor.clone() for tensor in tensors_of_moment(moment)]
    device = moment.frames.device
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.inference_mode(), torch.cuda.stream(side):
        for _ in range(_WARM_UP_STEPS):
            advance()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    if world.temperature is not None:
        graph.register_generator_state(world.generator)
    with torch.inference_mode(), torch.cuda.graph(graph):
        advance()
    with torch.inference_mode():
        for tensor, before in zip(tensors_of_moment(moment), kept, strict=True):
            tensor.copy_(before)
    return graph.replay
