"""Modal: what a training asks of it, checked before anything is paid for; and the backend that starts one and lets go.

Owns: the declaration's limits and image, the names of volumes, finding a call again. Must not: train, or be imported
before somebody asks for Modal; its client is an optional extra and is imported inside functions only.

The client checks none of this: an unknown GPU or too long a timeout is accepted and fails over there, later.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.launch.base import Order, Poll, write_order
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.prices import load_prices
from worldmodel.runs.status import read_status

APP = "melee-worldmodel"
DATA, RUNS = "/data", "/runs"
"""Where the two volumes are in a container."""
GPUS = (
    "T4", "L4", "A10", "L40S", "A100", "A100-40GB", "A100-80GB", "RTX-PRO-6000",
    "H100", "H100!", "H200", "B200", "B200+",
)  # fmt: skip
"""As Modal's documentation names them; `:2` behind one asks for two."""
MAX_TIMEOUT_S, MAX_RETRIES = 86_400, 10
NEEDED = (
    "torch",
    "numpy",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "typer",
    "rich",
    "safetensors",
    "py7zr",
    "psutil",
    "wandb",
)
"""What a training imports there."""
FILES = ("status.json", "events.jsonl", "metrics.jsonl", "pace.jsonl", "config.yaml", "run.json", "rules.yaml")
"""What is brought here of a run, whenever somebody asks how it stands."""
PREFIX = "WORLDMODEL_MODAL_"
STARTS_S = 300.0
"""Of the timeout of an attempt, what is left for starting and ending: training plans with the rest."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is asked of Modal. Each is set by WORLDMODEL_MODAL_<NAME>. secret: the one with WANDB_API_KEY, "" for none.
    budget_usd: what all attempts together may cost at the very worst, if somebody sets it."""

    gpu: str = "A100-40GB"
    cpu: float = 8.0
    memory_mb: int = 131_072
    timeout_s: int = MAX_TIMEOUT_S
    retries: int = MAX_RETRIES
    data_volume: str = "melee-data"
    runs_volume: str = "melee-runs"
    secret: str = ""
    budget_usd: float | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Declaration:
        """As the environment says. Raises WrongUse for what Modal would refuse later, or bill."""
        given: dict[str, Any] = {}
        for key, text in environment.items():
            name = key.removeprefix(PREFIX).lower()
            if key.startswith(PREFIX):
                kinds = {"cpu": float, "memory_mb": int, "timeout_s": int, "retries": int, "budget_usd": float}
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
        """What `of_environment` makes the same of: for the containers, which declare it all again."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items() if value is not None}

    @property
    def gpus(self) -> list[str]:
        """In the order of preference."""
        return [part.strip() for part in self.gpu.split(",") if part.strip()]

    def check(self) -> None:
        """Raises WrongUse."""
        for gpu in self.gpus or [""]:
            name, _, num = gpu.partition(":")
            if name not in GPUS or (num and not (num.isdigit() and 1 <= int(num) <= 8)):
                raise WrongUse(f"GPU {gpu!r}", f"one of {', '.join(GPUS)}, with :2 to :8 for more", f"set {PREFIX}GPU")
        if not 60 <= self.timeout_s <= MAX_TIMEOUT_S:
            raise WrongUse(
                f"a timeout of {self.timeout_s:,} s", f"60 to {MAX_TIMEOUT_S:,} (24 h)", "retries go on after it"
            )
        if not 0 <= self.retries <= MAX_RETRIES:
            raise WrongUse(f"{self.retries} retries", f"0 to {MAX_RETRIES}", f"set {PREFIX}RETRIES")
        worst = self.worst_usd()
        if self.budget_usd is not None and worst is not None and worst > self.budget_usd:
            raise WrongUse(
                f"{self.retries + 1} attempts of {self.timeout_s / 3600:g} h on {self.gpu} may cost ${worst:,.0f}",
                f"at most ${self.budget_usd:,.0f}",
                "lower the timeout or the retries, or raise the budget",
            )

    def worst_usd(self) -> float | None:
        """What every attempt to its last second would cost, by the table of prices; None if a GPU has no price there.
        Cores and memory are not in the table."""
        prices, most = load_prices(), 0.0
        for gpu in self.gpus:
            name, _, num = gpu.partition(":")
            name = name.rstrip("!+")
            price = prices.of("A100-40GB" if name == "A100" else name)
            if price is None:
                return None
            most = max(most, price.usd_per_hour * int(num or 1))
        return most * self.timeout_s / 3600 * (self.retries + 1)


def pins(root: Path | None = None) -> list[str]:
    """The versions that the image is made of: those of constraints.txt, else those installed here.

    Raises WrongUse for a package that has neither.
    """
    file = (root or Path(__file__).resolve().parents[2]) / "constraints.txt"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    known = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    found = []
    for name in NEEDED:
        version = known.get(name)
        if version is None:
            with suppress(metadata.PackageNotFoundError):
                version = metadata.version(name).partition("+")[0]
        if version is None:
            raise WrongUse(f"no version of {name}", "constraints.txt, or an installed one", f"pip install {name}")
        found.append(f"{name}=={version}")
    return found


# ---- the backend -------------------------------------------------------------------------------------------------


class Modal:
    """The contract of `base.Backend`, on Modal. The run lies on a volume there; what of it is small is brought here."""

    name = "modal"

    def __init__(self, cloud: Cloud | None = None) -> None:
        self._cloud = cloud or Cloud()

    def submit(self, run: RunFolder, order: Order) -> Order:
        """Start the call and let go of it. Raises WrongUse: no client, no token, words that do not go over."""
        again = order.again[order.again.index("--resume") + 2 :] if run.provenance.exists() else None
        arguments = call_arguments(run.id, order.first if again is None else ["train", *again], again is not None)
        call = self._cloud.spawn(arguments)
        order = order.model_copy(update={"job": {"call": call}})
        write_order(run, order)
        # Of a machine that nobody here can see into.
        process = {"pid": 0, "start": 0.0, "boot_id": f"modal {call}", "host": f"Modal, call {call}"}
        atomic.write_json(run.status, {"format": 1, "phase": "starting", "reason": None, "process": process})
        atomic.write_json(run.care, {"worker": process, "attempt": 1})
        return order

    def poll(self, run: RunFolder, order: Order) -> Poll:
        """By what Modal says of the call; brings the run's record here first."""
        state, detail = self._cloud.state(order.job["call"])
        self._cloud.fetch(run)  # after it: of a call that is over, the last word
        status = read_status(run) or {"format": 1}
        is_ended = status.get("phase") == "ended"
        if state == "over" and not is_ended:
            atomic.write_json(run.status, status | {"phase": "ended", "reason": detail or "the call is over"})
        elif state == "running" and is_ended:  # one attempt is over, the next is on its way
            atomic.write_json(run.status, status | {"phase": "starting", "reason": None})
        return Poll(state, detail)

    def logs(self, run: RunFolder, order: Order) -> list[Path]:
        """What the call said, brought here."""
        run.err.write_text(self._cloud.logs(order.job["call"]), encoding="utf-8")
        return [run.err]

    def stop(self, run: RunFolder, order: Order, *, wait_s: float) -> str:
        """Cancel the call: the training hears of it, saves and leaves."""
        call = order.job["call"]
        if self._cloud.state(call)[0] == "over":
            return "was not running"
        self._cloud.cancel(call)
        until = time.monotonic() + wait_s
        while self._cloud.state(call)[0] != "over":
            if time.monotonic() > until:
                return f"was asked to end and had not after {wait_s:g} s; see modal.com"
            time.sleep(2)
        self.poll(run, order)
        return "stopped"

    def describe(self, order: Order) -> str:
        """Which call."""
        return f"Modal call {order.job.get('call', '(not submitted)')}"


