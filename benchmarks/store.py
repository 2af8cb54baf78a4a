"""Claim: at most 140 bytes per frame stored for both players before compression, at most 20 packed.

Also: time to open, to read one column of everything, to read everything into a training block, and to cut windows of
it as they lie there (decoded: `loader.py`). Floor: moving as many bytes from one place of memory to another, measured
in the same run.

    python benchmarks/store.py [--replays FOLDER]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import finish, parser, replay_folder, table

from worldmodel.bench.ceilings import copy_bandwidth
from worldmodel.bench.clock import interleave
from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.pack import pack
from worldmodel.dataset.rows import ROW
from worldmodel.dataset.store import open_dataset
from worldmodel.nn.frames import DeviceBlock
from worldmodel.replays.source import iter_sources
from worldmodel.schema import LAYOUT, PLAYERS, column_name

WINDOWS = 100_000
ROWS = 11
"""Of a window of K = 10: its tokens, and the state before the first."""


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset"
        report = ingest(iter_sources([replay_folder(options.replays)]), path, workers=1)
        dataset = open_dataset(path)
        archive = Path(folder) / "dataset.packed"
        packed = pack(dataset, archive)
        column = column_name(LAYOUT.the("percent"), PLAYERS[0])
        every = dataset.rows()
        block = DeviceBlock.from_block(load_block(dataset, every))
        first = torch.from_numpy(np.random.default_rng(0).integers(0, dataset.num_frames - ROWS, WINDOWS))
        word = block.words.element_size() * block.words.shape[1]
        column_bytes = dataset.num_frames * 4
        moved = {
            "one column of all games": (
                lambda: [game[column].sum() for game in map(dataset.game, every)], column_bytes
            ),
            "every game as a block": (
                lambda: load_block(dataset, every), dataset.num_frames * (report.bytes_per_frame + ROW.num_bytes)
            ),
            f"{WINDOWS:,} windows of {ROWS} rows": (lambda: block.cut(first, ROWS), 2 * WINDOWS * ROWS * word),
        }  # fmt: skip
        reads = {name: read for name, (read, _) in moved.items()}
        timings = interleave({"open": lambda: open_dataset(path).games} | reads, rounds=options.rounds)
        bandwidth = copy_bandwidth(torch.device("cpu"))
    seconds = {name: timing.median_wall_s for name, timing in timings.items()}
    shares = {name: num_bytes / bandwidth / seconds[name] for name, (_, num_bytes) in moved.items()}
    table(
        ["what", "bytes per frame"],
        [["stored, both players", report.bytes_per_frame], ["packed", packed / dataset.num_frames]],
    )
    print()
    table(
        ["what", "ms", "share of floor", "spread"],
        [[name, seconds[name] * 1e3, shares.get(name, float("nan")), t.spread] for name, t in timings.items()],
    )
    print(f"copies at {bandwidth / 1e9:.1f} GB/s; {dataset.num_frames:,} frames")
    finish("store", {
        "frames": dataset.num_frames,
        "bytes_per_frame": round(report.bytes_per_frame, 2),
        "packed_bytes_per_frame": round(packed / dataset.num_frames, 2),
        "ms": {name: round(1e3 * value, 3) for name, value in seconds.items()},
        "share_of_floor": {name: round(value, 4) for name, value in shares.items()},
    })  # fmt: skip


if __name__ == "__main__":
    main()
