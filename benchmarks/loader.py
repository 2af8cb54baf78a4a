"""Windows per second of the loader alone, on this machine's CPU, against a naive per-sample loader in the same run.

The naive one stands for the system of the mission's card: dense tensors of 56 float32 and 17 int64 a frame, one
`__getitem__` a window (context, pads, each target cut and subtracted per sample), `DataLoader` without workers.
Ours: the words of a batch as one gather; the same decoded into states, pads and context; and the whole path, batches
of an epoch. Ceiling: copying as many bytes from one place of memory to another.

    python benchmarks/loader.py [--rounds 7] [--threads 1] [--games 560]

The allocator has to be settled, or every temporary measures page faults instead (the script refuses otherwise):

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 MALLOC_MMAP_THRESHOLD_=4294967296 \
    MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456 python benchmarks/loader.py
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from common import finish, parser, table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from worldmodel.bench.clock import interleave, median_ratio
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.rows import ROW
from worldmodel.dataset.store import open_dataset
from worldmodel.dataset.windows import Windows
from worldmodel.nn.frames import DeviceBlock
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.training.batches import Batches

BATCH, CONTEXT, SEQUENCE = 1024, 10, 256
REFERENCE_PER_S = 5900
"""Windows per second of the reference's own loader on a machine of this kind: a record, not measured here."""
FLOOR = 150
ROUND_BATCHES = {"naive": 4, "ours": 40}


class Naive(Dataset[tuple[Tensor, ...]]):
    """One window a call, from dense tensors (F, 56) and (F, 17), each target cut by itself.

    Floats of a player: 12 numbers (three groups), 3 flags, 13 of the pad; ids: 8 of each player (six have a head) and
    the stage.
    """

    def __init__(self, floats: Tensor, ints: Tensor, firsts: np.ndarray) -> None:
        self.floats, self.ints, self.firsts = floats, ints, firsts

    def __len__(self) -> int:
        return len(self.firsts)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        now = int(self.firsts[index]) + CONTEXT
        shown, ids = self.floats[now - CONTEXT : now], self.ints[now - CONTEXT : now]
        before, after, ids_now = self.floats[now - 1], self.floats[now], self.ints[now]
        pads = torch.cat([after[15:28], after[43:56]])
        targets = []
        for player in (0, 28):
            for begin, end in ((0, 4), (4, 9), (9, 12)):
                targets.append(after[player + begin : player + end] - before[player + begin : player + end])
            targets.append(after[player + 12 : player + 15])
        classes = torch.stack([ids_now[player + k] for player in (0, 8) for k in range(6)])
        return shown, ids, pads, torch.cat(targets), classes


