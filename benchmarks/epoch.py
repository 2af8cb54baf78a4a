"""How long an epoch of the mission takes on this device: whole training steps on resident data, projected.

The mission's run card has 185,648,963 training examples. Frames with legal random values lie on the device as the
dataset's rows do (as many as the mission has, where they fit); every step cuts new windows there, decodes them, and
does all that a training step does.

Ceilings of the same run: one matrix product of the card's projection, and a copy. FLOPs are counted by PyTorch on an
eager step, not typed. The table of phases is that of an ordinary run's log.

    python benchmarks/epoch.py [--device cuda] [--frames 206754081] [--steps 200] [--only "window B=4096"]

On a CPU the same cases run at a small size, uncompiled: the path is covered, the projection means nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from common import finish, parser, table
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.dataset.blocks import Block
from worldmodel.nn.codec import VOCABS
from worldmodel.nn.frames import DeviceBlock
from worldmodel.training.book import NAMES
from worldmodel.training.config import Experiment, find_experiment, load_experiment
from worldmodel.training.loop import chunks, make_state
from worldmodel.training.meter import Meter, Pace
from worldmodel.training.optim import Schedule
from worldmodel.training.plan import Plan
from worldmodel.training.step import Step

MISSION_EXAMPLES = 185_648_963
MISSION_FRAMES = 206_754_081
GAME_FRAMES = 9_398
"""Of the mission's mean game."""


@dataclass(frozen=True)
class Case:
    name: str
    overrides: tuple[str, ...]
    small: tuple[str, ...]

    def experiment(self, cuda: bool) -> Experiment:
        return load_experiment(
            find_experiment("mamba2-medium-gpu"), overrides=[*self.overrides, *(() if cuda else self.small)]
        )


SEQUENCE = "data={mode: sequence, length: 256, burn_in: 0}"
CASES = (
    Case("window B=1024", ("training.batch_size=1024",), ("training.batch_size=32",)),
    Case("window B=4096", ("training.batch_size=4096",), ("training.batch_size=64",)),
    Case("sequence 128 x 256", (SEQUENCE, "training.batch_size=128", "model.chunk_size=256"),
         ("training.batch_size=2",)),
    Case("sequence 128 x 256, chunk 64", (SEQUENCE, "training.batch_size=128", "model.chunk_size=64"),
         ("training.batch_size=2",)),
)  # fmt: skip


