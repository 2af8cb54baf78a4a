"""What is chosen by the device, and the allocator."""

from __future__ import annotations

import platform
from typing import Any

import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.errors import WrongUse
from worldmodel.training import device as devices
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.config import Experiment
from worldmodel.training.device import choose_device, uses_bf16, uses_compile
from worldmodel.training.loop import make_state


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(WrongUse, match="device 'gpu'"):
        choose_device("gpu")
    with pytest.raises(WrongUse, match="CUDA devices here"):
        choose_device("cuda:99")


def test_auto_is_what_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = make_experiment(training={"precision": "auto", "compile": "auto"}).training
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert (uses_bf16(auto, cpu), uses_compile(auto, cpu)) == (False, False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    assert (uses_bf16(auto, cuda), uses_compile(auto, cuda)) == (True, True)
    told = make_experiment(training={"precision": "bf16", "compile": True}).training
    assert (uses_bf16(told, cpu), uses_compile(told, cpu)) == (True, True)


def test_each_process_has_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device(None) == choose_device("cuda") == torch.device("cuda", 3)
    assert taken == [torch.device("cuda", 3)] * 2


CARD_LIKE: dict[str, Any] = {
    "model": {"arch": "mamba2", "d_model": 32, "d_state": 16, "headdim": 16},
    "data": {"mode": "window", "context_len": 10},
    "training": {"kernels": "triton"},
}


@pytest.mark.parametrize(
    ("section", "change", "found"),
    [
        ("data", {"context_len": 17}, "triton for 17 rows.*at most 16 rows"),
        ("model", {"d_state": 24}, "a state of 24.*one of 16, 32, 64, 128"),
        ("model", {"arch": "mlp", "d_model": None, "d_state": None, "headdim": None}, "triton for arch 'mlp'"),
    ],
)
def test_kernels_of_our_own_are_for_short_windows(
    section: str, change: dict[str, Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: it is for Linux only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    make_state(Experiment.model_validate(CARD_LIKE), torch.device("cpu"))
    changed = {key: value for key, value in (CARD_LIKE[section] | change).items() if value is not None}
    with pytest.raises(WrongUse, match=found):
        make_state(Experiment.model_validate(CARD_LIKE | {section: changed}), torch.device("cpu"))


def test_kernels_of_our_own_want_a_device_and_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment.model_validate(CARD_LIKE)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    with pytest.raises(WrongUse, match="triton on cpu; expected a CUDA device"):
        make_state(experiment, torch.device("cpu"))
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(WrongUse, match="triton, without Triton"):
        make_state(experiment, torch.device("cpu"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_the_allocator_takes_its_settings() -> None:
    assert settle_allocator()
