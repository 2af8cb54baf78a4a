"""Claim: ingest of a folder of .slp files runs at 80 % or more of `peppi_py.read_slippi`'s own frames per second.

The partner only parses (and reads no items, keeps no rollback knowledge, stores nothing); ours hashes, parses, filters,
identifies, encodes and writes a durable dataset. Same files, one process each, in turn. Floor: the parser alone.

    python benchmarks/ingest.py [--replays FOLDER] [--files 80] [--rounds 5]
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import peppi_py
from common import finish, parser, replay_folder, table

from worldmodel.bench.clock import interleave, median_ratio
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import open_dataset
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.source import iter_sources


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--files", type=int, default=80, help="how many files of the folder")
    options = arguments.parse_args()
    files = sorted(replay_folder(options.replays).glob("*.slp"))[: options.files]
    out = Path(tempfile.mkdtemp()) / "dataset"
    contents = [file.read_bytes() for file in files]

    def ingest_with(workers: int) -> None:
        shutil.rmtree(out, ignore_errors=True)
        ingest(iter_sources(files), out, workers=workers)

    timings = interleave(
        {
            "peppi_py.read_slippi": lambda: [peppi_py.read_slippi(str(file)) for file in files],
            "our parser alone": lambda: [parse_replay(content) for content in contents],
            "ingest, 1 process": lambda: ingest_with(1),
            "ingest, 2 workers": lambda: ingest_with(2),
        },
        rounds=options.rounds,
    )
    num_frames = open_dataset(out).num_frames
    peppi = timings["peppi_py.read_slippi"]
    ratios = {name: median_ratio(peppi.wall_s, timing.wall_s) for name, timing in timings.items()}
    table(
        ["case", "frames/s (wall)", "of peppi", "spread"],
        [[name, num_frames / t.median_wall_s, ratios[name], t.spread] for name, t in timings.items()],
    )
    shutil.rmtree(out.parent)
    finish(
        "ingest",
        {
            "files": len(files),
            "frames": num_frames,
            "frames_per_s": {name: round(num_frames / t.median_wall_s) for name, t in timings.items()},
            "share_of_peppi": {name: round(ratio, 3) for name, ratio in ratios.items()},
        },
    )


if __name__ == "__main__":
    main()
