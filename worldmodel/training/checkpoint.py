"""The state of a training run, on disk and back: one object, nothing beside it.

Owns: what is in `state.pt`. Must not: know when to save (that is the loop).

The step is the only clock: epoch and place in the epoch, learning rate, disturbance and sample order follow from it.
Only tensors and plain types are written, and only those are read back (`weights_only`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, save_weights
from worldmodel.runs.atomic import write_bytes
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.schema import LAYOUT

FORMAT = 1
"""1 (2026-11): first."""


@dataclass(slots=True)
class TrainState:
    """Everything that a run carries from step to step.

    step: updates done. unlogged: sums of the row of metrics that is not complete yet (see `Meter`).
    best: lowest validation loss so far, and the step it was seen at.
    """

    model: WorldModel
    optimizer: torch.optim.AdamW
    step: int = 0
    unlogged: Tensor | None = None
    best: dict[str, float] = field(default_factory=dict)


def save(run: RunFolder, state: TrainState, *, reason: str, keep_last: int, steps_per_epoch: int) -> CheckpointFolder:
    """Write a checkpoint, then drop those that are neither among the last `keep_last` nor at the end of an epoch."""
    device = state.model.like.device
    meta = {
        "format": FORMAT,
        "reason": reason,
        "epoch": state.step / steps_per_epoch,
        "codec_hash": LAYOUT.codec_hash,
        "arch": state.model.config.arch,
        "num_parameters": state.model.num_parameters(),
        "best": state.best,
    }
    content: dict[str, Any] = {
        "format": FORMAT,
        "step": state.step,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "unlogged": state.unlogged,
        "best": state.best,
        "rng": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        },
    }
    with run.new_checkpoint(state.step, meta) as folder:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(folder.state, buffer.getvalue())
        save_weights(state.model, folder.weights)
    steps = [checkpoint.step for checkpoint in run.all_checkpoints()]
    ends_of_epochs = {step for step in steps if step > 0 and step % steps_per_epoch == 0}
    run.drop_checkpoints(keep=set(steps[-keep_last:]) | ends_of_epochs)
    return run.all_checkpoints()[-1]


def restore(checkpoint: CheckpointFolder, state: TrainState) -> None:
    """Load a checkpoint into a freshly made state, which must be of the same experiment. Raises WrongUse."""
    device = state.model.like.device
    content = torch.load(checkpoint.state, map_location=device, weights_only=True)
    if content.get("format") != FORMAT or checkpoint.meta["codec_hash"] != LAYOUT.codec_hash:
        raise WrongUse(
            f"{checkpoint.path} was written with codec {checkpoint.meta['codec_hash']}, format {content.get('format')}",
            f"codec {LAYOUT.codec_hash}, format {FORMAT}",
            "resume it with the version in its run.json, or train again",
        )
    state.model.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step = content["step"]
    state.unlogged = content["unlogged"]
    state.best = content["best"]
    torch.set_rng_state(content["rng"]["cpu"].cpu())
    if device.type == "cuda" and content["rng"]["cuda"] is not None:
        torch.cuda.set_rng_state(content["rng"]["cuda"].cpu(), device)
