"""Which weights are meant: a run's newest whole ones, with word of what was passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from worldmodel.dynamics.chosen import choose_model
from worldmodel.env.setup import find_model
from worldmodel.errors import WrongUse
from worldmodel.export import folder
from worldmodel.models.base import WorldModel, make_model, save_weights
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder


def small(seed: int) -> WorldModel:
    torch.manual_seed(seed)
    return make_model({"arch": "mamba2", "d_model": 16, "n_layers": 1, "d_state": 8, "headdim": 8, "chunk_size": 16})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two checkpoints, of which the newer is cut off."""
    run = RunFolder.create(tmp_path, experiment="two")
    atomic.write_text(run.config, "experiment: two\n")
    atomic.write_json(run.provenance, {"dataset": None})
    for step in (1, 2):
        with run.new_checkpoint(step, {}) as checkpoint:
            save_weights(small(step), checkpoint.weights)
    newest = run.newest_checkpoint()[0].weights
    newest.write_bytes(newest.read_bytes()[:-1])
    return run


def is_first(model: WorldModel) -> bool:
    return torch.equal(model.state_dict()["heads.out.weight"], small(1).state_dict()["heads.out.weight"])


def test_a_damaged_newer_checkpoint_is_told(run: RunFolder) -> None:
    chosen = choose_model(run.path)
    assert is_first(chosen.model)
    assert chosen.sha256 == run.newest_weights().sha256
    (problem,) = chosen.problems
    assert "step-000000002: weights.safetensors does not have its checksum" in problem


def test_an_environment_tells_it(run: RunFolder) -> None:
    with pytest.warns(UserWarning, match="a newer checkpoint was damaged"):
        assert is_first(find_model(run.path))


def test_an_export_tells_it(run: RunFolder, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(WrongUse, match="nothing"):  # told before any work is done
        folder.export(run.path, tmp_path / "out", data=tmp_path / "nothing", say=said.append)
    assert said[0].startswith("WARNING a newer checkpoint was damaged")


def test_what_is_not_there_is_one_line(run: RunFolder, tmp_path: Path) -> None:
    file = run.newest_weights().path
    for path, ema, said in (
        (tmp_path / "nothing", False, "no folder"),
        (run.path, True, "keeps no running mean"),
        (file, True, "--ema with the file"),
    ):
        with pytest.raises(WrongUse, match=said) as told:
            choose_model(path, ema=ema)
        assert "\n" not in str(told.value)
