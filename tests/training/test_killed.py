"""Killed with SIGKILL at any moment and resumed, a run ends as if nothing had happened: every bit, every row.

The short form; `benchmarks/kill.py` is the long one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import PHASES, grounds, kill_until_finished, reference
from tiny_experiment import make_experiment

from worldmodel.runs.strict import dump

SEED = 20261123


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_again_and_again(dataset_path: Path, tmp_path: Path) -> None:
    experiment = make_experiment(
        training={
            "epochs": 8,
            "ema": 0.99,
            "checkpoint_every_min": 0.002,
            "log_every_s": 0.02,
            "val_every_fraction": 0.5,
            "val_windows": 32,
        },
        scheduled_sampling={"rate": 0.5, "noise": 0.1, "anneal_epochs": 2, "corrupt_frames": 3},
    )
    config = tmp_path / "killed.yaml"
    config.write_text(dump(experiment))
    with grounds(tmp_path / "grounds", config, dataset_path) as here:
        left_alone, seconds = reference(here)
        report = kill_until_finished(here, left_alone, num_kills=24, seed=SEED, horizon_s=max(1.0, seconds / 4))
    assert report.differences == []
    hit = {kill.phase for kill in report.kills}
    assert {"begin", "first step", "step", "validate", "write"} <= hit <= set(PHASES), hit
