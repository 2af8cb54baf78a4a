"""What a step costs, in numbers that no busy machine can change: waits, graphs, kernels, Python calls."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from typing import Any

import pytest
import torch
from tiny_experiment import make_experiment
from torch.utils._python_dispatch import TorchDispatchMode

from worldmodel.dataset.store import Dataset
from worldmodel.training.book import NAMES
from worldmodel.training.config import Experiment
from worldmodel.training.loop import chunks, make_state
from worldmodel.training.meter import Meter, Pace
from worldmodel.training.plan import Plan, make_plan
from worldmodel.training.step import Chunk, Step

CPU = torch.device("cpu")
WAITS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default", "aten.is_nonzero.default"}
"""What makes the host wait for the device: a value is read, or a shape depends on one."""

VIEWS = ("view", "reshape", "expand", "permute", "transpose", "slice", "select", "unsqueeze", "squeeze", "detach",
         "alias", "split", "unbind", "t.default", "as_strided", "unflatten", "lift_fresh")  # fmt: skip

EVERYTHING: dict[str, Any] = {
    "training": {"accumulate": 2, "ema": 0.99},
    "scheduled_sampling": {"rate": 0.5, "noise": 0.1, "anneal_epochs": 1},
    "self_forcing": {"every": 2, "max_frames": 2, "begin": 0.0, "reach": 0.0},
    "emphasis": {"action_change": 3.0, "events": {"hit": 0.1}},
}
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "window": {"data": {"mode": "window", "context_len": 10, "stride": 5}},
    "everything": EVERYTHING,
    "carry": {"data": {"carry": 3}},
}


def experiment(mode: str, **training: object) -> Experiment:
    changes = dict(MODES[mode])
    if mode == "window":
        base = make_experiment().model_dump(mode="json") | changes
        return Experiment.model_validate(base | {"training": base["training"] | training})
    return make_experiment(**(changes | {"training": changes.get("training", {}) | training}))


class Runner:
    """A step and a few chunks for it, without a run folder."""

    def __init__(self, dataset: Dataset, experiment: Experiment) -> None:
        self.plan: Plan = make_plan(experiment, dataset, CPU)
        self.state = make_state(experiment, CPU)
        self.state.step = self.plan.steps_per_epoch  # disturbances are off in the first epoch
        self.step = Step(self.plan, self.state)
        self.meter = Meter(NAMES, row_steps=100, step=self.state.step, device=CPU)
        self.pace = Pace(CPU)
        batches = itertools.chain.from_iterable(self.plan.batches.epoch(epoch) for epoch in range(3))
        self.batches = [next(batches) for _ in range(3)]
        self.state.model.train()

    def run(self, batch: int) -> None:
        carried = None
        for chunk, _ in chunks(self.batches[batch], self.plan, step=self.state.step):
            carried = self.step(chunk, self.meter, self.pace, carried=carried)

    @property
    def chunk(self) -> Chunk:
        return next(chunks(self.batches[0], self.plan, step=self.state.step))[0]


class Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def kernels(self) -> int:
        return sum(n for name, n in self.calls.items() if not any(view in name for view in VIEWS))


def counted(dataset: Dataset, experiment: Experiment) -> Count:
    runner = Runner(dataset, experiment)
    runner.run(0)  # makes the optimiser's state
    with Count() as count:
        runner.run(1)
    return count


@pytest.mark.parametrize("mode", MODES)
def test_nothing_waits_for_the_device(dataset: Dataset, mode: str) -> None:
    calls = counted(dataset, experiment(mode)).calls
    assert calls["aten._fused_adamw_.default"] > 0, "the counter sees the step"
    assert {name: calls[name] for name in WAITS if calls[name]} == {}


def test_a_wait_would_be_seen() -> None:
    with Count() as count:
        float(torch.ones(2).sum())
    assert count.calls["aten._local_scalar_dense.default"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_kernels_do_not_grow_with_the_batch(dataset: Dataset, mode: str) -> None:
    small, large = (counted(dataset, experiment(mode, batch_size=size)) for size in (8, 64))
    assert small.calls == large.calls


def test_python_calls_do_not_grow_with_the_batch(dataset: Dataset) -> None:
    numbers = []
    for size in (8, 64):
        runner = Runner(dataset, experiment("plain", batch_size=size))
        runner.run(0)
        numbers.append(_python_calls(lambda runner=runner: runner.run(1)))  # type: ignore[misc]
    assert numbers[0] == numbers[1]


def _python_calls(work: Any) -> int:
    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("mode", MODES)
def test_one_graph_and_no_recompilation(dataset: Dataset, mode: str) -> None:
    """`fullgraph` makes a break an error. The compiler's front end only: its back end takes minutes here."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    runner = Runner(dataset, experiment(mode))
    counter = CompileCounter()
    objective = runner.step.objective
    objective.compile(backend=counter, dynamic=False, fullgraph=True)
    for batch in range(3):
        runner.run(batch)
    assert counter.frame_count == (2 if mode == "carry" else 1), "a window's first chunk has a burn-in, the others none"
    torch._dynamo.reset()
