"""The supervisor and its watcher in this process: what needs a machine out of memory, or minutes of patience."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_worker import Launches, events, reasons

from worldmodel.launch import supervisor, watcher
from worldmodel.launch.base import Order, write_order
from worldmodel.launch.supervisor import Supervisor, supervise
from worldmodel.launch.watcher import Watcher, why_not_again
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import read_status


def order(run: RunFolder, tmp_path: Path, mode: str, **more: Any) -> Order:
    command = [sys.executable, str(tmp_path / "worker.py"), str(run.path), mode]
    return Order(first=command, again=command, cwd=str(tmp_path), **more)


@pytest.fixture
def run(launches: Launches) -> RunFolder:
    return RunFolder.create(launches.runs, experiment="test", name="run")


def test_killed_for_want_of_memory(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system counts what it has killed: a SIGKILL while that count rose is said to be that."""
    counts = iter((4, 5, 5, 5))
    monkeypatch.setattr(supervisor, "_num_oom_kills", lambda: next(counts))
    write_order(run, order(run, tmp_path, "killed", retries=1))
    assert supervise(run.path) == 0  # the second life goes on behind the fatal step, and finishes
    assert reasons(run) == ["killed by SIGKILL: the machine had no memory left", "finished"]
    assert events(run).count("restarted") == 1


def test_the_systems_count() -> None:
    assert supervisor._num_oom_kills() >= 0


def test_the_time_limit_is_of_all_lives(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("worldmodel.launch.supervisor.time.monotonic", lambda: now)
    looks_after = Supervisor(run, order(run, tmp_path, "plain", time_limit_s=3600))
    assert looks_after._command()[-2:] == ["--time-limit", "3600s"]
    now += 600
    assert looks_after._command()[-2:] == ["--time-limit", "3000s"]
    now += 1e6
    assert looks_after._command()[-2:] == ["--time-limit", "1s"]


def test_a_run_that_does_not_obey_its_rule(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has its time to obey; then the watcher ends it. A clock on the wall plays no part."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.time", lambda: -now)
    run.rules.write_text("kill: [{rule: above, metric: loss/total, threshold: 2}, {rule: stale, minutes: 10}]\n")
    looks = Watcher(run)

    def write(step: int, loss: float) -> None:
        with run.metrics.open("a") as file:
            file.write(json.dumps({"kind": "train", "step": step, "epoch": 1.0, "loss/total": loss}) + "\n")

    write(1, 1.0)
    assert looks.look() is None
    write(2, 3.0)
    assert looks.look() is None
    now += watcher.GRACE_S - 1
    assert looks.look() is None
    now += 2
    fired = looks.look()
    assert fired is not None
    assert (fired.rule.rule, fired.verdict.at_step) == ("above", 2)
    run.metrics.unlink()
    looks = Watcher(run)
    assert looks.look() is None
    now += 599
    assert looks.look() is None
    now += 2
    fired = looks.look()
    assert fired is not None
    assert fired.rule.rule == "stale"


@pytest.mark.parametrize(
    ("reason", "began_at", "attempt", "told"),
    [
        ("finished", -1, 1, "it finished"), ("SIGTERM", -1, 1, "it was stopped"), ("deadline", -1, 1, "it was stopped"),
        ("rule: below", -1, 1, "it was stopped by rule"), ("rule: stale", -1, 1, None),
        ("killed by SIGKILL", -1, 1, None),
        ("killed by SIGKILL", -1, 3, "all 2 retries are used"), ("killed by SIGKILL", 5, 2, "no newer checkpoint"),
        ("exit code 1: x", 4, 2, None),
    ],
)  # fmt: skip
def test_when_a_run_is_begun_again(run: RunFolder, reason: str, began_at: int, attempt: int, told: str | None) -> None:
    for step in (0, 5):
        with run.new_checkpoint(step, {}) as aside:
            aside.state.write_bytes(b"x")
    found = why_not_again(run, reason, began_at=began_at, attempt=attempt, retries=2)
    assert found is None if told is None else told in str(found)
    run.stop.touch()
    assert why_not_again(run, reason, began_at=began_at, attempt=attempt, retries=2) is not None


def test_a_checkpoint_before_the_first_step_is_no_progress(run: RunFolder) -> None:
    with run.new_checkpoint(0, {}) as aside:
        aside.state.write_bytes(b"x")
    assert why_not_again(run, "killed by SIGKILL", began_at=-1, attempt=1, retries=2) is not None


def test_a_worker_that_never_wrote_a_status(run: RunFolder, tmp_path: Path) -> None:
    write_order(run, order(run, tmp_path, "import-error"))
    assert supervise(run.path) == 1
    status = read_status(run)
    assert status is not None
    assert status["reason"] == "exit code 1: ModuleNotFoundError: No module named 'no_such_package'"