def resident(num_frames: int, device: torch.device) -> DeviceBlock:
    """Games of the mission's length with legal random values, tiled on the device to at least `num_frames` frames."""
    rng = np.random.default_rng(0)
    num_games = max(1, min(64, num_frames // GAME_FRAMES))
    small = Block.zeros(np.arange(num_games), np.full(num_games, GAME_FRAMES))
    small.numbers[:] = rng.normal(size=small.numbers.shape)
    small.pad_numbers[:] = rng.uniform(-1, 1, size=small.pad_numbers.shape)
    for index, size in enumerate(VOCABS):
        small.categories[..., index] = rng.integers(0, size, small.categories.shape[:-1])
    small.flags[:] = rng.integers(0, 256, small.flags.shape)
    for present in (small.present_numbers, small.present_categories, small.present_flags):
        present[:] = True
    block = DeviceBlock.from_block(small, device)
    times = -(-num_frames // len(block.words))
    offsets = torch.arange(times * num_games + 1, device=device) * GAME_FRAMES
    return DeviceBlock(
        words=block.words.repeat(times, 1),
        offsets=offsets,
        context=block.context.map(lambda tensor: tensor.repeat(times, *(1,) * (tensor.ndim - 1))),
        lookup=block.lookup,
    )


class Bench:
    """One case: a step on windows drawn anew each time."""

    def __init__(self, experiment: Experiment, block: DeviceBlock, device: torch.device) -> None:
        self.experiment, self.block, self.device = experiment, block, device
        size = experiment.training.batch_size
        batches: Any = SimpleNamespace(size=size, local_size=size, first_slot=0, num_per_epoch=10**6)
        self.plan = Plan(experiment, batches, None, Schedule.of(experiment.training, 10**6), [], None, device)
        self.state = make_state(experiment, device)
        self.step = Step(self.plan, self.state)
        self.meter = Meter(NAMES, row_steps=10**9, step=0, device=device)
        self.pace = Pace(device)
        self.state.model.train()

    def run(self, steps: int) -> None:
        rows, size = self.experiment.data.rows, self.plan.batches.size
        num_games = len(self.block.offsets) - 1
        for _ in range(steps):
            game = torch.randint(num_games, (size,), device=self.device)
            first = torch.randint(GAME_FRAMES - rows, (size,), device=self.device)
            batch = self.block.gather(torch.stack([game, first], 1), rows)
            self.pace.lap("data")
            for chunk, _ in chunks(batch, self.experiment):
                self.step(chunk, self.meter, self.pace)

    def flops_per_example(self) -> float:
        """Counted on an eager step of the same model and window, of a small batch."""
        with FlopCounterMode(display=False) as counter:
            small = self.experiment.model_copy(
                update={"training": self.experiment.training.model_copy(update={"batch_size": 8, "compile": False})}
            )
            bench = Bench(small, self.block, self.device)
            bench.run(1)
        return counter.get_total_flops() / bench.plan.targets_per_step


def timed(work: Any, device: torch.device) -> float:
    """Seconds of work, to its last kernel."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceilings(device: torch.device) -> dict[str, float]:
    """TFLOP/s of the card's projection as one product, and TB/s of a copy (bytes read and written)."""
    cuda = device.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    a = torch.randn(40_960 if cuda else 2048, 384, device=device, dtype=dtype)
    b = torch.randn(384, 1792, device=device, dtype=dtype)
    source = torch.randn(2**29 if cuda else 2**24, device=device)
    target = torch.empty_like(source)
    repeats = 50 if cuda else 5
    for _ in range(3):
        a @ b
        target.copy_(source)
    product = timed(lambda: [a @ b for _ in range(repeats)], device) / repeats
    copy = timed(lambda: [target.copy_(source) for _ in range(repeats)], device) / repeats
    return {"gemm_tflops": 2 * len(a) * 384 * 1792 / product / 1e12, "copy_tbs": 2 * source.nbytes / copy / 1e12}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--frames", type=int, help="frames that lie on the device (default: the mission's, on CUDA)")
    made.add_argument("--steps", type=int, help="timed steps of a round")
    made.add_argument("--only", help="one case, by name")
    made.add_argument("--eager", action="store_true", help="do not compile")
    options = made.parse_args()
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    steps = options.steps or (200 if cuda else 2)
    block = resident(options.frames or (MISSION_FRAMES if cuda else 50_000), device)
    ceiling = ceilings(device)
    results: dict[str, dict[str, float]] = {}
    for case in CASES:
        if options.only not in (None, case.name):
            continue
        experiment = case.experiment(cuda)
        if options.eager:
            experiment = experiment.model_copy(
                update={"training": experiment.training.model_copy(update={"compile": False})}
            )
        bench = Bench(experiment, block, device)
        compile_s = timed(lambda bench=bench: bench.run(3), device)  # type: ignore[misc]
        bench.run(steps // 4)
        bench.pace.read(1, 1)
        seconds = sorted(timed(lambda bench=bench: bench.run(steps), device) / steps for _ in range(options.rounds))  # type: ignore[misc]
        step_s, examples = seconds[len(seconds) // 2], bench.plan.targets_per_step
        pace = bench.pace.read(steps * options.rounds, examples)
        flops = bench.flops_per_example()
        results[case.name] = {
            "step_ms": 1e3 * step_s,
            "examples_per_s": examples / step_s,
            "mission_epoch_s": MISSION_EXAMPLES / examples * step_s,
            "share_of_gemm": flops * examples / step_s / 1e12 / ceiling["gemm_tflops"],
            "mflop_per_example": flops / 1e6,
            "memory_gb": pace["memory_gb"],
            "compile_s": compile_s,
            "spread": seconds[-1] / seconds[0],
        } | {name: value for name, value in pace.items() if name.startswith("share_")}
    columns = ["step_ms", "examples_per_s", "mission_epoch_s", "share_of_gemm", "mflop_per_example", "memory_gb",
               "share_data", "share_forward", "share_backward", "share_optimiser", "compile_s", "spread"]  # fmt: skip
    table(["case", *columns], [[name, *(row[column] for column in columns)] for name, row in results.items()])
    about = {"device": torch.cuda.get_device_name(device) if cuda else "cpu", "frames": len(block.words)}
    finish("epoch", about | {name: round(value, 4) for name, value in ceiling.items()} | {"cases": {
        case: {name: round(value, 4) for name, value in row.items()} for case, row in results.items()
    }})  # fmt: skip


if __name__ == "__main__":
    main()
