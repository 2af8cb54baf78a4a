"""The quick set: what decides how long a night is and how many worlds can be stepped, in about a minute.

Owns: which cases, their sizes on a device, and what each is held against. Must not: print.

Training cases are held against one product of matrices (their FLOPs are counted, not typed), everything else against
copies of as many bytes as it must move. Both ceilings are measured in the same run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from math import ceil
from pathlib import Path

import torch

from worldmodel.bench.ceilings import Ceilings, measure_ceilings, seconds_of, wait
from worldmodel.bench.clock import interleave
from worldmodel.bench.rollouts import Walk, begin, floor_bytes
from worldmodel.bench.training import GAME_FRAMES, Training, resident
from worldmodel.dataset.rows import ROW
from worldmodel.dynamics.world import World
from worldmodel.models.base import WorldModel, load_model, make_model, save_weights
from worldmodel.nn.frames import DeviceBlock
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.config import Experiment, find_experiment, load_experiment

_K60 = "data={mode: window, context_len: 60}"
_SEQUENCE = "data={mode: sequence, length: 256, burn_in: 0}"
_MLP = "model={arch: mlp}"


@dataclass(frozen=True, slots=True)
class _Step:
    """A training case: experiment, overrides, windows of a batch on a CPU and on a GPU."""

    experiment: str
    overrides: tuple[str, ...]
    on_cpu: int
    on_gpu: int


_STEPS = {
    "step, card, windows of 10": _Step("mamba2-medium-gpu", (), 64, 4096),
    "step, card, windows of 60": _Step("mamba2-medium-gpu", (_K60, "model.chunk_size=60"), 16, 1024),
    "step, card, sequences of 256": _Step("mamba2-medium-gpu", (_SEQUENCE, "model.chunk_size=64"), 4, 128),
    "step, mlp, windows of 10": _Step("mamba2-medium-gpu", (_MLP,), 256, 4096),
    "step, tiny, sequences of 64": _Step("tiny", (), 8, 512),
}
_ROLLOUTS = {
    "rollout, card, 1 world": ("mamba2-medium-gpu", 1, 1),
    "rollout, card, many worlds": ("mamba2-medium-gpu", 64, 4096),
    "rollout, tiny, 1 world": ("tiny", 1, 1),
    "rollout, tiny, many worlds": ("tiny", 256, 65_536),
}
"""Experiment, worlds on a CPU, worlds on a GPU."""
_ROUND_S = 0.4
_WINDOWS = 1024
_WINDOW_ROWS = 11


@dataclass(frozen=True, slots=True)
class Row:
    """A case as measured. per_s: things per second; ceiling_per_s: what the ceiling would allow; spread: slowest round
    over the fastest."""

    case: str
    unit: str
    per_s: float
    ceiling_per_s: float
    spread: float

    @property
    def share(self) -> float:
        """Of the ceiling."""
        return self.per_s / self.ceiling_per_s


@dataclass(frozen=True, slots=True)
class _Case:
    """Something to time: what it makes in one call, and seconds that the ceiling would need for that."""

    work: Callable[[], object]
    unit: str
    count: float
    floor_s: float


def measure(device: torch.device, *, rounds: int = 3, compiled: bool) -> tuple[Ceilings, list[Row]]:
    """The ceilings, and all cases. compiled: training steps and worlds. Settles the allocator."""
    settle_allocator()
    ceilings = measure_ceilings(device)
    block = resident(2_000_000 if device.type == "cuda" else 64 * GAME_FRAMES, device)
    with tempfile.TemporaryDirectory() as folder:
        cases = dict(_cases(device, block, ceilings, Path(folder), compiled=compiled))
        times = {name: _times(case.work, device) for name, case in cases.items()}
        turns: dict[str, Callable[[], object]] = {
            name: partial(_waited, partial(_repeat, case.work, times[name]), device) for name, case in cases.items()
        }
        timings = interleave(turns, rounds=rounds)
    rows = []
    for name, case in cases.items():
        seconds = timings[name].median_wall_s / times[name]
        spread = max(timings[name].wall_s) / min(timings[name].wall_s)
        rows.append(Row(name, case.unit, case.count / seconds, case.count / case.floor_s, spread))
    return ceilings, rows


def _times(work: Callable[[], object], device: torch.device) -> int:
    """How often a case runs in one round: long enough that a hiccup of the machine is not the result."""
    work()
    return max(1, ceil(_ROUND_S / seconds_of(work, device)))


def _cases(
    device: torch.device, block: DeviceBlock, ceilings: Ceilings, folder: Path, *, compiled: bool
) -> Iterator[tuple[str, _Case]]:
    is_cuda = device.type == "cuda"
    starts = cycle(torch.randint(len(block.words) - _WINDOW_ROWS, (100, _WINDOWS), device=block.words.device))
    moved = 2.0 * _WINDOWS * _WINDOW_ROWS * ROW.num_bytes
    # Far more than a cache holds: where windows lie is as random as in training.
    yield "cut windows of 10", _Case(
        lambda: [block.cut(next(starts), _WINDOW_ROWS) for _ in range(10)], "windows", 10 * _WINDOWS,
        10 * moved / ceilings.copy_bytes,
    )  # fmt: skip
    for name, step in _STEPS.items():
        training = Training(_experiment(step, is_cuda=is_cuda, compiled=compiled), block, device)
        steps = 20 if is_cuda else 1
        count = steps * training.num_targets
        yield (
            name,
            _Case(partial(training.run, steps), "frames", count, count * training.flops_per_target() / ceilings.flops),
        )
    for name, (experiment, on_cpu, on_gpu) in _ROLLOUTS.items():
        streams = on_gpu if is_cuda else on_cpu
        model = make_model(load_experiment(find_experiment(experiment)).model).to(device).eval()
        world = World(model, compile=compiled)
        walk = Walk(world, *begin(world, model, streams))
        frames = 20 if streams == 1 or is_cuda else 4
        floor_s = frames * floor_bytes(model, streams) / ceilings.copy_bytes
        yield name, _Case(partial(_repeat, walk, frames), "frames", frames * streams, floor_s)
    model = make_model(load_experiment(find_experiment("mamba2-medium-gpu")).model)
    yield from _weights(model, folder / "weights.safetensors", ceilings)


def _weights(model: WorldModel, path: Path, ceilings: Ceilings) -> Iterator[tuple[str, _Case]]:
    """Weights of the card's model to a file that is really there, and back."""
    size = float(sum(p.numel() * p.element_size() for p in model.parameters()))
    floor_s = 2 * size / ceilings.copy_bytes
    save_weights(model, path)
    yield "weights, written", _Case(lambda: save_weights(model, path), "bytes", size, floor_s)
    yield "weights, read", _Case(lambda: load_model(path), "bytes", size, floor_s)


def _experiment(step: _Step, *, is_cuda: bool, compiled: bool) -> Experiment:
    size = step.on_gpu if is_cuda else step.on_cpu
    own = [f"training.batch_size={size}", f"training.compile={str(compiled).lower()}", "scheduled_sampling=null"]
    return load_experiment(find_experiment(step.experiment), overrides=[*own, *step.overrides])


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def _waited(work: Callable[[], object], device: torch.device) -> None:
    work()
    wait(device)