def call_arguments(name: str, words: list[str], is_resumed: bool) -> dict[str, Any]:
    """Arguments of the function over there for the words of `worldmodel train`. Raises WrongUse for a word that means
    nothing there."""
    words = words[words.index("train") + 1 :]
    known: dict[str, Any] = {"run_name": name, "encoded_file": "", "overrides": ""}
    options = {"--data": "encoded_file", "--epochs": "epochs", "--rules": "rules", "--track": "track",
               "--track-project": "track_project", "--track-entity": "track_entity"}  # fmt: skip
    plain, rest = [], iter(words)
    for word in rest:
        if word in ("--into", "--device", "--name", "--runs"):
            next(rest, None)  # of this machine
        elif word in options:
            known[options[word]] = next(rest, "")
        elif word.startswith("--"):
            raise WrongUse(f"{word} on Modal", f"one of {', '.join(options)}", "leave it out")
        else:
            plain.append(word)
    if not is_resumed and plain:
        known["config"] = plain.pop(0)
    known["overrides"] = json.dumps(plain) if plain else ""
    if "epochs" in known:
        known["epochs"] = int(known["epochs"])
    if "rules" in known:
        known["rules"] = Path(known["rules"]).read_text(encoding="utf-8")
    config = Path(known.get("config", ""))
    if config.suffix and config.is_file():
        known["config"] = config.read_text(encoding="utf-8")
    return known | ({"resume": name} if is_resumed else {})


