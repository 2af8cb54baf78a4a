"""What the verbs that measure share: the settings and the dataset of a run.

Owns: how a run's own experiment enters an evaluation. Must not: measure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldmodel.dataset.store import Dataset
    from worldmodel.evaluation.protocol import Settings
    from worldmodel.runs.folder import RunFolder


def settings_for(run: RunFolder, **choices: Any) -> Settings:
    """Settings with the windows and loss weights of the run's experiment. choices: fields of `Settings`."""
    from worldmodel.evaluation.protocol import Settings
    from worldmodel.training.config import load_experiment

    experiment = load_experiment(run.config)
    return Settings(
        length=experiment.data.length, burn_in=experiment.data.loss_from, weights=experiment.weights, **choices
    )


def dataset_for(run: RunFolder, data: Path | None) -> Dataset:
    """The dataset in `data`, else the one that the run was trained on. Raises WrongUse if there is none."""
    from worldmodel.dataset.store import open_dataset

    return open_dataset(data or json.loads(run.provenance.read_text(encoding="utf-8"))["dataset"]["path"])
