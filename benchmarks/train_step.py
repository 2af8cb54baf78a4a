"""Frames per second of a whole training step (forward, loss, backward, clip, AdamW) on this machine's CPU.

Cases: the card's model in window mode (K = 10), in sequence mode, and `tiny`. In the same run: a stand-in for the
reference's step (see `standin.py`), and one GEMM of the card's projection as the ceiling. The stand-in is given its
data; ours gather and decode theirs.

    python benchmarks/train_step.py [--rounds 5] [--threads 2] [--compile]

With the allocator settled (which `worldmodel train` does for itself, and this script does for both sides).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import finish, parser, table
from standin import StandInStep
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.bench.clock import interleave, median_ratio
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.book import NAMES
from worldmodel.training.config import find_experiment, load_experiment
from worldmodel.training.loop import chunks, make_state
from worldmodel.training.meter import Meter, Pace
from worldmodel.training.plan import make_plan
from worldmodel.training.step import Step

CPU = torch.device("cpu")
OWN = ["scheduled_sampling=null", "training.val_windows=0", "data.block_frames=100000"]
CASES = {
    "card, windows K = 10": ("mamba2-medium-gpu", ["training.batch_size=256"]),
    "card, windows K = 60": (
        "mamba2-medium-gpu",
        ["data={mode: window, context_len: 60}", "training.batch_size=64", "model.chunk_size=60"],
    ),
    "mlp, windows K = 10": ("mamba2-medium-gpu", ["model={arch: mlp, heads: card}", "training.batch_size=256"]),
    "card, sequences of 256": (
        "mamba2-medium-gpu",
        ["data={mode: sequence, length: 256, burn_in: 0}", "training.batch_size=8", "model.chunk_size=64"],
    ),
    "tiny, sequences of 64": ("tiny", ["training.batch_size=8"]),
}
STAND_IN_BATCH = 256


def make_case(name: str, overrides: list[str], dataset: Dataset, *, compiled: bool) -> tuple[Callable[[], Any], float]:
    """One step, its gather included, as a function; and the frames that it has a loss on."""
    own = [*OWN[:1], *OWN[2:]] if name == "tiny" else OWN
    experiment = load_experiment(
        find_experiment(name), overrides=[*own, f"training.compile={str(compiled).lower()}", *overrides]
    )
    plan = make_plan(experiment, dataset, CPU)
    state = make_state(experiment, CPU)
    state.model.train()
    step, pace = Step(plan, state), Pace(CPU)
    meter = Meter(NAMES, row_steps=10**9, step=0, device=CPU)

    def batches() -> Any:
        for epoch in range(10**6):
            yield from plan.batches.epoch(epoch)

    source = batches()

    def once() -> None:
        for chunk, _ in chunks(next(source), plan, step=state.step):
            step(chunk, meter, pace)

    return once, plan.targets_per_step


def flops_of(case: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        case()
    return float(counter.get_total_flops())


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--compile", action="store_true", help="compile our steps (minutes, once)")
    options = made.parse_args()
    settle_allocator()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_games(Path(folder) / "replays", 24, 0, rules=Rules(stocks=4, max_frames=2500))
        ingest(iter_sources([Path(folder) / "replays"]), Path(folder) / "dataset", workers=1)
        dataset = open_dataset(Path(folder) / "dataset")
        made_cases = {name: make_case(*of, dataset, compiled=False) for name, of in CASES.items()}
        flops = {name: flops_of(once) / frames for name, (once, frames) in made_cases.items()}
        if options.compile:
            made_cases = {name: make_case(*of, dataset, compiled=True) for name, of in CASES.items()}
        stand_in = StandInStep(STAND_IN_BATCH)
        a, b = torch.randn(2560, 384), torch.randn(384, 1676)
        runs: dict[str, Callable[[], object]] = {"gemm": lambda: [a @ b for _ in range(10)]}
        runs["stand-in, windows K = 10"] = stand_in
        runs |= {name: once for name, (once, _) in made_cases.items()}
        timings = interleave(runs, rounds=options.rounds)
    gemm = 10 * 2 * 2560 * 384 * 1676 / timings["gemm"].median_wall_s / 1e9
    frames = {"stand-in, windows K = 10": float(STAND_IN_BATCH)} | {name: of for name, (_, of) in made_cases.items()}
    per_frame = {name: [second / count for second in timings[name].wall_s] for name, count in frames.items()}
    base = per_frame["stand-in, windows K = 10"]
    rows: dict[str, dict[str, float]] = {}
    for name, seconds in per_frame.items():
        rate = frames[name] / timings[name].median_wall_s
        rows[name] = {
            "frames_per_s": rate,
            "times_stand_in": median_ratio(base, seconds),
            # Of the stand-in unknown: the counter takes a grouped convolution for a full one.
            "mflop_per_frame": flops.get(name, float("nan")) / 1e6,
            "share_of_gemm": flops.get(name, float("nan")) * rate / 1e9 / gemm,
            "step_ms": 1e3 * timings[name].median_wall_s,
            "spread": timings[name].spread,
        }
    columns = list(next(iter(rows.values())))
    table(["case", *columns], [[name, *row.values()] for name, row in rows.items()])
    print(f"one GEMM in this run: {gemm:.0f} GFLOP/s")
    finish("train_step", {
        "threads": options.threads, "compiled": options.compile, "gemm_gflops": round(gemm, 1),
        "cases": {
            name: {key: round(value, 3) for key, value in row.items() if value == value} for name, row in rows.items()
        },
    })  # fmt: skip


if __name__ == "__main__":
    main()
