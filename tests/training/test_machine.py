"""What is recorded of the machine: always of the host, of a GPU where its driver can be asked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.dataset.store import Dataset
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking import jsonl
from worldmodel.training import machine
from worldmodel.training.loop import train
from worldmodel.training.machine import Machine

HOST = {"cpu_percent", "process_cpu_percent", "host_memory_gb", "host_free_gb"}


def test_every_row_of_pace_has_it(dataset: Dataset, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, experiment="x", name="r")
    train(make_experiment(training={"epochs": 1, "val_windows": 0}), dataset, run)
    rows = jsonl.read(run.pace).rows
    assert rows
    assert all(row.keys() >= HOST for row in rows)
    assert rows[-1]["host_memory_gb"] > 0.05
    assert sum(row["process_cpu_percent"] for row in rows) > 1


def test_without_the_drivers_library_it_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(device: object) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", no_library)
    said: list[str] = []
    found = Machine(torch.device("cuda"), said.append)
    assert found.read().keys() == HOST
    assert len(said) == 1
    assert "pip install nvidia-ml-py" in said[0]


def test_the_gpus_counters_are_means_over_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NVML as torch answers for it: a percentage, bytes, milliwatts, degrees."""
    values = iter([100, 50, 0, *[0] * 1000])
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: next(values))
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda device: 3_000_000_000)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 250_000)
    monkeypatch.setattr(torch.cuda, "temperature", lambda device: 61)
    monkeypatch.setattr(machine, "EVERY_S", 0.01)
    found = Machine(torch.device("cuda"))
    while len(found._looks) < 4:
        time.sleep(0.001)
    found.close()
    read = found.read()
    assert 0 < read["gpu_percent"] <= 37.5
    assert (read["gpu_memory_gb"], read["gpu_watts"], read["gpu_celsius"]) == (3.0, 250.0, 61.0)
    time.sleep(0.1)
    assert found.read().keys() >= HOST


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_of_a_real_gpu() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    read = Machine(torch.device("cuda")).read()
    assert read["gpu_memory_gb"] > 0
    assert 0 <= read["gpu_percent"] <= 100
