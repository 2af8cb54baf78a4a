"""What a backend is: something that runs a command for a run folder where it does not depend on us.

Owns: the order (launch.json) and the contract of backends. Must not: know any platform. To add a backend: one file with
a class that keeps the contract, and its name in `backend_of`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from worldmodel.errors import WrongUse
from worldmodel.launch.team import team_command
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.strict import Strict

FORMAT = 1
AFAR = ("modal",)
"""Backends whose runs lie on machines that only the platform can see into."""


class Order(Strict):
    """What shall be run, as it stands in launch.json.

    first, again: the commands that begin the run and that go on with it. device: the name that others who want it meet;
    null: not held. retries: lives after the first, each only if the one before got on (see `watcher`).
    time_limit_s: of all lives together. look_s: between two looks of the watcher. job: what finds the job again.
    asks: of the platform, in its own words. processes: that train together in each life. card: the file that the run's
    end is written on; card_hash: what was signed of it; instead_of: the run whose fallback this one is.
    """

    format: int = FORMAT
    backend: str = "local"
    first: list[str]
    again: list[str]
    cwd: str
    device: str | None = None
    retries: NonNegativeInt = 0
    time_limit_s: PositiveFloat | None = None
    look_s: PositiveFloat = 5.0
    submitted_at: str = ""
    job: dict[str, str] = Field(default_factory=dict)
    asks: dict[str, str] = Field(default_factory=dict)
    processes: PositiveInt = 1
    card: str | None = None
    card_hash: str | None = None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """What a backend says of a job. state: "waiting", "running", "over", or "unknown"; detail: in its own words."""

    state: str
    detail: str = ""


class Backend(Protocol):
    """The contract. Every method is about one run folder, which must be seen from here and from where the job runs."""

    name: str

    def submit(self, run: RunFolder, order: Order) -> Order:
        """Start the job and return without waiting for it; the order with what finds it again. Raises WrongUse."""

    def poll(self, run: RunFolder, order: Order) -> Poll:
        """How the job stands, by what the platform says."""

    def logs(self, run: RunFolder, order: Order) -> list[Path]:
        """Files that hold what the job said, the most telling last."""

    def stop(self, run: RunFolder, order: Order, *, wait_s: float) -> str:
        """Ask the job to save and end, wait for that, and end it by force if it does not. Returns what happened."""

    def describe(self, order: Order) -> str:
        """Where the job runs, in a few words."""


def backend_of(name: str) -> Backend:
    """A backend by its name. Raises WrongUse."""
    if name == "local":
        from worldmodel.launch.local import Local

        return Local()
    if name == "slurm":
        from worldmodel.launch.slurm import Slurm

        return Slurm()
    if name == "modal":
        from worldmodel.launch.modal import Modal

        return Modal()
    raise WrongUse(f"backend {name!r}", "local, slurm or modal", "write --backend local")


def train_commands(
    run: RunFolder, arguments: list[str], *, later: list[str], processes: int = 1
) -> tuple[list[str], list[str]]:
    """(first, again): `arguments` of `worldmodel train` for a new run into this folder, `later` for its resumption."""
    start = team_command(processes, [sys.executable, "-m", "worldmodel", "train"])
    path = str(run.path.resolve())
    return [*start, *arguments, "--into", path], [*start, "--resume", path, *later]


def write_order(run: RunFolder, order: Order) -> None:
    """Keep the order in the run folder. Raises OSError."""
    atomic.write_json(run.launch, order.model_dump(mode="json"))


def read_order(run: RunFolder) -> Order | None:
    """The order that a run was launched with; None if it was not, or if the file is not ours to read."""
    try:
        return Order.model_validate(json.loads(run.launch.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None


def read_care(run: RunFolder) -> dict[str, Any]:
    """Who looks after the run, and its worker: {supervisor, worker, attempt, ended}; empty before there is one."""
    try:
        value = json.loads(run.care.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
