"""Every wrong config says where, what and the way out, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt

from worldmodel.runs.strict import ConfigError, Strict, digest, dump, load


class Small(Strict):
    arch: Literal["small"] = "small"
    n_layers: PositiveInt = 2


class Large(Strict):
    arch: Literal["large"] = "large"
    width: PositiveInt = 64


class Training(Strict):
    lr: float = Field(5e-4, gt=0)
    batch_size: PositiveInt = 8
    resume: bool = False
    tags: list[str] = Field(default_factory=list)


class Config(Strict):
    model: Annotated[Small | Large, Field(discriminator="arch")]
    training: Training = Training()
    noise: Training | None = None


GOOD = """\
# a comment
model:
  arch: small
  n_layers: 3
training:
  lr: 5e-4
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def refused(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), Config, overrides=overrides)
    message = str(caught.value).replace(str(tmp_path / "c.yaml"), "c.yaml")
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_a_good_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD), Config, overrides=["training.lr=3e-4", "model.n_layers=5"])
    assert config.training.lr == 3e-4  # a number, not the string of YAML 1.1
    assert isinstance(config.model, Small)
    assert config.model.n_layers == 5


def test_dump_reads_back(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD), Config, overrides=["training.lr=1e-5", "noise={}"])
    again = load(write(tmp_path, dump(config)), Config)
    assert again == config
    assert digest(again) == digest(config)
    assert digest(load(write(tmp_path, GOOD), Config)) != digest(config)


def test_unknown_key_in_a_union(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.replace("n_layers", "n_layer"))
    assert message.startswith("c.yaml:4:3: model.n_layer: unknown key;")
    assert "did you mean 'n_layers'?" in message


def test_unknown_section(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD + "trainin:\n  lr: 1.0\n")
    assert message.startswith("c.yaml:7:1: trainin: unknown key;")
    assert "did you mean 'training'?" in message


def test_unknown_arch(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.replace("arch: small", "arch: smal"))
    assert message.startswith("c.yaml:3:3: model.arch: unknown value 'smal';")
    assert "did you mean 'small'?" in message
    assert "'large'" in message


def test_missing_arch_and_section(tmp_path: Path) -> None:
    assert "model.arch: missing" in refused(tmp_path, "model: {}\n")
    assert "c.yaml:1:1: model: missing" in refused(tmp_path, "training: {}\n")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("lr: fast", "c.yaml:6:3: training.lr: wrong value 'fast'"),
        ("lr: -1", "c.yaml:6:3: training.lr: wrong value -1"),
        ("lr: .nan", "c.yaml:6:3: training.lr: wrong value nan"),
        ("batch_size: 1.5", "c.yaml:6:3: training.batch_size: wrong value 1.5"),
        ("batch_size: '8'", "c.yaml:6:3: training.batch_size: wrong value '8'"),
        ("resume: 1", "c.yaml:6:3: training.resume: wrong value 1"),
        ("tags: [a, 3]", "c.yaml:6:13: training.tags.1: wrong value 3"),
    ],
)
def test_wrong_values(tmp_path: Path, line: str, where: str) -> None:
    assert refused(tmp_path, GOOD.replace("lr: 5e-4", line)).startswith(where + ";")


def test_optional_section(tmp_path: Path) -> None:
    assert refused(tmp_path, GOOD + "noise:\n  lrr: 1\n").startswith("c.yaml:8:3: noise.lrr: unknown key;")


def test_duplicate_key(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD + "  lr: 1e-3\n")
    assert message.startswith("c.yaml:7:3: ")
    assert "duplicate" in message


def test_all_problems_are_told(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.replace("n_layers", "n_layer").replace("lr:", "lrr:"))
    assert "c.yaml:4:3: model.n_layer" in message
    assert "1 more: c.yaml:6:3: training.lrr" in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "a: [1\n", "a: 1\n---\nb: 2\n", "a:\n\t- 1\n"])
def test_not_a_config(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("c.yaml")


def test_no_file_a_folder_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        load(tmp_path / "none.yaml", Config)
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path, Config)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "b.yaml", Config)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.lrr=1", "override 'training.lrr=1': training.lrr: unknown key"),
        ("training.lr=fast", "override 'training.lr=fast': training.lr: wrong value 'fast'"),
        ("training.lr", "override 'training.lr'; expected key=value"),
        ("=3", "override '=3'; expected key=value"),
        ("model.n_layers.deep=3", "override 'model.n_layers.deep=3': model.n_layers is a value"),
        ("training.lr=[1", "override 'training.lr=[1': cannot read '[1'"),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, said: str) -> None:
    assert refused(tmp_path, GOOD, override).startswith(said)


def test_an_override_can_change_the_union(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD, "model.arch=large")
    assert message.startswith("c.yaml:4:3: model.n_layers: unknown key; expected a key of model (arch, width)")
    config = load(write(tmp_path, GOOD), Config, overrides=["model={arch: large, width: 7}"])
    assert config.model == Large(width=7)
