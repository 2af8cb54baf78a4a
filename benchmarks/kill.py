"""A training killed with SIGKILL at random moments and resumed ends as one that was left alone, bit by bit."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from common import finish, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "training"))


def make_dataset(place: Path) -> Path:
    """24 generated games of at most 300 frames."""
    from worldmodel.dataset.ingest import ingest
    from worldmodel.replays.source import iter_sources
    from worldmodel.replays.synth.game import Rules
    from worldmodel.replays.synth.generate import generate

    replays = place / "replays"
    replays.mkdir(parents=True)
    for name, data in generate(24, 1, rules=Rules(max_frames=300)):
        (replays / name).write_bytes(data)
    ingest(iter_sources([replays]), place / "dataset", filters=(), min_frames=1, workers=1)
    return place / "dataset"


def kill(place: Path, *, num_kills: int, seed: int, epochs: int, compiled: bool) -> None:
    """The long form of tests/training/test_killed.py."""
    from killing import aims, grounds, kill_until_finished, reference, summary
    from tiny_experiment import make_experiment

    from worldmodel.runs.strict import dump

    experiment = make_experiment(
        training={
            "epochs": epochs,
            "ema": 0.99,
            "checkpoint_every_min": 0.004,
            "log_every_s": 0.03,
            "val_every_fraction": 0.25,
            "val_windows": 64,
            "compile": compiled,
        },
        scheduled_sampling={"rate": 0.5, "noise": 0.1, "anneal_epochs": 2, "corrupt_frames": 3},
    )
    config = place / "killed.yaml"
    config.write_text(dump(experiment))
    began = time.monotonic()
    with grounds(place / "grounds", config, make_dataset(place), compiled=compiled) as here:
        left_alone, seconds = reference(here)
        print(f"left alone: {seconds:.1f} s; seed {seed}", flush=True)
        report = kill_until_finished(
            here, left_alone, num_kills=num_kills, seed=seed, horizon_s=max(2.0, seconds / 5), tell=_tell
        )
    header, rows = summary(report)
    print()
    table(header, rows)
    print()
    for text in report.differences or ["no difference: state.pt, both weights files and metrics.jsonl are identical"]:
        print(text)
    result = {
        "seed": seed,
        "compiled": compiled,
        "num_kills": len(report.kills),
        "num_runs": report.num_runs,
        "started_afresh": report.num_fresh_starts,
        "left_alone_s": round(seconds, 1),
        "seconds": round(time.monotonic() - began, 1),
        "kills_by_phase": {str(row[0]): row[1] for row in rows},
        "aimed_at": dict(aims(report)),
        "steps_lost": sum(kill.lost for kill in report.kills),
        "differences": report.differences,
    }
    finish("kill", result)
    sys.exit(bool(report.differences))


def _tell(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--kills", type=int, default=100)
    made.add_argument("--seed", type=int, default=20261123)
    made.add_argument("--epochs", type=int, default=40, help="length of the run that is killed")
    made.add_argument("--compile", action="store_true", help="with torch.compile")
    made.add_argument("--keep", type=Path, help="a new folder for the runs (default: a temporary one)")
    told = made.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = told.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        kill(place, num_kills=told.kills, seed=told.seed, epochs=told.epochs, compiled=told.compile)


if __name__ == "__main__":
    main()
