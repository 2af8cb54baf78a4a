"""What is asked of Modal, checked before anything is paid for.

Owns: the declaration's words and limits, the image's pins, the names of volumes. Must not: import Modal's client.

The client checks none of this: an unknown GPU or too long a timeout is accepted and fails over there, later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.runs.prices import load_prices

APP = "melee-worldmodel"
DATA, RUNS, PARTS = "/data", "/runs", "/parts"
"""Where the volumes are in a container."""
GPUS = (
    "T4", "L4", "A10", "L40S", "A100", "A100-40GB", "A100-80GB", "RTX-PRO-6000",
    "H100", "H100!", "H200", "B200", "B200+",
)  # fmt: skip
"""As Modal's documentation names them. One of them: a run there trains on one device."""
MAX_TIMEOUT_S, MAX_RETRIES = 86_400, 10
NEEDED = (
    "torch", "numpy", "pyarrow", "pydantic", "ruamel.yaml", "typer", "rich", "safetensors", "py7zr", "psutil",
)  # fmt: skip
"""What a training imports there."""
WELCOME = ("wandb", "nvidia-ml-py")
"""What it uses besides, if there is a version of it here."""
PREFIX = "WORLDMODEL_MODAL_"
STARTS_S = 300.0
"""Of the timeout of an attempt, what is left for starting and ending: training plans with the rest."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is asked of Modal. Each is set by WORLDMODEL_MODAL_<NAME>, and by the card of a run before that.

    gpu: one or more, in the order of preference, separated by commas. timeout_s: of one attempt. secret: the one with
    WANDB_API_KEY, "" for none. cards: folder, here, of the cards that go along. budget_usd: what all attempts together
    may cost at the very worst, if somebody sets it.
    """

    gpu: str = "A100-40GB"
    cpu: float = 8.0
    memory_mb: int = 131_072
    timeout_s: int = MAX_TIMEOUT_S
    retries: int = MAX_RETRIES
    data_volume: str = "melee-data"
    runs_volume: str = "melee-runs"
    parts_volume: str = "melee-parts"
    secret: str = ""
    cards: str = "cards"
    budget_usd: float | None = None

    @classmethod
    def of(
        cls, asks: Mapping[str, str | float] | None = None, environment: Mapping[str, str] = os.environ
    ) -> Declaration:
        """`asks` (of a run's own order), else what the environment says. Raises WrongUse for what Modal would refuse
        later, or bill."""
        words = {key: text for key, text in environment.items() if key.startswith(PREFIX)}
        words |= {f"{PREFIX}{name.upper()}": str(value) for name, value in (asks or {}).items()}
        kinds = {"cpu": float, "memory_mb": int, "timeout_s": int, "retries": int, "budget_usd": float}
        given: dict[str, Any] = {}
        for key, text in words.items():
            name = key.removeprefix(PREFIX).lower()
            if name not in cls.__slots__:
                raise WrongUse(f"{key}", f"{PREFIX} and one of {', '.join(cls.__slots__)}", "check the name")
            try:
                given[name] = kinds.get(name, str)(text)
            except ValueError:
                raise WrongUse(f"{key}={text}", "a number", "mend it, or unset it") from None
        declared = cls(**given)
        declared.check()
        return declared

    def as_environment(self) -> dict[str, str]:
        """What `of` makes the same of: for the containers, which declare it all again."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items() if value is not None}

    @property
    def gpus(self) -> list[str]:
        """In the order of preference."""
        return [part.strip() for part in self.gpu.split(",") if part.strip()]

    def check(self) -> None:
        """Raises WrongUse."""
        for gpu in self.gpus or [""]:
            if gpu not in GPUS:
                raise WrongUse(f"GPU {gpu!r}", f"one of {', '.join(GPUS)}", f"set {PREFIX}GPU")
        if not 60 <= self.timeout_s <= MAX_TIMEOUT_S:
            raise WrongUse(
                f"a timeout of {self.timeout_s:,} s", f"60 to {MAX_TIMEOUT_S:,} (24 h)", "retries go on after it"
            )
        if not 0 <= self.retries <= MAX_RETRIES:
            raise WrongUse(f"{self.retries} retries", f"0 to {MAX_RETRIES}", f"set {PREFIX}RETRIES")
        worst = self.worst_usd()
        if self.budget_usd is not None and worst is not None and worst > self.budget_usd:
            raise WrongUse(
                self.in_words(),
                f"at most ${self.budget_usd:,.0f}",
                "lower the timeout or the retries, or raise the budget",
            )

    def worst_usd(self) -> float | None:
        """What every attempt to its last second would cost, by the table of prices; None if a GPU has no price there.
        Cores and memory are not in the table."""
        prices, most = load_prices(), 0.0
        for gpu in self.gpus:
            name = gpu.rstrip("!+")
            price = prices.of("A100-40GB" if name == "A100" else name)
            if price is None:
                return None
            most = max(most, price.usd_per_hour)
        return most * self.timeout_s / 3600 * (self.retries + 1)

    def in_words(self) -> str:
        """For people: what may be used, and what that costs at the very worst."""
        worst = self.worst_usd()
        cost = "of unknown price" if worst is None else f"${worst:,.0f} at the very worst, besides cores and memory"
        return f"{self.retries + 1} attempts of {self.timeout_s / 3600:g} h on {' or '.join(self.gpus)}: {cost}"


def pins(root: Path | None = None) -> list[str]:
    """The versions that the image is made of: those of constraints.txt, else those installed here.

    Raises WrongUse for a package that is needed and has neither.
    """
    file = (root or Path(__file__).resolve().parents[2]) / "constraints.txt"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    known = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    found = []
    for name in (*NEEDED, *WELCOME):
        version = known.get(name)
        if version is None:
            with suppress(metadata.PackageNotFoundError):
                version = metadata.version(name).partition("+")[0]
        if version is not None:
            found.append(f"{name}=={version}")
        elif name in NEEDED:
            raise WrongUse(f"no version of {name}", "constraints.txt, or an installed one", f"pip install {name}")
    return found
