"""The weights that somebody means: of a run its newest whole checkpoint, or a file by itself.

Owns: finding and naming them. Must not: know what they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, load_model
from worldmodel.runs.folder import RunFolder, sha256_of


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model, and what it was loaded from. run: its run's id, None for a file. problems: newer checkpoints' damage."""

    model: WorldModel
    weights: Path
    sha256: str
    run: str | None
    problems: tuple[str, ...]
    folder: RunFolder | None


def choose_model(path: Path, *, ema: bool = False, device: torch.device | str = "cpu") -> Chosen:
    """The model of a run folder or of a weights file. ema: the running mean of a run's weights. Raises WrongUse."""
    if path.is_file():
        if ema:
            raise WrongUse(f"--ema with the file {path}", "a run folder", "name the file of the mean itself")
        return Chosen(load_model(path, device=device), path, sha256_of(path), None, (), None)
    folder = RunFolder.open(path)
    newest = folder.newest_weights(ema=ema)
    return Chosen(
        load_model(newest.path, device=device), newest.path, newest.sha256, folder.id, newest.problems, folder
    )
