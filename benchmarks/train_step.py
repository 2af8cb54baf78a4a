"""Frames per second of a whole training step (gather, forward, loss, backward, clip, AdamW) on this machine's CPU.

Cases: `tiny` in sequence mode; the card's model in window mode (K = 10) and in sequence mode. Ceiling: one GEMM of the
card's projection, measured in the same run.

    python benchmarks/train_step.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from common import finish, interleave, parser, table

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.models.base import make_model
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import find_experiment, load_experiment
from worldmodel.training.loop import make_step
from worldmodel.training.meter import Pace
from worldmodel.training.optim import make_optimizer
from worldmodel.training.plan import make_plan

CASES = {
    "tiny, sequences of 64": ("tiny", []),
    "card, windows K = 10": ("mamba2-medium-gpu", ["training.batch_size=128"]),
    "card, sequences of 256": (
        "mamba2-medium-gpu",
        ["data={mode: sequence, length: 256, burn_in: 0}", "training.batch_size=8", "model.chunk_size=64"],
    ),
}


class _Book:
    """Stands where a run's book would be: a step needs somewhere to put its numbers."""

    def __init__(self) -> None:
        self.pace = Pace(torch.device("cpu"))
        self.meter = self

    def add(self, *values: object) -> None:
        """Drop them."""


def make_case(name: str, overrides: list[str], dataset: Dataset) -> tuple[Callable[[], None], int]:
    """One step as a function, and the frames that it has a loss on."""
    experiment = load_experiment(find_experiment(name), overrides=overrides)
    plan = make_plan(experiment, dataset, torch.device("cpu"))
    model = make_model(experiment.model).train()
    step = make_step(plan, TrainState(model, make_optimizer(model, experiment.training)))
    batches = plan.batches.epoch(0)
    kept = [next(iter(batches)) for _ in range(3)]
    book = _Book()
    turn = iter(range(1_000_000))
    return lambda: step(kept[next(turn) % len(kept)], book), plan.targets_per_step  # type: ignore[arg-type]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=int, default=2)
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_games(Path(folder) / "replays", 24, 0, rules=Rules(stocks=4, max_frames=2500))
        ingest(iter_sources([Path(folder) / "replays"]), Path(folder) / "dataset", workers=1)
        dataset = open_dataset(Path(folder) / "dataset")
        cases = {name: make_case(*arguments, dataset) for name, arguments in CASES.items()}
        a, b = torch.randn(2048, 384), torch.randn(384, 1676)
        timings = interleave(
            {"gemm": lambda: a @ b, **{name: run for name, (run, _) in cases.items()}}, rounds=options.rounds
        )
    gemm = 2 * 2048 * 384 * 1676 / timings["gemm"].median_wall_s / 1e9
    rates = {name: frames / timings[name].median_wall_s for name, (_, frames) in cases.items()}
    table(
        ["case", "target frames/s", "ms per step", "spread"],
        [[name, rate, timings[name].median_wall_s * 1e3, timings[name].spread] for name, rate in rates.items()],
    )
    print(f"one GEMM in this run: {gemm:.0f} GFLOP/s")
    finish("train_step", {"frames_per_s": {n: round(r) for n, r in rates.items()}, "gemm_gflops": round(gemm, 1)})


if __name__ == "__main__":
    main()
