"""The one kernel of our own: what it becomes on a device, and, where there is one, how long it takes there.

    python benchmarks/kernels.py [--windows 4096] [--rows 10]

Without a device: both kernels at the card's sizes, compiled for an A100 and an H200 by the compiler that comes with
Triton, with registers, spills, shared memory and barriers. With one: besides, one block of the card's model forward and
backward, plain, plain and compiled, and fused, beside the bytes that it has to move over this device's copy rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from common import finish, parser, table

from worldmodel.bench.ceilings import measure_ceilings, seconds_of
from worldmodel.bench.kernels import compile_kernel
from worldmodel.models.mamba2 import Block, Config
from worldmodel.nn import mixer

CARD = {"num_heads": 12, "headdim": 64, "d_state": 64, "num_taps": 4}
DEVICES = {"A100": 80, "H200": 90}
STEPS = 20


def compiled() -> list[dict[str, Any]]:
    """Each kernel, for each device, with both ways to multiply tiles; in the precision that a device trains in."""
    found = []
    for device, capability in DEVICES.items():
        for products in ("ieee", "tf32"):
            for kernel in (mixer.forward_kernel, mixer.backward_kernel):
                constants = mixer.constants(10, 10, **CARD) | {"PRODUCTS": products}
                made = compile_kernel(kernel, constants, torch.bfloat16, capability=capability)
                name = kernel.fn.__name__.removesuffix("_kernel")
                found.append({"device": device, "products": products, "kernel": name} | asdict(made))
    return found


def timed(device: torch.device, num_windows: int, num_rows: int, rounds: int) -> list[dict[str, Any]]:
    """A block of the card's size, forward and backward, in bf16."""
    copies = measure_ceilings(device).copy_bytes
    forms: dict[str, Callable[[Block], Any]] = {
        "plain": lambda block: block,
        "plain, compiled": lambda block: torch.compile(block, dynamic=False),
        "fused": lambda block: torch.compile(block, dynamic=False),
    }
    found = []
    for form, make in forms.items():
        block = Block(Config()).to(device)
        block.fused = form == "fused"
        run = make(block)
        batches = [torch.randn(num_windows, num_rows, 384, device=device) for _ in range(3)]

        def step(run: Any = run, batches: list[torch.Tensor] = batches) -> None:
            for turn in range(STEPS):
                with torch.autocast("cuda", dtype=torch.bfloat16):
                    y = run(batches[turn % 3])[0]
                y.sum().backward()

        step()
        seconds = sorted(seconds_of(step, device) / STEPS for _ in range(rounds))[rounds // 2]
        # The projection is read forward and backward, and its gradient written; so is what comes out of the gate.
        num_bytes = 2 * num_windows * num_rows * (3 * sum(block.sizes) + 2 * block.inner)
        found.append({"form": form, "block_ms": 1e3 * seconds, "floor_ms": 1e3 * num_bytes / copies})
    return found


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--windows", type=int, default=4096)
    made.add_argument("--rows", type=int, default=10)
    options = made.parse_args()
    programs = compiled()
    table(list(programs[0]), [list(row.values()) for row in programs])
    times = []
    if torch.cuda.is_available():
        times = timed(torch.device("cuda"), options.windows, options.rows, options.rounds)
        print()
        table(list(times[0]), [list(row.values()) for row in times])
    else:
        print("\nno CUDA device: nothing was timed")
    finish("kernels", {"programs": programs, "times": times})


if __name__ == "__main__":
    main()
