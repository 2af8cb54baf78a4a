"""Frames per second of an evaluation: one step ahead, and closed loops, beside the naive baselines.

    python benchmarks/evaluation.py [--model tiny] [--games 40] [--device cpu]

On generated matches, an untrained model: an evaluation costs the same whatever was learned. Floor: the FLOPs of as many
forward frames (a third of a training step's, which are counted) over one product of matrices of the same run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from common import finish, table

from worldmodel.bench.ceilings import gemm_flops
from worldmodel.bench.training import GAME_FRAMES, Training, resident
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import open_dataset
from worldmodel.evaluation import heldout
from worldmodel.evaluation.protocol import Settings, evaluate_model
from worldmodel.models.base import make_model
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.config import find_experiment, load_experiment

STEPS, LOOPS = "one step ahead", "closed loops"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default="tiny", help="an experiment")
    made.add_argument("--games", type=int, default=40, help="generated matches, all of them evaluated")
    made.add_argument("--rollouts", type=int, default=500)
    made.add_argument("--device", default="cpu")
    given = made.parse_args()
    settle_allocator()
    device = torch.device(given.device)
    experiment = load_experiment(find_experiment(given.model))
    torch.manual_seed(0)
    model = make_model(experiment.model).to(device).eval()
    training = Training(experiment, resident(GAME_FRAMES, device), device)
    forward_flops = training.flops_per_target() / 3
    with tempfile.TemporaryDirectory() as folder:
        write_games(Path(folder) / "replays", given.games, 0, rules=Rules(stocks=4, max_frames=2500))
        ingest(iter_sources([Path(folder) / "replays"]), Path(folder) / "dataset", workers=1)
        dataset = open_dataset(Path(folder) / "dataset")
        games = heldout.choose_games(dataset, split="all", allow_train=True)
        length, burn_in = experiment.data.length, experiment.data.loss_from
        seconds: dict[str, float] = {}
        frames: dict[str, float] = {}
        for name, rollouts in (("to warm up", 1), (STEPS, 1), (LOOPS, given.rollouts)):
            settings = Settings(
                length=length, burn_in=burn_in, weights=experiment.weights, max_frames=100_000, num_rollouts=rollouts,
                num_long=0, num_per_event=0, reference=False, num_forks=0,
            )  # fmt: skip
            began = time.perf_counter()
            found = evaluate_model(model, dataset, games, settings, device=device, quiet=True)
            seconds[name] = time.perf_counter() - began
            if name == "to warm up":
                del seconds[name]
                continue
            frames[name] = found.json["teacher_forced"]["num_frames"] if name == STEPS else rollouts * settings.horizon
    seconds[LOOPS] -= seconds[STEPS]
    gemm = gemm_flops(device)
    rates = {name: frames[name] / seconds[name] for name in seconds}
    shares = {name: rate * forward_flops / gemm for name, rate in rates.items()}
    table(
        ["part", "frames", "seconds", "frames/s", "share of one product"],
        [[name, frames[name], seconds[name], rates[name], shares[name]] for name in seconds],
    )
    finish("evaluation", {
        "model": given.model, "device": str(device), "frames_per_s": {name: round(r, 1) for name, r in rates.items()},
        "share_of_gemm": {name: round(share, 4) for name, share in shares.items()}, "gemm_gflops": round(gemm / 1e9, 1),
    })  # fmt: skip


if __name__ == "__main__":
    main()
