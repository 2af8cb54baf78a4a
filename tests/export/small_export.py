"""A model that is quick to export, and what an export of it is for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldmodel.export.folder import FILES
from worldmodel.export.runtime import Stepper
from worldmodel.models.base import WorldModel, make_model

SMALL: dict[str, dict[str, Any]] = {
    "mamba2": {"d_model": 16, "n_layers": 1, "d_state": 4, "headdim": 8, "chunk_size": 16, "relative": True},
    "mlp": {"context_len": 3, "d_token": 12, "hidden_dim": 24, "trunk_dim": 16, "frame_hidden": 20, "move_table": 60},
}
FRAMES = 60


def restless(arch: str, heads: str) -> WorldModel:
    """A small model of random weights whose dreams are full of changes: codes jump, gates open."""
    torch.manual_seed(3)
    model = make_model({"arch": arch, "heads": heads, **SMALL[arch]})
    with torch.no_grad():
        for parameter in model.get_submodule("heads").parameters():
            parameter.add_(torch.randn(parameter.shape))
    return model.eval()


@dataclass(frozen=True)
class Exported:
    path: Path
    weights: Path
    model: WorldModel
    said: list[str]
    report: dict[str, Any]

    def graph(self, kind: str = "float32") -> Stepper:
        return Stepper(self.path / FILES[kind])