class Cloud:
    """The few things that are asked of Modal's client; tests have another one."""

    def spawn(self, arguments: dict[str, Any]) -> str:
        """Start the training function, detached from this process; the call's id."""
        modal = _modal()
        from worldmodel.scripts.modal_train import app, train

        def go() -> str:
            with app.run(detach=True):
                return str(train.spawn(**arguments).object_id)

        return str(_said(modal, go))

    def state(self, call: str) -> tuple[str, str]:
        """ "running", "over" or "unknown", and more of it."""
        modal = _modal()
        try:
            modal.FunctionCall.from_id(call).get(timeout=0)
        except TimeoutError:
            return "running", f"call {call}"
        except modal.exception.OutputExpiredError:
            return "over", "its result has expired"
        except (modal.exception.AuthError, modal.exception.ConnectionError) as error:
            return "unknown", f"{error}"
        except Exception as error:  # noqa: BLE001  what the training raised over there comes back as it was
            return "over", f"{type(error).__name__}: {error}"
        return "over", ""

    def fetch(self, run: RunFolder) -> None:
        """The small files of a run, from the volume; those that are not there are left out."""
        modal = _modal()
        volume = modal.Volume.from_name(Declaration.of_environment().runs_volume)
        for name in FILES:
            try:
                data = b"".join(volume.read_file(f"{run.id}/{name}"))
            except (FileNotFoundError, modal.exception.NotFoundError):
                continue
            except (modal.exception.AuthError, modal.exception.ConnectionError):
                return
            atomic.write_bytes(run.path / name, data)

    def logs(self, call: str) -> str:
        """What the call said so far."""
        done = subprocess.run(
            ["modal", "app", "logs", APP, "--function-call", call],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout or done.stderr

    def cancel(self, call: str) -> None:
        """Ask it to end."""
        modal = _modal()
        _said(modal, lambda: modal.FunctionCall.from_id(call).cancel())


def _modal() -> Any:
    try:
        import modal
    except ImportError:
        raise WrongUse("Modal without its client", "the extra", "pip install 'worldmodel[modal]'") from None
    return modal


def _said(modal: Any, act: Callable[[], Any]) -> Any:
    """A call of the client, whose refusals are one line."""
    try:
        return act()
    except modal.exception.AuthError:
        raise WrongUse(
            "Modal without a token", "an account's", "modal token new, or MODAL_TOKEN_ID and _SECRET"
        ) from None
    except modal.exception.ConnectionError as error:
        raise WrongUse(f"Modal: {error}", "a connection", "try again") from None
