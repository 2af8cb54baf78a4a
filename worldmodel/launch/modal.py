"""Modal as a backend: starts a training there and lets go of it, finds it again, brings its record here.

Owns: the words that go over, what is known of a call, the small files of a run. Must not: train, or be imported before
somebody asks for Modal; its client is an optional extra and is imported inside functions only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.launch.base import Order, Poll, write_order
from worldmodel.launch.modal_asks import Declaration
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import read_status

FILES = (
    "status.json", "events.jsonl", "metrics.jsonl", "pace.jsonl", "config.yaml", "run.json", "rules.yaml",
    "tracker.jsonl", "code.diff", "latest.json",
)  # fmt: skip
"""What is brought here of a run, whenever somebody asks how it stands. Checkpoints stay there."""
LOOK_S = 5.0
"""Between two questions about one call: screens ask much more often."""
DEAF_S = 60.0
"""After an answer that did not come: waiting for one takes a minute, and a table of runs has many."""
OPTIONS = {
    "--data": "encoded_file", "--epochs": "epochs", "--rules": "rules", "--track": "track",
    "--track-project": "track_project", "--track-entity": "track_entity",
}  # fmt: skip
"""Words of `worldmodel train` that mean something there, and what the function calls them."""


class Modal:
    """The contract of `base.Backend`, on Modal. The run lies on a volume there; what of it is small is brought here."""

    name = "modal"

    def __init__(self, cloud: Cloud | None = None, *, look_s: float = LOOK_S) -> None:
        self._cloud, self._look_s = cloud or Cloud(), look_s

    def submit(self, run: RunFolder, order: Order) -> Order:
        """Start the call and let go of it. Raises WrongUse: no client, no token, no such dataset, words that do not go
        over."""
        if order.processes > 1:
            raise WrongUse(f"{order.processes} devices on Modal", "one", "leave --devices out, or the card's devices")
        again = order.again[order.again.index("--resume") + 2 :] if run.provenance.exists() else None
        arguments = call_arguments(run.id, order.first if again is None else ["train", *again], again is not None)
        if again is not None and not arguments["encoded_file"]:
            arguments["encoded_file"] = _data_of(run)
        if order.card_hash:
            arguments["card"] = order.card_hash
        if order.time_limit_s is not None:
            arguments["time_limit_s"] = order.time_limit_s
        declared = Declaration.of({"retries": min(order.retries, 10), **order.asks})
        self._cloud.require(declared, arguments["encoded_file"])
        job = self._cloud.spawn(declared, arguments)
        order = order.model_copy(update={"job": job | {"asked": declared.in_words()}})
        write_order(run, order)
        # Of a machine that nobody here can see into.
        process = {"pid": 0, "start": 0.0, "boot_id": f"modal {job['call']}", "host": f"Modal, call {job['call']}"}
        atomic.write_json(run.status, {"format": 1, "phase": "starting", "reason": None, "process": process})
        atomic.write_json(run.care, {"worker": process, "attempt": 1})
        return order

    def poll(self, run: RunFolder, order: Order) -> Poll:
        """By what Modal says of the call; brings the run's record here first. Asks at most every few seconds."""
        call = order.job.get("call", "")
        known = _POLLS.get(call)
        if known is not None and time.monotonic() < known.until:
            return known.poll
        try:
            poll = self._poll(run, call)
        except WrongUse as error:  # no client here, no token: a table of runs is shown nevertheless
            poll = Poll("unknown", str(error))
        wait_s = {"unknown": DEAF_S, "over": 0.0}.get(poll.state, self._look_s)
        _POLLS[call] = _Known(poll, time.monotonic() + wait_s)
        return poll

    def _poll(self, run: RunFolder, call: str) -> Poll:
        state, detail = self._cloud.state(call)
        if state == "unknown":
            return Poll(state, detail)
        self._cloud.fetch(run)  # after it: of a call that is over, the last word
        status = read_status(run) or {"format": 1}
        is_ended = status.get("phase") == "ended"
        if state == "over" and not is_ended:
            detail = self._last_words(call) or detail
            atomic.write_json(run.status, status | {"phase": "ended", "reason": detail or "the call is over"})
        elif state == "running" and is_ended:  # one attempt is over, the next is on its way
            atomic.write_json(run.status, status | {"phase": "starting", "reason": None})
        return Poll(state, detail)

    def _last_words(self, call: str) -> str:
        """Why no attempt of a call shall follow, as the local supervisor would say it; "" if it did not say so."""
        told = self._cloud.told(call)
        fatal, code = str(told.get("fatal") or ""), int(told.get("exit_code") or 1)
        return f"exit code {code}: worldmodel: {fatal}" if fatal else ""

    def logs(self, run: RunFolder, order: Order) -> list[Path]:
        """What the call said, brought here; if it gave up, that at the end."""
        text = self._cloud.logs(order.job)
        last = self._last_words(order.job["call"]).partition(": ")[2]
        run.err.write_text(f"{text.rstrip()}\n{last}\n" if last else text, encoding="utf-8")
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
        _POLLS.pop(call, None)
        self.poll(run, order)
        return "stopped"

    def describe(self, order: Order) -> str:
        """Which call, and what it may cost."""
        asked = order.job.get("asked")
        return f"Modal, call {order.job.get('call', '(not submitted)')}{f' ({asked})' if asked else ''}"


@dataclass(frozen=True, slots=True)
class _Known:
    poll: Poll
    until: float


