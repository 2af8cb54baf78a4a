"""What the tests of the local app share: a small dataset, runs in every state, the server on a free port."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("starlette", reason="no starlette: pip install 'worldmodel[ui]'")
pytest.importorskip("uvicorn", reason="no uvicorn: pip install 'worldmodel[ui]'")

from worldmodel.dataset.ingest import ingest
from worldmodel.models.base import make_model, save_weights
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate
from worldmodel.runs import strict
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity
from worldmodel.training.config import find_experiment, load_experiment
from worldmodel.web.server import Listening, make_app

MODEL = {"arch": "mamba2", "heads": "residual", "d_model": 16, "n_layers": 1, "d_state": 4, "headdim": 8,
         "chunk_size": 16}  # fmt: skip
NUM_STEPS = 400


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """The app, listening. `ask` sends the target as it is, without tidying it."""

    url: str
    port: int

    def ask(
        self, target: str, method: str = "GET", body: bytes | None = None, host: str | None = None, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host if host is not None else f"127.0.0.1:{self.port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None and "Transfer_Encoding" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body, encode_chunked="Transfer_Encoding" in headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Any:
        found = self.ask(target, **headers)
        assert found.status == 200, found.body
        return found.json

    def post(self, target: str, body: Any = None) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        return self.ask(target, "POST", data, Content_Type="application/json")


@contextmanager
def serving(runs: Path, data: Path | None = None, **options: Any) -> Iterator[Served]:
    listening = Listening(make_app(runs, data, **options), host="127.0.0.1", port=0)
    thread = threading.Thread(target=listening.serve, daemon=True)
    thread.start()
    try:
        yield Served(listening.url, listening.port)
    finally:
        listening.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def ui_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 60 generated games, so that there are two pages of them."""
    replays = tmp_path_factory.mktemp("ui-replays")
    for name, data in generate(60, 1, rules=Rules(max_frames=150)):
        (replays / name).write_bytes(data)
    out = tmp_path_factory.mktemp("ui-data") / "games"
    ingest(iter_sources([replays]), out, filters=(), min_frames=1, workers=1)
    return out


def make_run(
    root: Path, name: str, *, phase: str = "ended", reason: str | None = "finished", num: int = 40
) -> RunFolder:
    """A run with curves, rules, a status; running ones are this process's."""
    run = RunFolder(root / name)
    run.path.mkdir(parents=True)
    run.config.write_text(strict.dump(load_experiment(find_experiment("tiny"))))
    about = {"started_at": "2026-11-23T08:00:00+00:00", "argv": ["/secret/place/python"], "code": {"version": "0.1.0"},
             "experiment": {"file": "/secret/place/tiny.yaml", "overrides": []}, "machine": {"num_cpus": 2},
             "dataset": {"content_hash": "ab", "num_games": 60, "num_frames": 9000}}  # fmt: skip
    run.provenance.write_text(json.dumps(about))
    append_rows(run, 1, num)
    run.pace.write_text('{"kind":"pace","step":100,"examples_per_s":500.0,"step_ms":9.0,"elapsed_s":3.0}\n')
    started = {"event": "started", "at": "2026-11-23T08:00:00.000+00:00", "step": 0, "num_steps": NUM_STEPS}
    run.events.write_text(json.dumps(started) + "\n")
    status = {"format": 1, "phase": phase, "reason": reason, "step": 10 * num, "num_steps": NUM_STEPS, "eta_s": 60.0,
              "process": identity(os.getpid()), "spent_s": 12.0}  # fmt: skip
    run.status.write_text(json.dumps(status))
    run.rules.write_text("kill:\n  - {rule: non_finite}\n  - {rule: above, metric: loss/total, threshold: 10}\n")
    return run


def append_rows(run: RunFolder, first: int, last: int) -> None:
    with run.metrics.open("a") as file:
        for k in range(first, last + 1):
            row = {"kind": "train", "step": 10 * k, "epoch": k / 20, "loss/total": 5 / k, "grad_norm": 1.0}
            file.write(json.dumps(row) + "\n")
            if k % 10 == 0:
                row = {"kind": "val", "step": 10 * k, "epoch": k / 20, "weights": "raw", "val_loss/total": 6 / k}
                file.write(json.dumps(row | {"val_change_acc": k / 100, "val_pos_mae": 1 / k}) + "\n")


def give_weights(run: RunFolder, step: int = 400) -> None:
    torch.manual_seed(3)
    model = make_model(MODEL)
    with torch.no_grad():
        for parameter in model.get_submodule("heads").parameters():
            parameter.add_(torch.randn(parameter.shape))
    run.checkpoints.mkdir(exist_ok=True)
    with run.new_checkpoint(step, {}) as folder:
        save_weights(model, folder.weights)


@pytest.fixture(scope="session")
def ui_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that are only read."""
    root = tmp_path_factory.mktemp("ui") / "runs"
    give_weights(make_run(root, "done"))
    make_run(root, "stopped-early", reason="stopped: asked to", num=20)
    make_run(root, "under-way", phase="training", reason=None, num=25)
    return root


@pytest.fixture(scope="session")
def ui(ui_runs: Path, ui_data: Path) -> Iterator[Served]:
    with serving(ui_runs, ui_data) as served:
        yield served
