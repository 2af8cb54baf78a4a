"""The fused inside of a block against the plain one in float64, and what the kernels become on a device."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: it is for Linux only")

NAMES = (
    "a window of ten", "its last row", "half of its rows", "one row", "a full tile", "wider than high",
    "higher than wide", "half precision", "half precision, last row", "several windows a program",
)  # fmt: skip


def run(*words: str) -> dict[str, Any]:
    script = Path(__file__).with_name("mixer_errors.py")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return run()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_plain_block_in_float64(told: dict[str, Any], name: str) -> None:
    """As near as the plain form comes in the same precision, give or take a rounding."""
    is_half = name.startswith("half precision")
    rounding = 1e-2 if is_half else 1e-6
    assert {which: pair for which, pair in told[name].items() if not pair[0] <= 3 * pair[1] + rounding} == {}
    assert {"y", "d_rows", "d_conv_weight", "d_conv_bias", "d_dt_bias", "d_A_log", "d_D"} <= set(told[name])
    assert max(plain for _, plain in told[name].values()) < (0.1 if is_half else 1e-4)


def test_no_case_goes_unasked(told: dict[str, Any]) -> None:
    assert set(told) == {*NAMES, "repeats", "steps"}


def test_the_same_windows_give_the_same_bits(told: dict[str, Any]) -> None:
    assert told["repeats"] == 0


def test_a_run_trains_alike_with_it(told: dict[str, Any]) -> None:
    """Three steps of at most 1e-3 a weight: a wrong gradient's sign is a difference of 2e-3."""
    assert 0 < told["steps"] < 2e-5


@pytest.mark.slow
def test_a_compiled_graph_takes_it_whole() -> None:
    assert run("--compiled")["compiled"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("asked", [10, 1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_both_kernels_fit_the_missions_device(dtype: torch.dtype, asked: int) -> None:
    """At the card's sizes, compiled for it: all of a program's numbers are in registers."""
    from worldmodel.bench.kernels import compile_kernel
    from worldmodel.nn import mixer

    constants = mixer.constants(10, asked, num_heads=12, headdim=64, d_state=64, num_taps=4)
    for kernel in (mixer.forward_kernel, mixer.backward_kernel):
        made = compile_kernel(kernel, constants, dtype)
        assert made.spilled == 0
        assert made.shared <= 32 * 1024  # seven programs of a processor's shared memory
