"""Claim: memory is bounded whatever the input. Generates matches, ingests them, trains; states the peak of each stage.

Each stage is a process of its own, and its peak resident memory is the operating system's figure.

    python benchmarks/scale.py [--games 2000] [--block-frames 1000000]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import finish, parser, table

MEASURED = """
import json, resource, sys
from worldmodel.cli import main
code = main(sys.argv[1:])
own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"peak_mb": own / 1024, "peak_child_mb": children / 1024}))
sys.exit(code)
"""


def measured(*arguments: object) -> dict[str, float]:
    """Run a verb in a fresh interpreter: seconds, peak memory of it and of its largest child, its own JSON."""
    began = time.perf_counter()
    command = [sys.executable, "-c", MEASURED, *map(str, arguments), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told, peak = (json.loads(line) for line in done.stdout.strip().splitlines()[-2:])
    return {**told, **peak, "seconds": time.perf_counter() - began}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--games", type=int, default=2000)
    made.add_argument("--max-frames", type=int, default=1850)
    made.add_argument("--block-frames", type=int, default=1_000_000)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stages = {
            "synth": measured(
                "synth", "--games", options.games, "--out", root / "replays", "--max-frames", options.max_frames
            ),
            "ingest": measured("ingest", root / "replays", "--out", root / "dataset"),
            "train": measured(
                "train", "demo", f"data.block_frames={options.block_frames}", "training.val_windows=256",
                "training.batch_size=64", "data.length=256", "--epochs", 1, "model.d_model=32", "model.d_state=8",
                "model.headdim=16",
                "--data", root / "dataset", "--runs", root / "runs",
            ),
        }  # fmt: skip
        frames = int(stages["ingest"]["frames"])
    table(
        ["stage", "seconds", "peak MB", "largest child MB"],
        [[name, told["seconds"], told["peak_mb"], told["peak_child_mb"]] for name, told in stages.items()],
    )
    finish(
        "scale",
        {
            "games": options.games,
            "frames": frames,
            "block_frames": options.block_frames,
            "peak_mb": {name: round(told["peak_mb"]) for name, told in stages.items()},
            "seconds": {name: round(told["seconds"], 1) for name, told in stages.items()},
        },
    )


if __name__ == "__main__":
    main()
