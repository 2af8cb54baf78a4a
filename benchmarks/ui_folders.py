"""Many run folders and a large dataset, made from one real one of each: what the local app is measured and tried on.

    python benchmarks/ui_folders.py --run RUN --data DATASET --out FOLDER [--runs 200] [--games 2000] [--rows 1500]

Runs get the real one's files; their rows are the real metrics along curves of their own, their states are all that
there are (finished, stopped, by rule, crashed, vanished, running in this process, half-written). The games of the
dataset are the real ones again and again under other ids, over the same shards (hard links).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from worldmodel.dataset.manifest import SHARDS, file_info, read_manifest, write_manifest
from worldmodel.launch.watcher import VANISHED
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity

STEPS_PER_EPOCH = 1147
RULES = """kill:
  - {rule: below, metric: val_change_acc, threshold: 0.45, after_epochs: 1}
  - {rule: not_decreasing, metric: loss/total, after_epochs: 0.2}
  - {rule: non_finite}
  - {rule: above, metric: loss/total, threshold: 10}
  - {rule: epoch_longer_than, hours: 8}
"""
ENDS = ("finished", "finished", "finished", "finished", "finished", "stopped: asked to", "rule: below",
        "RuntimeError: CUDA out of memory", f"{VANISHED}: process 4711 is gone without a word")  # fmt: skip


def make_runs(real: Path, out: Path, *, num: int, num_rows: int, seed: int = 0, num_running: int = 3) -> None:
    """`num` run folders under `out`, which must not exist. The running ones are this process's."""
    draw = random.Random(seed)
    out.mkdir(parents=True)
    source = RunFolder(real)
    rows = [json.loads(line) for line in source.metrics.read_text().splitlines()]
    like = {kind: next(row for row in reversed(rows) if row["kind"] == kind) for kind in ("train", "val")}
    naive = [row for row in rows if row["kind"] == "naive"]
    about = json.loads(source.provenance.read_text())
    newest = source.newest_checkpoint()[0].path
    for k in range(num):
        began = datetime(2026, 11, 23, tzinfo=UTC) - timedelta(hours=3 * k)
        width = draw.choice((96, 192, 384))
        run = RunFolder(out / f"mamba2-{width}-{draw.choice(('plain', 'noise', 'sf', 'k60', 'ema'))}-{num - k:04d}")
        run.path.mkdir()
        is_running = k < num_running
        done = draw.uniform(0.3, 0.9) if is_running else draw.choice((1, 1, 1, draw.uniform(0.1, 1)))
        _write_rows(run, like, naive, draw, num=max(8, int(num_rows * done)))
        last = STEPS_PER_EPOCH * 4 * done
        shutil.copy(source.config, run.config)
        run.provenance.write_text(json.dumps(about | {"started_at": began.isoformat(timespec="seconds")}))
        reason = None if is_running else "finished" if done == 1 else draw.choice(ENDS[5:])
        events: list[dict[str, Any]] = [{"event": "started", "step": 0, "num_steps": STEPS_PER_EPOCH * 4}]
        events += [{"event": "ended", "step": int(last), "reason": reason}] if reason else []
        at = began.isoformat(timespec="milliseconds")
        run.events.write_text("".join(json.dumps({"at": at} | event) + "\n" for event in events))
        beat = {"alive": 1, "progress": 1, "at_s": _now_s(), "progress_at_s": _now_s()}
        run.status.write_text(
            json.dumps(
                {"format": 1, "phase": "ended" if reason else "training", "reason": reason, "step": int(last),
                 "num_steps": STEPS_PER_EPOCH * 4, "eta_s": None if reason else 5400 * draw.random(),
                 "process": identity(os.getpid()), "heartbeat": beat, "spent_s": 9000 * done, "rules": []}
            )
        )  # fmt: skip
        run.rules.write_text(RULES)
        shutil.copytree(newest, run.checkpoints / newest.name, copy_function=os.link)
        if (real / "report").is_dir() and k % 4 == 0:
            shutil.copytree(real / "report", run.report, copy_function=os.link)
        stamp = began.timestamp()
        for file in run.path.iterdir():
            os.utime(file, (stamp, stamp))
    torn = RunFolder(out / "half-written")
    torn.path.mkdir()
    torn.provenance.write_text('{"started_at": "2026-')
    torn.metrics.write_text('{"kind":"train","step":1,"epoch":0.1,"loss/to')


def _now_s() -> float:
    import time

    return time.monotonic()


def _write_rows(
    run: RunFolder, like: dict[str, dict[str, Any]], naive: list[dict[str, Any]], draw: random.Random, *, num: int
) -> None:
    """Curves that fall or rise to a level of their own, with noise; values of a kind as large as the real ones."""
    level, pace, noise = draw.uniform(0.8, 1.25), draw.uniform(0.05, 0.3), draw.uniform(0.01, 0.06)
    with run.metrics.open("w") as metrics, run.pace.open("w") as paces:
        metrics.writelines(json.dumps(row) + "\n" for row in naive)
        for k in range(1, num + 1):
            step = k * 3
            epoch = step / STEPS_PER_EPOCH
            falls = level * (1 + 3 * math.exp(-epoch / pace) + noise * draw.gauss(0, 1))
            kinds = ("train", "val") if k % 80 == 0 or k == num else ("train",)
            for kind in kinds:
                row = dict(like[kind]) | {"step": step, "epoch": epoch}
                for name, value in row.items():
                    if name.endswith("acc"):
                        row[name] = value * (1 - 0.7 * math.exp(-epoch / pace)) * (1.1 - 0.1 * level)
                    elif "loss/" in name or name.endswith("mae") or name == "grad_norm":
                        row[name] = value * falls
                    elif name == "lr":
                        row[name] = value + 1e-3 * (1 - k / num)
                metrics.write(json.dumps(row) + "\n")
            if k % 10 == 0:
                speed = {"examples_per_s": 5200 + 300 * draw.gauss(0, 1), "step_ms": 340.0, "elapsed_s": 30.0}
                paces.write(json.dumps({"kind": "pace", "step": step, **speed, "memory_gb": 1.5}) + "\n")


def make_games(real: Path, out: Path, *, num: int) -> None:
    """A dataset of `num` games at `out`, which must not exist. Its frames are the real ones'."""
    manifest = read_manifest(real)
    (out / SHARDS).mkdir(parents=True)
    for info in manifest.all_files[2:]:
        os.link(real / info.name, out / info.name)
    shutil.copy(real / manifest.files.name, out / manifest.files.name)
    games = pyarrow.parquet.read_table(real / manifest.games.name)
    times = -(-num // games.num_rows)
    table = pa.concat_tables([games] * times).slice(0, num)
    ids = [f"{number:016x}" for number in range(num)]
    table = table.set_column(table.column_names.index("game_id"), "game_id", pa.array(ids))
    name = "games-many.parquet"
    pyarrow.parquet.write_table(table, out / name)
    frames = int(pa.compute.sum(table["num_frames"]).as_py())
    write_manifest(out, replace(manifest, games=file_info(out, name), num_games=num, num_frames=frames))


def main() -> None:
    arguments = argparse.ArgumentParser(description="Many run folders and a large dataset, from one of each.")
    arguments.add_argument("--run", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--games", type=int, default=2000)
    arguments.add_argument("--rows", type=int, default=1500)
    given = arguments.parse_args()
    make_runs(given.run, given.out / "runs", num=given.runs, num_rows=given.rows)
    make_games(given.data, given.out / "data", num=given.games)
    print(given.out / "runs", given.out / "data")


if __name__ == "__main__":
    main()
