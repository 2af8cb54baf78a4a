"""The job that goes to a cluster, run by submitit's executors that need none. A real cluster was not at hand."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from fake_worker import Launches, events, reasons, step_of, wait_for

from worldmodel.errors import WrongUse
from worldmodel.launch import slurm
from worldmodel.launch.base import Order, backend_of, read_care, read_order
from worldmodel.launch.slurm import SETTINGS, Slurm
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking import jsonl

pytest.importorskip("submitit", reason="the extra slurm is not installed")


def order_of(run: RunFolder, tmp_path: Path, mode: str) -> Order:
    command = [sys.executable, str(tmp_path / "worker.py"), str(run.path), mode]
    return Order(backend="slurm", first=command, again=command, cwd=str(tmp_path), retries=0)


def test_a_job_without_a_cluster(launches: Launches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitted, pickled, run in a process of submitit's, polled, its words found, its end told."""
    monkeypatch.setenv(SETTINGS, "cluster=local,timeout_min=5")
    run = RunFolder.create(launches.runs, experiment="test", name="night")
    launches.all.append(run)
    order = backend_of("slurm").submit(run, order_of(run, tmp_path, "plain"))
    assert read_order(run) == order
    wait_for(lambda: step_of(run) >= 5)
    assert Slurm().poll(run, order).state == "running"
    assert Slurm().describe(order) == f"slurm job {order.job['id']}"
    assert all(path.exists() for path in Slurm().logs(run, order))
    assert "stopped after" in Slurm().stop(run, order, wait_s=20)
    wait_for(lambda: Slurm().poll(run, order).state == "over")
    assert reasons(run) == ["SIGTERM"]


@pytest.mark.slow
def test_a_machine_that_is_taken_away(launches: Launches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's warning: the worker saves and leaves, the job asks to be queued again."""
    monkeypatch.setenv(SETTINGS, "cluster=local,timeout_min=5")
    run = RunFolder.create(launches.runs, experiment="test", name="night")
    launches.all.append(run)
    order = Slurm().submit(run, order_of(run, tmp_path, "plain"))
    wait_for(lambda: step_of(run) >= 5)
    os.kill(read_care(run)["supervisor"]["pid"], signal.SIGUSR2)  # what Slurm sends is what submitit listens to
    wait_for(lambda: "resumed" in events(run))
    # What it saved when it was warned is what it goes on from: nothing is done twice.
    row = next(row for row in jsonl.read(run.events).rows if row["event"] == "resumed")
    assert (reasons(run), row["step"]) == (["SIGTERM"], run_steps(run))
    wait_for(lambda: step_of(run) > row["step"])
    Slurm().stop(run, order, wait_s=20)


def run_steps(run: RunFolder) -> int:
    """Where the first life ended."""
    return int(next(row["step"] for row in jsonl.read(run.events).rows if row["event"] == "ended"))


def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert slurm._settings("") == (None, {})
    assert slurm._settings("cluster=local,slurm_partition=gpu,timeout_min=90") == (
        "local", {"slurm_partition": "gpu", "timeout_min": 90}
    )  # fmt: skip
    with pytest.raises(WrongUse, match="key=value"):
        slurm._settings("gpu")
    run = RunFolder.create(tmp_path, experiment="test", name="run")
    monkeypatch.setenv(SETTINGS, "cluster=local,partitoin=gpu")
    with pytest.raises(WrongUse, match="partitoin"):
        Slurm().submit(run, order_of(run, tmp_path, "plain"))
    assert not run.launch.exists()


def test_without_submitit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    run = RunFolder.create(tmp_path, experiment="test", name="run")
    with pytest.raises(WrongUse, match=r"worldmodel\[slurm\]"):
        Slurm().submit(run, order_of(run, tmp_path, "plain"))
