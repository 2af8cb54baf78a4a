"""Experiments: the card's file is the card, wrong keys are told, every key does something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_experiment import make_experiment

from worldmodel.dynamics.objective import GROUPS
from worldmodel.errors import WrongUse
from worldmodel.models.base import make_model
from worldmodel.runs.strict import ConfigError, dump
from worldmodel.training import config
from worldmodel.training.config import EXPERIMENTS, Experiment, differences, find_experiment, load_experiment

SHIPPED = sorted(EXPERIMENTS.glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_experiments_load_and_write_back(path: Path, tmp_path: Path) -> None:
    experiment = load_experiment(path)
    (tmp_path / "again.yaml").write_text(dump(experiment))
    assert load_experiment(tmp_path / "again.yaml") == experiment
    assert set(experiment.weights) == set(GROUPS)


def test_the_cards_experiment_is_the_card() -> None:
    experiment = load_experiment(find_experiment("worldmodel/experiments/mamba2-medium-gpu.yaml"))
    model, data, training = experiment.model.model_dump(), experiment.data, experiment.training
    card = {
        "arch": "mamba2", "heads": "card", "d_model": 384, "n_layers": 4, "d_state": 64, "headdim": 64,
        "chunk_size": 10,
    }  # fmt: skip
    assert {key: model[key] for key in card} == card
    assert (data.mode, data.length, data.loss_from, data.stride_frames) == ("window", 10, 9, 1)
    assert (training.epochs, training.batch_size, training.lr, training.weight_decay) == (10, 1024, 5e-4, 1e-5)
    assert (training.grad_clip, training.warmup_fraction, training.log_every_steps) == (1.0, 0.0, 1000)
    noise = experiment.scheduled_sampling
    assert noise is not None
    assert (noise.rate, noise.noise, noise.anneal_epochs, noise.corrupt_frames) == (0.3, 0.1, 3, 3)
    assert noise.targets == "clean"
    assert experiment.weights == {
        "continuous": 1.0, "velocity": 0.5, "dynamics": 0.5, "binary": 0.5, "action": 2.0, "jumps": 0.5,
        "l_cancel": 0.3, "hurtbox": 0.3, "ground": 0.3, "last_attack": 0.3, "state_age": 0.3, "last_hit_by": 0.3,
    }  # fmt: skip
    assert 4_250_000 <= make_model(experiment.model).num_parameters() <= 4_350_000
    assert experiment.with_epochs(3).training.epochs == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  n_layers:", "  n_layer:", "model.n_layer: unknown key; expected a key of model"),
        ("  n_layers:", "  n_layer:", "did you mean 'n_layers'?"),
        ("arch: mamba2", "arch: mamba", "did you mean 'mamba2'?"),
        ("arch: mamba2", "arch: copy_last", "unknown value 'copy_last'; expected one of 'mamba2', 'mlp'"),
        ("  burn_in: 8", "  context_len: 8", "data.context_len: unknown key"),
        ("  burn_in: 8", "  burn_in: 64", "burn_in 64 leaves nothing of length 64"),
        ("loss_weights:", "loss_weights:\n  contnuous: 1.0", "did you mean 'continuous'?"),
    ],
)
def test_wrong_keys_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (EXPERIMENTS / "demo.yaml").read_text()
    assert old in text
    (tmp_path / "tiny.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_experiment(tmp_path / "tiny.yaml")


def test_every_key_is_read_somewhere() -> None:
    """A key that does nothing is an error in waiting: each must be an attribute access in the room."""
    code = "".join(path.read_text() for path in Path(config.__file__).parent.glob("*.py"))
    sections = [config.WindowData, config.SequenceData, config.Training, config.ScheduledSampling, Experiment]
    for section in sections:
        for key in section.model_fields:
            assert re.search(rf"\.{key}\b", code), f"{section.__name__}.{key} is read nowhere"


def test_experiments_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = EXPERIMENTS / "tiny.yaml"
    assert find_experiment("tiny") == find_experiment("worldmodel/experiments/tiny.yaml") == shipped
    Path("tiny").touch()
    assert find_experiment("tiny") == Path("tiny")
    with pytest.raises(WrongUse, match=r"did you mean 'tiny'\?"):
        find_experiment("tinny")
    with pytest.raises(WrongUse, match="no experiment"):
        find_experiment("other/tiny.yaml")


def test_epochs_are_totals() -> None:
    with pytest.raises(WrongUse, match="epochs are totals"):
        make_experiment().with_epochs(0)


def test_differences() -> None:
    old, new = make_experiment(), make_experiment(training={"lr": 1e-3}, scheduled_sampling={"rate": 0.5})
    found = differences(old, new)
    assert found["training.lr"] == (5e-3, 1e-3)
    assert found["scheduled_sampling.rate"] == (None, 0.5)
    assert differences(old, old) == {}
