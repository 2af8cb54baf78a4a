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

from dataclasses import dataclass
from functools import partial

import torch
from common import finish, parser, table

from worldmodel.bench.ceilings import measure_ceilings, seconds_of
from worldmodel.bench.training import Training, resident
from worldmodel.training.config import Experiment, find_experiment, load_experiment

MISSION_EXAMPLES = 185_648_963
MISSION_FRAMES = 206_754_081


@dataclass(frozen=True)
class Case:
    name: str
    overrides: tuple[str, ...]
    small: tuple[str, ...]
    needs_device: bool = False

    def experiment(self, cuda: bool) -> Experiment:
        return load_experiment(
            find_experiment("mamba2-medium-gpu"), overrides=[*self.overrides, *(() if cuda else self.small)]
        )


SEQUENCE = "data={mode: sequence, length: 256, burn_in: 0}"
CASES = (
    Case("window B=1024", ("training.batch_size=1024",), ("training.batch_size=32",)),
    Case("window B=4096", ("training.batch_size=4096",), ("training.batch_size=64",)),
    Case("window B=4096, our kernel", ("training.batch_size=4096", "training.kernels=triton"), (), needs_device=True),
    Case("sequence 128 x 256", (SEQUENCE, "training.batch_size=128", "model.chunk_size=256"),
         ("training.batch_size=2",)),
    Case("sequence 128 x 256, chunk 64", (SEQUENCE, "training.batch_size=128", "model.chunk_size=64"),
         ("training.batch_size=2",)),
)  # fmt: skip


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
    ceiling = measure_ceilings(device)
    results: dict[str, dict[str, float]] = {}
    for case in CASES:
        if options.only not in (None, case.name):
            continue
        if case.needs_device and not cuda:
            print(f"left out, it needs a CUDA device: {case.name}")
            continue
        experiment = case.experiment(cuda)
        if options.eager:
            experiment = experiment.model_copy(
                update={"training": experiment.training.model_copy(update={"compile": False})}
            )
        bench = Training(experiment, block, device)
        compile_s = seconds_of(partial(bench.run, 3), device)
        bench.run(steps // 4)
        bench.pace.read(1, 1)
        seconds = sorted(seconds_of(partial(bench.run, steps), device) / steps for _ in range(options.rounds))
        step_s, examples = seconds[len(seconds) // 2], bench.num_targets
        pace = bench.pace.read(steps * options.rounds, examples)
        flops = bench.flops_per_target()
        results[case.name] = {
            "step_ms": 1e3 * step_s,
            "examples_per_s": examples / step_s,
            "mission_epoch_s": MISSION_EXAMPLES / examples * step_s,
            "share_of_gemm": flops * examples / step_s / ceiling.flops,
            "mflop_per_example": flops / 1e6,
            "memory_gb": pace["memory_gb"],
            "compile_s": compile_s,
            "spread": seconds[-1] / seconds[0],
        } | {name: value for name, value in pace.items() if name.startswith("share_")}
    columns = ["step_ms", "examples_per_s", "mission_epoch_s", "share_of_gemm", "mflop_per_example", "memory_gb",
               "share_data", "share_forward", "share_backward", "share_optimiser", "compile_s", "spread"]  # fmt: skip
    table(["case", *columns], [[name, *(row[column] for column in columns)] for name, row in results.items()])
    about = {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "frames": len(block.words),
        "gemm_tflops": round(ceiling.flops / 1e12, 3),
        "copy_tbs": round(ceiling.copy_bytes / 1e12, 3),
    }
    cases = {case: {name: round(value, 4) for name, value in row.items()} for case, row in results.items()}
    finish("epoch", about | {"cases": cases})


if __name__ == "__main__":
    main()
