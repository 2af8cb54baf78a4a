"""The schedule's values, and who decays."""

from __future__ import annotations

import pytest
from tiny_experiment import make_experiment
from torch import nn

from worldmodel.models.base import make_model
from worldmodel.training.optim import Schedule, make_optimizer


def test_golden_values() -> None:
    schedule = Schedule(peak=1.0, num_steps=110, num_warmup=10)
    golden = {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 35: 0.853553, 60: 0.5, 85: 0.146447, 109: 0.000247}
    assert {step: round(schedule.lr(step), 6) for step in golden} == golden
    assert schedule.lr(109) > 0
    assert [step for step, _ in schedule.table()] == [0, 10, 27, 54, 82, 109]


def test_it_depends_on_the_total_and_no_epoch() -> None:
    training = make_experiment(training={"lr": 2e-3, "warmup_fraction": 0.1}).training
    schedule = Schedule.of(training, 1000)
    assert (schedule.num_warmup, schedule.peak) == (100, 2e-3)
    rates = [schedule.lr(step) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert max(rates) == 2e-3


def test_without_warmup_and_very_short() -> None:
    assert Schedule(1.0, 1, 0).lr(0) == 1.0
    assert Schedule(1.0, 1, 1).lr(0) == 1.0
    assert Schedule(1.0, 1, 0).table() == [(0, 1.0)]


@pytest.mark.parametrize("arch", ["mamba2", "mlp"])
def test_who_decays(arch: str) -> None:
    sizes = {"d_model": 32, "n_layers": 1, "d_state": 8, "headdim": 16} if arch == "mamba2" else {}
    model = make_model({"arch": arch, **sizes})
    optimizer = make_optimizer(model, make_experiment(training={"weight_decay": 0.1}).training)
    decay, keep = optimizer.param_groups
    assert (decay["weight_decay"], keep["weight_decay"]) == (0.1, 0.0)
    decays = {id(parameter) for parameter in decay["params"]}
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    linears = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    assert linears <= decays
    assert not embeddings & decays
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "A_log", "dt_bias", ".D")) or "norm" in name:
            assert id(parameter) not in decays, name
    assert len(decay["params"]) + len(keep["params"]) == len(list(model.parameters()))