_POLLS: dict[str, _Known] = {}
"""Last answers, by call: of this process, whichever screen of it asked."""


# ---- what goes over ----------------------------------------------------------------------------------------------


def call_arguments(name: str, words: list[str], is_resumed: bool) -> dict[str, Any]:
    """Arguments of the function over there for the words of `worldmodel train`.

    A dataset that lies here is taken for the one of the same name there, and must have the same content. Raises
    WrongUse for a word that means nothing there.
    """
    words = words[words.index("train") + 1 :]
    known: dict[str, Any] = {"run_name": name, "encoded_file": "", "overrides": ""}
    plain, rest = [], iter(words)
    for word in rest:
        if word in ("--into", "--name", "--runs"):
            next(rest, None)  # of this machine
        elif word in OPTIONS:
            known[OPTIONS[word]] = next(rest, "")
        elif word.startswith("--"):
            raise WrongUse(f"{word} on Modal", f"one of {', '.join(OPTIONS)}", "leave it out")
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
    here = Path(known["encoded_file"] or ".")
    if known["encoded_file"] and here.exists():
        known["encoded_file"] = f"/{here.name}"
        if manifest := _manifest(here):
            known["data_hash"] = str(manifest["content_hash"])
    return known | ({"resume": name} if is_resumed else {})


def _manifest(folder: Path) -> dict[str, Any]:
    """Of a dataset that lies here. Its content hash is all that is wanted, and this room knows no datasets."""
    try:
        value = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and "content_hash" in value else {}


def _data_of(run: RunFolder) -> str:
    """The dataset that a run was begun on, where it lay in the container. Raises WrongUse."""
    try:
        return str(json.loads(run.provenance.read_text(encoding="utf-8"))["dataset"]["path"])
    except (OSError, ValueError, KeyError, TypeError):
        raise WrongUse(f"{run.path} does not say what it was begun on", "--data", "give it with --data") from None


# ---- the client --------------------------------------------------------------------------------------------------


class Cloud:
    """The few things that are asked of Modal's client; tests have another one."""

    def require(self, declared: Declaration, name: str) -> None:
        """Raises WrongUse if the data volume has no such file: said here, before a GPU waits for it."""
        modal = _modal()
        if name.startswith(("/data/", "/runs/")):  # as the container that began the run saw it
            return
        volume = modal.Volume.from_name(declared.data_volume, create_if_missing=True)
        try:
            _said(modal, lambda: volume.listdir(name))
        except (FileNotFoundError, modal.exception.NotFoundError):
            raise WrongUse(
                f"no {name} on Modal's volume {declared.data_volume}",
                "a dataset, or an encoded file",
                f"modal volume put {declared.data_volume} DATASET {name}",
            ) from None

    def spawn(self, declared: Declaration, arguments: dict[str, Any]) -> dict[str, str]:
        """Start the training function, detached from this process; what finds it again."""
        modal = _modal()
        os.environ |= declared.as_environment()  # the door declares itself by it
        from worldmodel.scripts.modal_train import app, train

        def go() -> dict[str, str]:
            with modal.enable_output(), app.run(detach=True):
                return {"call": str(train.spawn(**arguments).object_id), "app": str(app.app_id)}

        found: dict[str, str] = _said(modal, go)
        return found

    def state(self, call: str) -> tuple[str, str]:
        """ "running", "over" or "unknown", and more of it."""
        modal = _modal()
        try:
            modal.FunctionCall.from_id(call).get(timeout=0)
        except TimeoutError:
            return "running", f"call {call}"
        except modal.exception.OutputExpiredError:
            return "over", "its result has expired"
        except _no_answer(modal) as error:
            return "unknown", f"{error}"
        except (Exception, modal.exception.InputCancellation) as error:  # noqa: BLE001  as the training raised it there
            return "over", f"{type(error).__name__}: {error}"
        return "over", ""

    def fetch(self, run: RunFolder) -> None:
        """The small files of a run, from the volume; those that are not there are left out."""
        for name in FILES:
            if (data := self._read(f"{run.id}/{name}")) is not None:
                atomic.write_bytes(run.path / name, data)

    def told(self, call: str) -> dict[str, Any]:
        """What the attempts of a call left for each other; empty if nothing."""
        value = json.loads(self._read(f".calls/{call}.json") or b"{}")
        return value if isinstance(value, dict) else {}

    def _read(self, path: str) -> bytes | None:
        modal = _modal()
        volume = modal.Volume.from_name(Declaration.of().runs_volume)
        try:
            return b"".join(volume.read_file(path))
        except (FileNotFoundError, modal.exception.NotFoundError):
            return None
        except _no_answer(modal):
            return None

    def logs(self, job: dict[str, str]) -> str:
        """What the call said of late."""
        words = ["app", "logs", job.get("app", ""), "--function-call", job["call"], "--tail", "1000"]
        done = subprocess.run(
            [sys.executable, "-m", "modal", *words], capture_output=True, text=True, timeout=120, check=False
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


def _no_answer(modal: Any) -> tuple[type[Exception], ...]:
    """Errors of the way to Modal, or of Modal itself; they say nothing about a run."""
    names = (
        "Auth",
        "Connection",
        "Service",
        "Internal",
        "ResourceExhausted",
        "PermissionDenied",
        "DataLoss",
        "Version",
    )
    return (*(getattr(modal.exception, f"{name}Error") for name in names), modal.exception.ClientClosed)


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
