"""One run at a time on a device.

Owns: the locks of this machine's devices. Must not: know what a device can do.

The system's lock on a file of this machine. It is handed down to the process that trains, so that it is held as long as
that process lives, whoever else was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from worldmodel.errors import WrongUse

CPU = "cpu"


def device_name(asked: str | None, environment: Mapping[str, str], *, gpus: Path = Path("/dev/nvidia0")) -> str:
    """The device that a training would take, by a name that two ways of asking for it share.

    The number of a GPU is the machine's, whatever CUDA_VISIBLE_DEVICES makes of it.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        asked = "cuda" if gpus.exists() and visible not in ("", "-1") else CPU
    if not asked.startswith("cuda"):
        return asked
    index = int(asked.partition(":")[2] or 0)
    shown = visible.split(",") if visible else []
    return f"cuda:{shown[index].strip() if index < len(shown) else index}"


def device_names(asked: str | None, environment: Mapping[str, str], num: int) -> list[str]:
    """The devices that `num` processes would take, one each; processes on a CPU share it. Raises WrongUse."""
    first = device_name(asked, environment)
    if num == 1 or first == CPU:
        return [first]
    if asked not in (None, "cuda"):
        raise WrongUse(f"{num} devices, and --device {asked}", "one of the two", "leave --device out")
    return [device_name(f"cuda:{index}", environment) for index in range(num)]


def hold_device(name: str, run: Path) -> int:
    """Take a device for a run; returns the open file that holds it, to be handed to who trains. Raises WrongUse."""
    path = _locks() / f"{re.sub(r'[^A-Za-z0-9.-]', '-', name)}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        told = os.pread(handle, 10_000, 0)
        os.close(handle)
        owner = json.loads(told)["run"] if told else "another run"
        raise WrongUse(
            f"device {name} is taken by {owner}",
            "a free device",
            f"wait for it, end it with worldmodel stop {owner}, name another --device, or say --share-device",
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, json.dumps({"run": str(run)}).encode(), 0)
    return handle


def touch(handle: int) -> None:
    """Keep the file from looking forgotten to what sweeps old files."""
    os.utime(handle)


def _locks() -> Path:
    """Not in a home folder, which several machines may share."""
    folder = Path(tempfile.gettempdir()) / f"worldmodel-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
