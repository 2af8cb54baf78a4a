"""How long a frame takes: the model's eager step and each graph, on one core, in a loop that feeds itself.

Owns: the cases and the clock. Must not: compare results (that is `parity`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from worldmodel.dynamics.fresh import fresh_state
from worldmodel.dynamics.rollout import advance_model, nothing_seen
from worldmodel.export.graph import example
from worldmodel.export.parity import tensors_of
from worldmodel.export.runtime import Stepper, Tensors
from worldmodel.melee.stages import LEGAL_STAGES
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Context, Pads, State

BATCHES = (1, 256)
EAGER = "torch"
_ROUND_S = 0.05

Case = Callable[[], object]
"""One frame; called again, the frame after it."""


def cases(model: WorldModel, graphs: Mapping[str, Stepper], batch: int, *, seed: int = 0) -> dict[str, Case]:
    """From fresh matches on all legal stages, under pads drawn once."""
    stages = [LEGAL_STAGES[index % len(LEGAL_STAGES)] for index in range(batch)]
    state, context = fresh_state(stages, [(2, 20)] * batch)
    chance = torch.Generator().manual_seed(seed)
    like = example(model, batch)
    pads = Pads(
        torch.rand(like["pad_numbers"].shape, generator=chance),
        torch.rand(like["pad_buttons"].shape, generator=chance) < 0.2,
    )
    made: dict[str, Case] = {EAGER: _Eager(model, state, pads, context)}
    for name, graph in graphs.items():
        made[name] = _Graph(graph, graph.zeros(batch) | tensors_of(state, pads, context))
    return made


class _Eager:
    def __init__(self, model: WorldModel, state: State, pads: Pads, context: Context) -> None:
        self._model, self._pads, self._context = model, pads, context
        self._state, self._carried = state, nothing_seen(model, pads.numbers.shape[0])

    def __call__(self) -> Tensor:
        with torch.inference_mode():
            self._state, self._carried = advance_model(
                self._model, self._carried, self._state, self._pads, self._context
            )
        return self._state.numbers


class _Graph:
    def __init__(self, graph: Stepper, inputs: Tensors) -> None:
        self._graph, self._inputs = graph, inputs
        self._outputs = list(graph.followers.values())

    def __call__(self) -> object:
        made = self._graph.run(self._inputs, self._outputs)
        self._inputs = self._graph.handed_on(self._inputs, made)
        return made


def measure(model: WorldModel, graphs: Mapping[str, Stepper], *, rounds: int = 5) -> dict[str, dict[str, float]]:
    """Milliseconds of one thread per frame of each case, by batch: medians of rounds in turn.

    CPU time, which is what a frame takes on a core of its own, whatever else the machine is doing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {str(batch): _milliseconds(cases(model, graphs, batch), rounds) for batch in BATCHES}
    finally:
        torch.set_num_threads(threads)


def _milliseconds(of: Mapping[str, Case], rounds: int) -> dict[str, float]:
    repeats, taken = {}, {name: list[float]() for name in of}
    for name, case in of.items():
        case()
        begun = time.thread_time()
        case()
        repeats[name] = max(1, int(_ROUND_S / max(time.thread_time() - begun, 1e-6)))
    for _ in range(rounds):
        for name, case in of.items():
            begun = time.thread_time()
            for _ in range(repeats[name]):
                case()
            taken[name].append((time.thread_time() - begun) / repeats[name])
    return {name: 1e3 * statistics.median(times) for name, times in taken.items()}
