"""The sums on a GPU are those on the CPU."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_games import naive

from worldmodel.dynamics.objective import GROUPS
from worldmodel.evaluation import closed_loop, heldout, starts, teacher_forced

pytestmark = pytest.mark.gpu


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_and_cpu_agree(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset([60, 45, 33], absent=(1, "hitlag"))
    games = heldout.choose_games(dataset)
    chosen = starts.uniform(games, num_starts=8, earliest=3, horizon=12, seed=0)
    found = []
    for device in ("cpu", "cuda"):
        models = {"b": naive("ballistic").to(device)}
        weights = dict.fromkeys(GROUPS, 1.0)
        step = teacher_forced.evaluate(models, dataset, games, length=8, burn_in=3, weights=weights, device=device)
        loop = closed_loop.evaluate(models, dataset, games, chosen, history=3, counted=3, device=device)
        found.append((step.models["b"], loop.models["b"]))
    (cpu_step, cpu_loop), (cuda_step, cuda_loop) = found
    np.testing.assert_allclose(cuda_step.numerator, cpu_step.numerator, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(cuda_step.denominator, cpu_step.denominator)
    np.testing.assert_allclose(cuda_loop.numerator, cpu_loop.numerator, rtol=1e-5, atol=1e-4)
    for name in ("impossible", "events", "contradictions", "near"):
        np.testing.assert_array_equal(getattr(cuda_loop, name), getattr(cpu_loop, name), err_msg=name)
