"""A frame in ONNX Runtime beside the same frame in torch: milliseconds at batch 1 and 256, on one core.

Case: one whole frame (model, transition, state handed on) of `tiny` and of the card's model, random weights: the eager
step of `dynamics`, the float32 graph, the int8 graph. The floor is the time to read the weights once and to read and
write the recurrent state, at the bandwidth of a copy measured in the same run. Times are CPU time of the one thread.

Not called onnx.py: a script's own folder comes first on the path, and `import onnx` would find the script.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from common import finish, parser, table

from worldmodel.bench.clock import interleave, median_ratio
from worldmodel.export import shrink
from worldmodel.export.extra import need
from worldmodel.export.graph import make_graph, operators
from worldmodel.export.runtime import Stepper
from worldmodel.export.speed import BATCHES, EAGER, Case, cases
from worldmodel.models.base import make_model
from worldmodel.training.config import find_experiment, load_experiment

MODELS = ("tiny", "mamba2-medium-gpu")
COPY_BYTES = 256 << 20
ROUND_S = 0.3
"""About what a case is run for in each round."""


def repeated(case: Case, times: int) -> Case:
    def many() -> None:
        for _ in range(times):
            case()

    return many


def times_for(case: Case) -> int:
    once = interleave({"once": case}, rounds=3)["once"].median_wall_s
    return max(1, int(ROUND_S / once))


def main() -> None:
    made = parser(__doc__ or "")
    options = made.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    onnx = need("onnx")
    rows: list[list[object]] = []
    results: dict[str, dict[str, object]] = {}
    source, target = torch.ones(COPY_BYTES // 4), torch.empty(COPY_BYTES // 4)
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            torch.manual_seed(0)
            model = make_model(load_experiment(find_experiment(name)).model).eval()
            float32 = make_graph(model)
            protos = {"float32": float32, "int8": shrink.int8(float32)}
            graphs, sizes = {}, {}
            for kind, proto in protos.items():
                path = Path(folder) / f"{name}-{kind}.onnx"
                onnx.save(proto, str(path))
                graphs[kind], sizes[kind] = Stepper(path), path.stat().st_size
            for batch in BATCHES:
                of = cases(model, graphs, batch)
                repeats = {case: times_for(once) for case, once in of.items()}
                many = {case: repeated(once, repeats[case]) for case, once in of.items()}
                timings = interleave(many | {"copy": lambda: target.copy_(source)}, rounds=options.rounds)
                bandwidth = 2 * COPY_BYTES / timings["copy"].median_cpu_s
                state = sum(
                    graphs["float32"].zeros(batch)[given].nbytes
                    for given in graphs["float32"].inputs
                    if given.startswith("carried_")
                )
                per_frame = {case: [s / repeats[case] for s in timings[case].cpu_s] for case in of}
                for case in of:
                    weights = sizes["int8" if case == "int8" else "float32"]
                    floor = 1e3 * (weights + 2 * state) / bandwidth
                    ms = 1e3 * timings[case].median_cpu_s / repeats[case]
                    row = {
                        "ms": ms,
                        "us_per_world": 1e3 * ms / batch,
                        "times_faster_than_torch": median_ratio(per_frame[EAGER], per_frame[case]),
                        "floor_ms": floor,
                        "share_of_floor": floor / ms,
                        "spread": timings[case].spread,
                    }
                    rows.append([name, batch, case, *row.values()])
                    results[f"{name}/{batch}/{case}"] = {key: round(value, 4) for key, value in row.items()}
            for kind, proto in protos.items():
                counts = operators(proto)
                results[f"{name}/{kind}"] = {"bytes": sizes[kind], "operators": sum(counts.values())}
                print(f"{name} {kind}: {sizes[kind]:,} bytes, {sum(counts.values())} operators")
    table(["model", "batch", "case", "ms", "us/world", "times faster", "floor ms", "share of floor", "spread"], rows)
    finish("export", {"threads": 1, "onnxruntime": need("onnxruntime").__version__, "cases": results})


if __name__ == "__main__":
    main()