def forever(batches: Batches) -> Iterator[object]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=int, default=1, help="of PyTorch; a loader beside a training has about one")
    made.add_argument("--games", type=int, default=560)
    options = made.parse_args()
    if "hugetlb" not in os.environ.get("GLIBC_TUNABLES", ""):
        sys.exit("settle the allocator first: see --help")
    torch.set_num_threads(options.threads)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write_games(Path(folder) / "replays", options.games, 0, rules=Rules(stocks=4, max_frames=2000), workers=2)
        ingest(iter_sources([Path(folder) / "replays"]), Path(folder) / "dataset", workers=2)
        dataset = open_dataset(Path(folder) / "dataset")
        games = dataset.rows("all")
        lengths = dataset.num_frames_per_game[games]

        def batches(rows: int, stride: int, size: int) -> Batches:
            windows = Windows(lengths, games=games, rows=rows, stride=stride, seed=0, block_frames=10**9)
            return Batches(dataset, windows, size, torch.device("cpu"), lanes=8)

        short, long = batches(CONTEXT + 1, 1, BATCH), batches(SEQUENCE + 1, SEQUENCE, BATCH // 4)
        streams = {"windows": forever(short), "sequences": forever(long)}
        for stream in streams.values():
            next(stream)
    assert short._resident is not None
    block: DeviceBlock = short._resident[1]
    num_frames = len(block.words)
    begins = np.repeat(block.offsets[:-1].numpy(), lengths - SEQUENCE - 1)
    within = np.concatenate([np.arange(n - SEQUENCE - 1) for n in lengths])
    which = np.repeat(np.arange(len(lengths)), lengths - SEQUENCE - 1)
    floats = torch.randn(num_frames, 56)
    ints = torch.randint(0, 400, (num_frames, 17))

    def pool(of_window: np.ndarray, size: int) -> Iterator[Tensor]:
        """Random batches of starts, drawn before the clock runs."""
        return itertools.cycle(
            [torch.from_numpy(of_window[generator.integers(0, len(which), size)]) for _ in range(100)]
        )

    def naive() -> None:
        chosen = generator.integers(0, len(which), BATCH * ROUND_BATCHES["naive"])
        for _ in DataLoader(Naive(floats, ints, begins[chosen] + within[chosen]), batch_size=BATCH, num_workers=0):
            pass

    def repeated(function: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(ROUND_BATCHES["ours"]):
                function()

        return run

    source = torch.zeros(BATCH, CONTEXT + 1, ROW.num_words, dtype=torch.int64)
    target = torch.zeros_like(source)
    windows, sequences = BATCH, BATCH // 4
    firsts, starts = begins + within, np.stack([which, within], axis=1)
    places = {size: (pool(firsts, size), pool(starts, size)) for size in (windows, sequences)}
    cases: dict[str, tuple[int, Callable[[], None]]] = {
        "naive, per sample": (BATCH * ROUND_BATCHES["naive"], naive),
        "words": (windows, repeated(lambda: block.cut(next(places[windows][0]), CONTEXT + 1))),
        "words, decoded": (windows, repeated(lambda: block.gather(next(places[windows][1]), CONTEXT + 1))),
        "epoch": (windows, repeated(lambda: next(streams["windows"]))),
        "T=256, words": (sequences, repeated(lambda: block.cut(next(places[sequences][0]), SEQUENCE + 1))),
        "T=256, decoded": (sequences, repeated(lambda: block.gather(next(places[sequences][1]), SEQUENCE + 1))),
        "T=256, epoch": (sequences, repeated(lambda: next(streams["sequences"]))),
        "copy of a batch": (windows, repeated(lambda: target.copy_(source))),
    }
    timings = interleave({name: run for name, (_, run) in cases.items()}, rounds=options.rounds)
    # One thread is timed by its CPU seconds, which a busy neighbour lengthens little.
    seconds = {name: timing.cpu_s if options.threads == 1 else timing.wall_s for name, timing in timings.items()}
    naive_num = cases["naive, per sample"][0]
    rows, result = [], {}
    for name, (size, _) in cases.items():
        num = size if name.startswith("naive") else size * ROUND_BATCHES["ours"]
        length = SEQUENCE if name.startswith("T=") else CONTEXT
        targets = SEQUENCE if name.startswith("T=") else 1
        per_s = num / statistics.median(seconds[name])
        moved = per_s * (length + 1) * ROW.num_bytes / 1e9
        ratio = median_ratio(seconds["naive, per sample"], seconds[name]) * num / naive_num * targets
        spread = max(seconds[name]) / min(seconds[name])
        rows.append([name, per_s, per_s * targets, "" if name.startswith("naive") else moved, ratio, spread])
        result[name] = {"windows_per_s": round(per_s), "vs_naive": round(ratio, 1), "spread": round(spread, 2)}
    table(["case", "windows/s", "target frames/s", "GB/s", "vs naive", "spread"], rows)
    share = median_ratio(seconds["copy of a batch"], seconds["words"])
    clock = "CPU" if options.threads == 1 else "wall"
    print(
        f"{num_frames:,} frames, {num_frames * ROW.num_bytes / 1e6:,.0f} MB; {options.threads} thread(s), {clock} time"
    )
    print(f"cutting the words of windows reaches {share:.0%} of copying as many bytes")
    reached = {name: result[name]["windows_per_s"] / REFERENCE_PER_S for name in ("words", "words, decoded", "epoch")}
    print(
        f"against the record of {REFERENCE_PER_S:,} windows/s (floor: {FLOOR} times, {REFERENCE_PER_S * FLOOR:,}/s): "
        + ", ".join(f"{name} {times:.0f} times" for name, times in reached.items())
    )
    finish(
        "loader",
        {
            "threads": options.threads,
            "frames": num_frames,
            "cases": result,
            "share_of_copy": round(share, 3),
            "times_reference_record": {name: round(times) for name, times in reached.items()},
        },
    )


if __name__ == "__main__":
    main()
