"""The state of a training run, on disk and back: one object, nothing beside it.

Owns: what is in `state.pt` and what a checkpoint says of itself; whether a run's experiment is still the one that it
was begun with. Must not: know when to save (that is the loop), or in which thread (that is the saver).

The step is the only clock: epoch and place in the epoch, learning rate, disturbance and sample order follow from it.
Only tensors and plain types are written, and only those are read back (`weights_only`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, save_weights
from worldmodel.runs import atomic, strict
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.schema import LAYOUT
from worldmodel.training.config import Experiment, differences, load_experiment

FORMAT = 2
"""1 (2026-11): first. 2 (2026-11): the running mean of the weights, `ema`; the experiment in meta.json; the samples of
an epoch are in another order, so that a run of before cannot be gone on with exactly."""

_HASH, _PENDING = "experiment_hash", "experiment_hash_pending"


@dataclass(slots=True)
class TrainState:
    """Everything that a run carries from step to step.

    step: updates done. unlogged: sums of the row of metrics that is not complete yet (see `Meter`).
    best: lowest validation loss so far ("value"), the "step" it was seen at, and of which "weights": "raw" or "ema".
    ema: the model with a running mean of the weights, if one is kept.
    """

    model: WorldModel
    optimizer: torch.optim.AdamW
    step: int = 0
    unlogged: Tensor | None = None
    best: dict[str, Any] = field(default_factory=dict)
    ema: WorldModel | None = None


# ---- out ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state at one step, on the CPU, shared with nobody: training may go on while it is written.

    model, ema: of whose config the weights files are made; their tensors are not looked at.
    copied: on CUDA, when the copies are complete.
    """

    step: int
    content: dict[str, Any]
    meta: dict[str, Any]
    model: WorldModel
    ema: WorldModel | None
    copied: torch.cuda.Event | None


def snapshot(state: TrainState, *, reason: str, experiment: Experiment, steps_per_epoch: int) -> Snapshot:
    """Copy a state. On CUDA the copies are only queued, behind the step that was queued last."""
    device = state.model.like.device
    content: dict[str, Any] = {
        "format": FORMAT,
        "step": state.step,
        "model": dict(state.model.state_dict()),
        "ema": None if state.ema is None else dict(state.ema.state_dict()),
        "optimizer": state.optimizer.state_dict(),
        "unlogged": state.unlogged,
        "best": state.best,
        "rng": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        },
    }
    meta = {
        "format": FORMAT,
        "reason": reason,
        "epoch": state.step / steps_per_epoch,
        "codec_hash": LAYOUT.codec_hash,
        "arch": state.model.config.arch,
        "num_parameters": state.model.num_parameters(),
        "best": dict(state.best),
        "experiment": experiment.model_dump(mode="json"),
        _HASH: strict.digest(experiment),
    }
    content = _copied(content)
    copied = None
    if device.type == "cuda":
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(device))
    return Snapshot(state.step, content, meta, state.model, state.ema, copied)


def write(run: RunFolder, taken: Snapshot, *, keep_last: int, steps_per_epoch: int) -> CheckpointFolder:
    """Write a snapshot as a checkpoint, then drop the ones that are not needed. Raises OSError; the others then stay.

    Kept are the last `keep_last` and those at the end of an epoch. What is later than this step belongs to a course of
    the run that was given up (it went on from an earlier checkpoint), and is dropped too.
    """
    if taken.copied is not None:
        taken.copied.synchronize()
    with run.new_checkpoint(taken.step, taken.meta) as folder:
        # Through memory: torch's own writer of files turns a full disk into an error without a number.
        buffer = io.BytesIO()
        torch.save(taken.content, buffer)
        with folder.state.open("wb") as file:
            file.write(buffer.getbuffer())
        save_weights(taken.model, folder.weights, weights=taken.content["model"])
        if taken.ema is not None:
            save_weights(taken.ema, folder.weights_ema, weights=taken.content["ema"])
    steps = [checkpoint.step for checkpoint in run.all_checkpoints() if checkpoint.step <= taken.step]
    ends_of_epochs = {step for step in steps if step > 0 and step % steps_per_epoch == 0}
    run.drop_checkpoints(keep=set(steps[-keep_last:]) | ends_of_epochs)
    return next(checkpoint for checkpoint in run.all_checkpoints() if checkpoint.step == taken.step)


