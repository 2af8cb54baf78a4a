"""What a checkpoint of the card's model, with its optimiser and a running mean, costs: waiting, writing, loading.

    python benchmarks/checkpoint.py [--rounds 10] [--place FOLDER]

Beside it: as many bytes written to the same disk in one go, and read, with nothing else done (`floor`); and how much
slower small operations of the training thread are while another thread writes.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import finish, table

from worldmodel.bench.ceilings import seconds_of
from worldmodel.runs.folder import RunFolder
from worldmodel.training.checkpoint import TrainState, restore
from worldmodel.training.config import find_experiment, load_experiment
from worldmodel.training.loop import make_state
from worldmodel.training.saver import Saver

CPU = torch.device("cpu")


def trained_once() -> tuple[TrainState, TrainState]:
    """The card's state after an update, and a fresh one to load it into."""
    experiment = load_experiment(find_experiment("mamba2-medium-gpu"), overrides=["training.ema=0.999"])
    state = make_state(experiment, CPU)
    for parameter in state.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.optimizer.step()
    return state, copy.deepcopy(state)


def plain_write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def slower_beside(saver: Saver, state: TrainState, rounds: int) -> float:
    """Forty small operations, what a step is to the interpreter, whose lock both threads want: beside over alone."""
    left = torch.randn(64, 64)

    def work() -> float:
        return seconds_of(lambda: [torch.tanh(left @ left) for _ in range(40)], CPU)

    alone, beside = [work() for _ in range(500)], []
    for _ in range(rounds):
        state.step += 1
        saver.save(state, reason="test")
        while saver.look() == (False, False):
            beside.append(work())
        saver.settle()
    return statistics.mean(beside) / statistics.mean(alone)


def measure(place: Path, rounds: int) -> None:
    experiment = load_experiment(find_experiment("mamba2-medium-gpu"), overrides=["training.ema=0.999"])
    state, fresh = trained_once()
    run = RunFolder.create(place, experiment="checkpoint", name="checkpoint")
    saver = Saver(run, experiment, steps_per_epoch=10**9)
    took: dict[str, list[float]] = {}

    def note(case: str, seconds: float) -> None:
        took.setdefault(case, []).append(seconds)

    size = 0
    for _ in range(rounds + 1):
        for wait in (True, False):
            state.step += 1
            began = time.perf_counter()
            saver.save(state, reason="test", wait=wait)
            note("training waits, same thread" if wait else "training waits, other thread", time.perf_counter() - began)
            saver.settle()
            if not wait:
                note("until it is on the disk", time.perf_counter() - began)
        newest = run.all_checkpoints()[-1]
        size = sum(file.stat().st_size for file in newest.path.iterdir())
        data = newest.state.read_bytes() + newest.weights.read_bytes() + newest.weights_ema.read_bytes()
        note("floor: as many bytes written", seconds_of(lambda data=data: plain_write(place / "plain", data), CPU))  # type: ignore[misc]
        note("loaded", seconds_of(lambda newest=newest: restore(newest, fresh), CPU))  # type: ignore[misc]
        note("floor: its state read", seconds_of(lambda newest=newest: newest.state.read_bytes(), CPU))  # type: ignore[misc]
    slower = slower_beside(saver, state, rounds)
    saver.close()
    timed = {name: values[1:] for name, values in took.items()}
    print(f"{state.model.num_parameters():,} parameters, {size / 1e6:.0f} MB a checkpoint")
    rows: list[list[object]] = [
        [name, 1000 * statistics.median(values), 1000 * min(values), 1000 * max(values)]
        for name, values in timed.items()
    ]
    table(["what", "median ms", "least ms", "most ms"], rows)
    print(f"while one is written, small operations of the training thread take {slower:.2f} times as long")
    medians = {name: round(1000 * statistics.median(values), 1) for name, values in timed.items()}
    shares = {
        "written": medians["floor: as many bytes written"] / medians["until it is on the disk"],
        "loaded": medians["floor: its state read"] / medians["loaded"],
    }
    finish("checkpoint", {
        "num_parameters": state.model.num_parameters(), "bytes": size, "rounds": rounds, "median_ms": medians,
        "share_of_floor": {name: round(value, 3) for name, value in shares.items()},
        "slower_while_written": round(slower, 3),
    })  # fmt: skip


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=10)
    made.add_argument("--place", type=Path, help="folder on the disk to write to (default: a temporary one)")
    given = made.parse_args()
    with tempfile.TemporaryDirectory(dir=given.place) as place:
        measure(Path(place), given.rounds)


if __name__ == "__main__":
    main()
