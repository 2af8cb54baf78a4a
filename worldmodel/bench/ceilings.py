"""What a device can do at the most, measured now: products of matrices, and copies.

Owns: the two ceilings, and what a wait for a device is. Must not: time anything of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

CARD_WIDTH, CARD_PROJECTION = 384, 1792
"""Of the mission's model: its largest product has these sizes, padded to what a device likes."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """flops: of the card's projection as one product, per second. copy_bytes: read and written, per second."""

    flops: float
    copy_bytes: float


def wait(device: torch.device) -> None:
    """Until a device has done all that it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of work, to its last kernel."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def measure_ceilings(device: torch.device, *, rounds: int = 5) -> Ceilings:
    """The best of some rounds: a ceiling is what was reached once."""
    return Ceilings(gemm_flops(device, rounds=rounds), copy_bandwidth(device, rounds=rounds))


def gemm_flops(device: torch.device, *, rounds: int = 5) -> float:
    """FLOP/s of the card's projection as one product; bf16 on CUDA, else float32."""
    is_cuda = device.type == "cuda"
    dtype = torch.bfloat16 if is_cuda else torch.float32
    a = torch.randn(40_960 if is_cuda else 2_560, CARD_WIDTH, device=device, dtype=dtype)
    b = torch.randn(CARD_WIDTH, CARD_PROJECTION, device=device, dtype=dtype)
    repeats = 50 if is_cuda else 5
    best = min(seconds_of(lambda: [a @ b for _ in range(repeats)], device) for _ in range(rounds + 1))
    return 2.0 * repeats * len(a) * CARD_WIDTH * CARD_PROJECTION / best


def copy_bandwidth(device: torch.device, *, rounds: int = 8) -> float:
    """Bytes per second, read and written, of the best of some large copies."""
    source = torch.ones(1 << (28 if device.type == "cuda" else 26), device=device)
    target = torch.empty_like(source)
    best = min(seconds_of(lambda: target.copy_(source), device) for _ in range(rounds))
    return 2 * source.numel() * source.element_size() / best
