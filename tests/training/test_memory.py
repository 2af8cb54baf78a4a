"""Memory of training is two blocks and a constant, whatever the size of the dataset.

What counts is anonymous memory, sampled while a run trains: pages of mapped files are in `ru_maxrss` and `VmHWM` too,
but the system takes those back whenever it needs room.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldmodel.dataset.manifest import Settings
from worldmodel.dataset.rows import ROW
from worldmodel.dataset.shard import STORED, frames_hash
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dataset.writer import NewGame, writing

BLOCK_FRAMES, GAME_FRAMES = 200_000, 25_000
BLOCK_MB = BLOCK_FRAMES * ROW.num_bytes / 1e6
SLACK_MB = 25
"""For the order of windows and the noise of allocators. A third block would not fit."""

MEASURED = """
import json, sys, threading, time
def anonymous_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith("RssAnon"))
peak, running = 0.0, True
def watch():
    global peak
    while running:
        peak = max(peak, anonymous_mb())
        time.sleep(0.002)
watcher = threading.Thread(target=watch)
watcher.start()
from worldmodel.cli import main
code = main(sys.argv[1:])
running = False
watcher.join()
print(json.dumps({"code": code, "peak_mb": peak}))
"""

EXPERIMENT = f"""
model: {{arch: mamba2, d_model: 16, n_layers: 1, d_state: 8, headdim: 8}}
data: {{mode: window, context_len: 10, stride: 50, block_frames: {BLOCK_FRAMES}}}
training: {{batch_size: 256, epochs: 1, threads: 1, val_windows: 0}}
"""


def long_games(dataset: Dataset, out: Path, num_games: int) -> None:
    """A dataset of long games, each made of a short one, over and over."""
    settings = Settings(filters=(), min_frames=1, keep_names=False, shard_frames=BLOCK_FRAMES * 2)
    with writing(out, settings) as writer:
        for number in range(num_games):
            game = dataset.game(number % dataset.num_games)
            columns = {
                column.name: np.resize(game[column.name], GAME_FRAMES) for column in STORED if game.present(column.name)
            }
            row = game.info | {
                "name": f"{number}.slp",
                "sha256": f"{number:064x}",
                "game_id": f"{number:016x}",
                "frames_hash": frames_hash(columns, {}),
                "num_frames": GAME_FRAMES,
                "split": "train",
            }
            writer.add_file(row["sha256"], row["name"], "accepted")
            writer.add_game(NewGame(row, columns, {}))
        writer.commit()


def peak_mb(folder: Path, dataset: Path) -> float:
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    arguments = ["train", str(folder / "experiment.yaml"), "--data", str(dataset), "--runs", str(folder / "runs")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=False, timeout=250
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["code"] in (0, None), done.stderr[-2000:]
    return float(told["peak_mb"])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_is_two_blocks_and_a_constant(dataset: Dataset, tmp_path: Path) -> None:
    sizes = {"small": 4, "large": 80}
    for name, num_games in sizes.items():
        long_games(dataset, tmp_path / name, num_games)
    large = open_dataset(tmp_path / "large")
    assert large.num_frames * ROW.num_bytes / 1e6 >= 10 * BLOCK_MB
    peak = {name: peak_mb(tmp_path, tmp_path / name) for name in sizes}
    small_mb = sizes["small"] * GAME_FRAMES * ROW.num_bytes / 1e6  # resident, and part of the small run's peak
    growth = peak["large"] - peak["small"] + small_mb
    print(f"anonymous MB: {peak}, growth {growth:.0f}, block {BLOCK_MB:.0f}")
    assert growth <= 2 * BLOCK_MB + SLACK_MB