def _copied(value: Any) -> Any:
    """Nested dicts and lists with every tensor copied to the CPU; from a device to pinned memory, without waiting."""
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(part) for part in value)
    if isinstance(value, Tensor):
        value = value.detach()
        if value.device.type == "cuda":
            pinned = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=True)
            return pinned.copy_(value, non_blocking=True)
        return value.to("cpu", copy=True)
    return value


# ---- back --------------------------------------------------------------------------------------------------------


def restore(checkpoint: CheckpointFolder, state: TrainState) -> None:
    """Load a checkpoint into a freshly made state, which must be of the same experiment. Raises WrongUse.

    A running mean that begins only now (an override) begins with the weights of the checkpoint.
    """
    _check_format(checkpoint)
    device = state.model.like.device
    content = torch.load(checkpoint.state, map_location=device, weights_only=True)
    state.model.load_state_dict(content["model"])
    if state.ema is not None:
        state.ema.load_state_dict(content["ema"] or content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step = content["step"]
    state.unlogged = content["unlogged"]
    state.best = content["best"]
    torch.set_rng_state(content["rng"]["cpu"].cpu())
    if device.type == "cuda" and content["rng"]["cuda"] is not None:
        torch.cuda.set_rng_state(content["rng"]["cuda"].cpu(), device)


def _check_format(checkpoint: CheckpointFolder) -> None:
    meta = checkpoint.meta
    if (meta["format"], meta["codec_hash"]) != (FORMAT, LAYOUT.codec_hash):
        raise WrongUse(
            f"{checkpoint.path} was written with codec {meta['codec_hash']}, format {meta['format']}",
            f"codec {LAYOUT.codec_hash}, format {FORMAT}",
            "resume it with the version in its run.json, or train again",
        )


# ---- the frozen experiment ---------------------------------------------------------------------------------------


def same_experiment(folder: RunFolder, told: dict[str, Any], *, overridden: Collection[str] = ()) -> Experiment:
    """The experiment in a run's config.yaml, if it is the one that the run was begun with or has recorded since.

    told: the content of run.json. overridden: dotted keys whose change is about to be recorded, and may therefore
    stand in the file already. Raises WrongUse, naming the changed keys where a checkpoint still knows the old values.
    """
    found = load_experiment(folder.config)
    if _HASH not in told or strict.digest(found) in (told[_HASH], told.get(_PENDING)):
        return found
    before, its_hash = _experiment_of_newest(folder)
    changed = {} if before is None else differences(before, found)
    is_recorded = its_hash in (told[_HASH], told.get(_PENDING))
    if before is not None and is_recorded and not changed.keys() - set(overridden):
        return before
    keys = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in changed.items()) or "which keys is not known"
    first = next((f"{key}={new}" for key, (_, new) in changed.items()), "KEY=VALUE")
    raise WrongUse(
        f"{folder.config} was edited under the run ({keys})",
        "the experiment that the run was begun with",
        f"undo the edit, or say {first} after --resume, which records it",
    )


def record_experiment(folder: RunFolder, experiment: Experiment) -> None:
    """Make `experiment` the run's own: run.json and config.yaml. Killed in between, both are still accepted."""
    told = json.loads(folder.provenance.read_text(encoding="utf-8"))
    new_hash = strict.digest(experiment)
    atomic.write_json(folder.provenance, told | {_PENDING: new_hash})
    atomic.write_text(folder.config, strict.dump(experiment))
    atomic.write_json(folder.provenance, told | {_HASH: new_hash})


def _experiment_of_newest(folder: RunFolder) -> tuple[Experiment | None, str | None]:
    """What the newest checkpoint was trained with, and its hash at that time: keys may have been added since."""
    newest = folder.newest_checkpoint()[0]
    _check_format(newest)  # the better reason, where both hold
    meta = newest.meta
    try:
        return Experiment.model_validate(meta.get("experiment")), meta.get(_HASH)
    except ValidationError:  # written by another version of this package, whose keys were others
        return None, None
