"""The mirror, with the real client against a stand-in server: what arrives, and what a failure costs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_server import WandbServer

from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.tracking import jsonl, wandb
from worldmodel.tracking.mirror import Mirroring, open_mirror

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="the tracker's client is not installed (extra `wandb`)"
)


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs this test has perhaps an account: it is not used."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        yield server


def write(folder: Path, name: str, *rows: dict[str, object]) -> None:
    with jsonl.JsonlWriter(folder / name) as file:
        for row in rows:
            file.write(row)


def step(folder: Path, number: int) -> None:
    """What a run writes for one logged step."""
    write(folder, "metrics.jsonl", {"kind": "train", "step": number, "epoch": 0.1, "loss/total": 1 / number})
    write(folder, "pace.jsonl", {"kind": "pace", "step": number, "step_ms": 5.0})


def mirroring(folder: Path, policy: str, **more: object) -> Mirroring:
    settings = {"init_s": 20, "finish_s": 10, "entity": "team", "name": "tiny", "config": {"model": {"d_model": 8}}}
    return Mirroring(folder, policy, **(settings | more))  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints/step-000000002").mkdir(parents=True)
    (folder / "checkpoints/step-000000002/meta.json").write_text(json.dumps({"files": {"state.pt": "abc"}}))
    naive = {"kind": "naive", "step": 0, "model": "copy_last", "val_pos_mae": 1.5}
    write(folder, "metrics.jsonl", naive)
    return folder


def test_off_starts_nothing(run: Path) -> None:
    assert open_mirror(mirroring(run, "off"), print) is None
    assert not (run / "tracker.jsonl").exists()


@needs_client
def test_a_run_arrives_whole_and_goes_on_in_the_same_place(run: Path, server: WandbServer) -> None:
    said: list[str] = []
    first = open_mirror(mirroring(run, "required", best={"val_pos_mae": "min"}), said.append)
    assert first is not None
    assert first.known["url"] in said[0]
    for number in (1, 2):
        step(run, number)
    write(run, "metrics.jsonl", {"kind": "val", "step": 2, "weights": "raw", "val_pos_mae": 0.5})
    write(run, "metrics.jsonl", {"kind": "val", "step": 2, "weights": "ema", "val_pos_mae": 0.4})
    write(run, "events.jsonl", {"event": "checkpoint", "step": 2, "name": "step-000000002", "at": "now"})
    write(run, "events.jsonl", {"event": "rule", "step": 2, "rule": "below"}, {"event": "ended", "reason": "SIGTERM"})
    first.close("SIGTERM")
    assert first.known["state"] == "finished"
    assert server.values("loss/total") == {1: 1.0, 2: 0.5}
    assert server.values("pace/step_ms") == {1: 5.0, 2: 5.0}
    assert (server.values("val_pos_mae"), server.values("ema/val_pos_mae")) == ({2: 0.5}, {2: 0.4})
    (told,) = server.runs.values()
    assert told["config"]["model"]["value"] == {"d_model": 8}
    assert told["summary"]["checkpoint/state.pt"] == "abc"
    assert told["summary"]["naive/copy_last/val_pos_mae"] == 1.5
    assert (told["summary"]["ended"], told["exit"]) == ("SIGTERM", 0)
    assert "below" in server.alerts[0]["text"]

    # A second life: what is there is not sent again, and it is the same run.
    second = open_mirror(mirroring(run, "required"), said.append)
    assert second is not None
    step(run, 3)
    second.close("finished")
    assert list(server.values("loss/total")) == [1, 2, 3]
    assert len(server.runs) == 1
    assert [row["state"] for row in jsonl.read(run / "tracker.jsonl").rows].count("finished") == 2


@needs_client
def test_required_without_a_tracker_does_not_begin(
    run: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(WrongUse, match="offline"):
        open_mirror(mirroring(run, "required"), print)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(WrongUse, match="without a key"):
        open_mirror(mirroring(run, "required"), print)


@needs_client
@pytest.mark.slow
def test_required_and_nobody_answers(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    began = time.monotonic()
    with pytest.raises(WorldModelError, match="not live"):
        open_mirror(mirroring(run, "required", init_s=3), print)
    assert time.monotonic() - began < 60


@needs_client
@pytest.mark.slow
def test_a_dead_server_costs_a_run_nothing(run: Path, server: WandbServer) -> None:
    said: list[str] = []
    mirror = open_mirror(mirroring(run, "required", finish_s=2), said.append)
    assert mirror is not None
    server.die()
    began = time.monotonic()
    for number in range(1, 2001):
        step(run, number) if number % 1000 == 0 else None
    assert time.monotonic() - began < 1
    mirror.close("finished")
    assert time.monotonic() - began < 20
    assert (mirror.known["state"], mirror.known["failures"]) == ("unfinished", 1)
    assert "TRACKER UNFINISHED" in said[-1]
    assert "worldmodel track sync" in said[-1]

    # Later the server is back: everything goes there, from the record alone.
    with WandbServer(port=server.port) as again:
        later = open_mirror(mirroring(run, "required", pid=None), said.append, follow=False)
        assert later is not None
        later.close("", wait_s=60)
        assert list(again.values("loss/total")) == [1000, 2000]


@needs_client
def test_optional_is_loud_and_counts_and_recovers(
    run: Path, monkeypatch: pytest.MonkeyPatch, server: WandbServer
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "not a key")
    said: list[str] = []
    heard: list[dict[str, object]] = []
    mirror = open_mirror(mirroring(run, "optional"), said.append)
    assert mirror is not None
    mirror.listen(heard.append)
    assert mirror.wait_until(("failed",), 30)
    mirror.close("finished")
    assert "TRACKER FAILED (failure 1)" in said[0]
    assert heard[-1]["failures"] == 1
    assert heard[-1]["policy"] == "optional"


@needs_client
@pytest.mark.slow
def test_offline_says_so_and_is_sent_later(run: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    said: list[str] = []
    mirror = open_mirror(mirroring(run, "optional"), said.append)
    assert mirror is not None
    step(run, 1)
    mirror.close("finished")
    assert mirror.known["state"] == "offline"
    assert "TRACKER OFFLINE" in said[0]
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    assert not server.runs

    monkeypatch.delenv("WANDB_MODE")
    later = open_mirror(mirroring(run, "required", pid=None), said.append, follow=False)
    assert later is not None
    later.close("", wait_s=60)
    assert server.values("loss/total") == {1: 1.0}


@needs_client
@pytest.mark.slow
def test_a_killed_training_is_shown_as_ended(run: Path, server: WandbServer) -> None:
    """By the end of the mirror's input: no page says for ever that the run goes on."""
    step(run, 1)
    code = (
        "import os, sys; from pathlib import Path; from worldmodel.tracking.mirror import *; "
        "open_mirror(Mirroring(Path(sys.argv[1]), 'required', init_s=20, finish_s=10), print); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    until = time.monotonic() + 30
    while next(iter(server.runs.values()))["exit"] is None and time.monotonic() < until:
        time.sleep(0.1)
    (told,) = server.runs.values()
    assert (told["exit"], told["summary"]["ended"]) == (255, "its process is gone")


def test_a_dead_process_of_the_mirror_is_begun_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worldmodel.tracking import mirror as module

    monkeypatch.setattr(module, "CRASHED_AGAIN_S", (0.0,))
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    said: list[str] = []
    mirror = open_mirror(mirroring(run, "optional"), said.append)
    assert mirror is not None
    mirror._thread.join(10)
    assert mirror.known["failures"] == 2
    assert "given up" in str(mirror.known["message"])
    mirror.close("finished")


def test_probe(server: WandbServer) -> None:
    assert wandb.unreachable(server.url) is None
    assert wandb.unreachable("http://127.0.0.1:9", 2) is not None
