"""The device of a run, and what is only worth it on some: half precision, compilation, kernels of our own.

Owns: the choice. Must not: change a number without `announce` telling it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch

from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel
from worldmodel.training.config import Experiment, Training
from worldmodel.training.team import is_launched


def choose_device(name: str | None) -> torch.device:
    """A device by name, or the best there is; under `torchrun` each process its own. Raises WrongUse."""
    if name in (None, "cuda") and torch.cuda.is_available() and is_launched():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise WrongUse(f"device {name!r}", "cpu, cuda or cuda:N", "leave it out to take the best there is") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = f"{torch.cuda.device_count()} CUDA devices"
        raise WrongUse(f"device {name!r}, with {have} here", "a device of this machine", "leave it out, or say cpu")
    return device


def uses_bf16(training: Training, device: torch.device) -> bool:
    """Whether the model runs in bfloat16; by itself ("auto") only on a CUDA device that has it."""
    if training.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return training.precision == "bf16"


def uses_compile(training: Training, device: torch.device) -> bool:
    """Whether the step is compiled; by itself ("auto") only on CUDA with Triton, where it pays within minutes."""
    if training.compile == "auto":
        return device.type == "cuda" and find_spec("triton") is not None
    return training.compile


def use_kernels(model: WorldModel, experiment: Experiment, device: torch.device) -> None:
    """Have the model use kernels of our own, if the experiment says so. Raises WrongUse where they cannot run."""
    if experiment.training.kernels == "torch":
        return
    way_out = "set training.kernels to torch"
    if find_spec("triton") is None:
        raise WrongUse("training.kernels: triton, without Triton", "PyTorch for CUDA, which has it", way_out)
    # Triton's interpreter runs kernels on a CPU: for tests, ten thousand times slower.
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise WrongUse(f"training.kernels: triton on {device}", "a CUDA device", way_out)
    model.use_kernels(experiment.data.length)
