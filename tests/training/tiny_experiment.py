"""An experiment that trains in a second."""

from __future__ import annotations

from worldmodel.training.config import Experiment


def make_experiment(**changes: object) -> Experiment:
    """A model of seconds; `changes` are sections, by name."""
    sections = {
        "model": {"arch": "mamba2", "d_model": 32, "n_layers": 1, "d_state": 8, "headdim": 16},
        "data": {"mode": "sequence", "length": 16, "burn_in": 4},
        "training": {"epochs": 2, "batch_size": 16, "lr": 5e-3, "log_every_steps": 5, "val_windows": 32, "threads": 1},
    }
    for name, value in changes.items():
        sections[name] = sections.get(name, {}) | value if isinstance(value, dict) else value  # type: ignore[operator]
    return Experiment.model_validate(sections)
