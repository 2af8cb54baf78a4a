"""A launch on Modal from order to end, with a process as its container and folders as its volumes.

Everything is the real thing but the client: the words that go over, the function that they are for, the health line,
status, the end, going on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from worldmodel.dataset.ingest import ingest
from worldmodel.errors import WrongUse
from worldmodel.launch import board, health, start
from worldmodel.launch.base import Order
from worldmodel.launch.modal import FILES, Modal
from worldmodel.launch.modal_asks import Declaration
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games
from worldmodel.runs.folder import RunFolder

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)"
    ),
    pytest.mark.slow,
]

CONTAINER = """
import json, sys, warnings
warnings.simplefilter("ignore")
from worldmodel.scripts.modal_train import train
train.local(**json.loads(sys.argv[1]))
"""


class ProcessCloud:
    """Modal, as far as it is asked: a call is a process, a volume a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.calls: dict[str, subprocess.Popen[str]] = {}

    def require(self, declared: Declaration, name: str) -> None:
        if not name.startswith(str(self.place)) and not (self.place / "data" / name.lstrip("/")).exists():
            raise WrongUse(f"no {name} on the volume", "a dataset", "upload it")

    def spawn(self, declared: Declaration, arguments: dict[str, Any]) -> dict[str, str]:
        volumes = {f"WORLDMODEL_LOCAL_{name.upper()}": str(self.place / name) for name in ("data", "runs")}
        call = f"fc-{len(self.calls)}"
        with (self.place / f"{call}.log").open("w") as log:
            self.calls[call] = subprocess.Popen(
                [sys.executable, "-c", CONTAINER, json.dumps(arguments)],
                env=os.environ | declared.as_environment() | volumes,
                stderr=log,
                text=True,
            )
        return {"call": call, "app": "ap-1"}

    def state(self, call: str) -> tuple[str, str]:
        code = self.calls[call].poll()
        return ("running", "") if code is None else ("over", "" if code == 0 else f"exit code {code}")

    def fetch(self, run: RunFolder) -> None:
        for name in FILES:
            file = self.place / "runs" / run.id / name
            if file.exists():
                shutil.copy(file, run.path / name)
        # A container is another machine.
        if run.status.exists():
            status = json.loads(run.status.read_text())
            status["process"] |= {"boot_id": "elsewhere", "host": "container"}
            run.status.write_text(json.dumps(status))

    def told(self, call: str) -> dict[str, Any]:
        return {}

    def logs(self, job: dict[str, str]) -> str:
        return (self.place / f"{job['call']}.log").read_text()

    def cancel(self, call: str) -> None:
        self.calls[call].terminate()


def test_launched_well_begun_finished_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "modal"
    (place / "runs").mkdir(parents=True)
    write_games(place / "replays", 12, 0, rules=Rules(stocks=4, max_frames=1850))
    ingest(iter_sources([place / "replays"]), place / "data/games", workers=1)
    cloud = ProcessCloud(place)
    backend = Modal(cloud, look_s=0)  # type: ignore[arg-type]
    for module in (board, start, health):
        monkeypatch.setattr(module, "backend_of", lambda name: backend)
    words: list[str] = []
    done = start.launch(
        ["tiny", "--data", "/games", "--epochs", "1"], stem="tiny", runs=tmp_path / "here", name="r", backend="modal",
        health_limit_s=120, tell=lambda what, text: words.append(f"{what}: {text}"),
    )  # fmt: skip
    assert done.exit_code == 0, done.said
    assert done.health is not None
    assert done.health.seen.keys() >= {"data", "validation", "checkpoint", "batches"}
    assert any("11 attempts" in word or "1 attempts" in word for word in words)
    sight = wait_until_over(done.run)
    assert (sight.state, sight.status["published"]["step"]) == ("finished", sight.status["step"])
    assert not list((tmp_path / "here/r/checkpoints").iterdir())  # they stay there
    again = start.go_on(done.run, later=["--epochs", "2"], backend="modal", wait=False)
    last = wait_until_over(again.run)
    assert (last.state, last.status["step"]) == ("finished", 2 * sight.status["step"])
    stopped = start.launch(
        ["tiny", "--data", "/games", "--epochs", "500"], stem="tiny", runs=tmp_path / "here", name="s", backend="modal",
        health_limit_s=120,
    )  # fmt: skip
    assert stopped.health is not None
    assert backend.stop(stopped.run, stopped.order, wait_s=60) == "stopped"
    assert board.look(stopped.run).is_over
    assert backend.logs(stopped.run, stopped.order)[0].stat().st_size > 0


def test_a_start_that_fails_is_shown_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "modal"
    (place / "runs").mkdir(parents=True)
    (place / "data/broken").mkdir(parents=True)
    backend = Modal(ProcessCloud(place), look_s=0)  # type: ignore[arg-type]
    for module in (board, start, health):
        monkeypatch.setattr(module, "backend_of", lambda name: backend)
    done = start.launch(
        ["tiny", "--data", "/broken"], stem="tiny", runs=tmp_path / "here", name="r", backend="modal",
        health_limit_s=120,
    )  # fmt: skip
    assert done.exit_code == 1
    assert "has no manifest.json" in done.said
    assert isinstance(done.order, Order)


def wait_until_over(run: RunFolder) -> board.Sight:
    until = time.monotonic() + 120
    while not (sight := board.look(run)).is_over:
        assert time.monotonic() < until, sight
        time.sleep(0.2)
    return sight
