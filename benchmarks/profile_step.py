"""Where the time of a training step goes: kernels by kind, and phases, beside this device's ceilings.

    python benchmarks/profile_step.py [--device cuda] [--case "window B=4096"] [--steps 20] [--eager] [--top 12]

What decides whether a kernel of our own would pay: the share of time that is no product of matrices, and how near the
products are to one large product of the same run. The cases are those of `epoch.py`, at its sizes; on a CPU small.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import torch
from common import finish, parser, table
from epoch import CASES, MISSION_EXAMPLES
from torch.profiler import ProfilerActivity, profile

from worldmodel.bench.ceilings import measure_ceilings, seconds_of
from worldmodel.bench.training import Training, resident

KINDS = {
    "products of matrices": ("mm", "gemm", "cutlass", "matmul", "nvjet", "linear"),
    "scan": ("cumsum", "scan"),
    "convolution": ("conv",),
    "norms": ("norm",),
    "gather, decode, embed": ("index", "gather", "embedding", "lookup"),
    "optimiser": ("adam", "foreach", "multi_tensor", "clip_grad"),
    "loss": ("softmax", "nll", "cross_entropy", "smooth_l1", "bce", "binary_cross"),
    "copies and fills": ("copy", "fill", "zero", "cat", "clone", "memcpy", "memset"),
    "fused by the compiler": ("triton", "cpp_fused", "fused", "compiled"),
}
"""Words in a kernel's name, the first that fits counts; all else is "other arithmetic"."""
OTHER = "other arithmetic"


def kind_of(name: str) -> str:
    low = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word in low for word in words)), OTHER)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--case", default=CASES[0].name, choices=[case.name for case in CASES])
    made.add_argument("--steps", type=int, help="profiled steps (default: 20 on CUDA, 2 on a CPU)")
    made.add_argument("--top", type=int, default=12, help="kernels shown one by one")
    made.add_argument("--eager", action="store_true", help="do not compile")
    options = made.parse_args()
    device = torch.device(options.device)
    is_cuda = device.type == "cuda"
    steps = options.steps or (20 if is_cuda else 2)
    experiment = next(case for case in CASES if case.name == options.case).experiment(is_cuda)
    if options.eager:
        training = experiment.training.model_copy(update={"compile": False})
        experiment = experiment.model_copy(update={"training": training})
    ceilings = measure_ceilings(device)
    bench = Training(experiment, resident(2_000_000 if is_cuda else 50_000, device), device)
    bench.run(3)
    bench.pace.read(1, 1)
    step_s = min(seconds_of(partial(bench.run, steps), device) / steps for _ in range(options.rounds))
    phases = bench.pace.read(steps * options.rounds, bench.num_targets)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=activities) as profiled:
        seconds_of(partial(bench.run, steps), device)
    kernels: dict[str, list[float]] = {}
    for event in profiled.key_averages():
        spent = event.self_device_time_total if is_cuda else event.self_cpu_time_total
        is_kernel = event.device_type.name == "CUDA" if is_cuda else not event.key.startswith("ProfilerStep")
        if spent and is_kernel:
            kernels[event.key] = [spent / 1e6 / steps, event.count / steps]
    whole = sum(seconds for seconds, _ in kernels.values())
    kinds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, (seconds, count) in kernels.items():
        of = kinds[kind_of(name)]
        of[0], of[1] = of[0] + seconds, of[1] + count
    by_time = sorted(kinds.items(), key=lambda item: -item[1][0])
    table(
        ["kind", "ms a step", "share", "kernels a step"],
        [[name, 1e3 * seconds, seconds / whole, count] for name, (seconds, count) in by_time],
    )
    print()
    top = sorted(kernels.items(), key=lambda item: -item[1][0])[: options.top]
    table(["kernel", "ms a step", "share", "times a step"], [[n[:70], 1e3 * s, s / whole, c] for n, (s, c) in top])
    flops = bench.flops_per_target() * bench.num_targets
    products = kinds["products of matrices"][0] or float("nan")
    reached, of_products = flops / step_s / ceilings.flops, flops / products / ceilings.flops
    epoch_s = MISSION_EXAMPLES / bench.num_targets * step_s
    print(
        f"\na step takes {1e3 * step_s:.2f} ms, {1e3 * whole:.2f} ms of kernels; the mission's epoch {epoch_s:,.0f} s"
    )
    print(f"{reached:.1%} of the rate of one large product; its own products alone {of_products:.1%}")
    print("phases: " + "  ".join(f"{name.removeprefix('share_')} {value:.0%}" for name, value in phases.items()
                                 if name.startswith("share_")))  # fmt: skip
    finish("profile_step", {
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu", "case": options.case,
        "step_ms": round(1e3 * step_s, 3), "share_of_gemm": round(reached, 4),
        "kinds": {name: {"ms": round(1e3 * s, 4), "share": round(s / whole, 4)} for name, (s, _) in by_time},
    })  # fmt: skip


if __name__ == "__main__":
    main()
