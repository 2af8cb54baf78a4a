"""What is chosen by the device, and the allocator."""

from __future__ import annotations

import platform

import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.errors import WrongUse
from worldmodel.training import device as devices
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.device import choose_device, uses_bf16, uses_compile


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_the_allocator_takes_its_settings() -> None:
    assert settle_allocator()
