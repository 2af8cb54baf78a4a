"""Models by file name, and weights that say what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from worldmodel.errors import WrongUse
from worldmodel.models import base
from worldmodel.models.base import architectures, config_type, describe_weights, load_model, make_model, save_weights
from worldmodel.schema import LAYOUT

SMALL = {"arch": "mlp", "context_len": 2, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8}
CARD = {
    "arch": "mamba2", "d_model": 384, "n_layers": 4, "d_state": 64, "headdim": 64, "chunk_size": 10,
}  # fmt: skip


def test_files_are_the_registry() -> None:
    files = {path.stem for path in Path(base.__file__).parent.glob("*.py")} - {"__init__", "base"}
    assert set(architectures()) == files
    for arch in architectures():
        assert config_type(arch)().arch == arch


def test_an_unknown_architecture_is_named_with_those_that_exist() -> None:
    for wrong in ("transformer", "base", "None"):
        with pytest.raises(WrongUse, match="ballistic, copy_last, mamba2, mlp"):
            make_model({"arch": wrong})


def test_configs_are_strict() -> None:
    with pytest.raises(ValidationError, match="d_modle"):
        make_model({"arch": "mamba2", "d_modle": 3})
    with pytest.raises(ValidationError, match="headdim"):
        make_model({"arch": "mamba2", "d_model": 100, "headdim": 64})
    with pytest.raises(ValidationError):
        make_model({"arch": "mamba2", "n_layers": 0})


def test_the_cards_model_has_the_cards_size() -> None:
    """The reference had 4,282,386; ours has pads in the token, 39 flag bits more and a head for each."""
    model = make_model({**CARD, "heads": "card"})
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert parts == {"rules": 0, "embedder": 125_688, "trunk": 3_777_040, "heads": 442_750}
    assert 4_250_000 <= model.num_parameters() == 4_345_478 <= 4_350_000
    assert make_model({**CARD, "heads": "residual"}).num_parameters() == 4_419_330


def test_the_mlp_has_the_references_size() -> None:
    assert make_model({"arch": "mlp", "heads": "card"}).num_parameters() == 1_307_766


def test_weights_describe_themselves(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(make_model(SMALL), path, code_version="1.2.3")
    about = describe_weights(path)
    assert about["config"] == {**SMALL, "heads": "residual", "relative": False, "frame_hidden": 0, "move_table": 0}
    assert (about["codec_hash"], about["store_hash"]) == (LAYOUT.codec_hash, LAYOUT.store_hash)
    assert about["code_version"] == "1.2.3"
    assert not load_model(path).training
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_weights_of_another_codec_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    with monkeypatch.context() as patch:
        patch.setitem(LAYOUT.__dict__, "codec_hash", "0123456789abcdef")
        save_weights(make_model(SMALL), path)
    with pytest.raises(WrongUse, match=f"0123456789abcdef.*{LAYOUT.codec_hash}"):
        load_model(path)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="no file"):
        load_model(tmp_path / "absent")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(WrongUse, match="safetensors"):
        load_model(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain")
    with pytest.raises(WrongUse, match="does not say"):
        load_model(tmp_path / "plain")


def test_a_missing_tensor_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays at its random start unnoticed."""
    model = make_model(SMALL)
    del model.embedder.stage
    path = tmp_path / "w.safetensors"
    save_weights(model, path)
    with pytest.raises(RuntimeError, match=r"embedder\.stage"):
        load_model(path)
