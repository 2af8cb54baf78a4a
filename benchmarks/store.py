"""Claim: at most 140 bytes per frame stored for both players before compression, at most 20 packed.

Also: time to open, to read one column of everything, and to decode games into a training block.

    python benchmarks/store.py [--replays FOLDER]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from common import finish, parser, replay_folder, table

from worldmodel.bench.clock import interleave
from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.pack import pack
from worldmodel.dataset.store import open_dataset
from worldmodel.replays.source import iter_sources
from worldmodel.schema import LAYOUT, PLAYERS, column_name


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset"
        report = ingest(iter_sources([replay_folder(options.replays)]), path, workers=1)
        dataset = open_dataset(path)
        archive = Path(folder) / "dataset.packed"
        packed = pack(dataset, archive)
        column = column_name(LAYOUT.the("percent"), PLAYERS[0])
        some = dataset.rows()[: max(1, dataset.num_games // 5)]
        some_frames = int(dataset.num_frames_per_game[some].sum())
        timings = interleave(
            {
                "open": lambda: open_dataset(path).games,
                "one column of all games": lambda: [dataset.game(i)[column].sum() for i in range(dataset.num_games)],
                "a fifth of the games as a block": lambda: load_block(dataset, some),
            },
            rounds=options.rounds,
        )
    table(
        ["what", "bytes per frame"],
        [["stored, both players", report.bytes_per_frame], ["packed", packed / dataset.num_frames]],
    )
    print()
    table(["what", "ms", "spread"], [[name, t.median_wall_s * 1e3, t.spread] for name, t in timings.items()])
    finish(
        "store",
        {
            "frames": dataset.num_frames,
            "bytes_per_frame": round(report.bytes_per_frame, 2),
            "packed_bytes_per_frame": round(packed / dataset.num_frames, 2),
            "open_ms": round(timings["open"].median_wall_s * 1e3, 2),
            "block_frames_per_s": round(some_frames / timings["a fifth of the games as a block"].median_wall_s),
        },
    )


if __name__ == "__main__":
    main()
