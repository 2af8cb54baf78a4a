"""What a card says of platform and tracker is what its launch asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldmodel.cards.orders import asks_of, told_by, train_words
from worldmodel.errors import WrongUse
from worldmodel.launch.modal_asks import Declaration
from worldmodel.runs.card import Card


def card(**more: object) -> Card:
    return Card.model_validate(
        {"run": "night", "goal": "see", "config": "tiny", "data": {"content_hash": "0" * 64, "path": "here/games"}}
        | more
    )


def words(of: Card) -> list[str]:
    return train_words(of, config=Path("tiny.yaml"), overrides=["a=1"], data=Path("/here/games"), rules=Path("/r.yaml"))


def test_the_tracker_policy_goes_along() -> None:
    assert words(card()) == ["tiny.yaml", "a=1", "--data", "/here/games", "--rules", "/r.yaml"]
    tracked = words(card(tracker={"policy": "required", "project": "melee", "entity": "us"}))
    assert tracked[-6:] == ["--track", "required", "--track-project", "melee", "--track-entity", "us"]


def test_a_dataset_lies_elsewhere_on_a_platform_that_is_elsewhere() -> None:
    data = {"content_hash": "0" * 64, "path": "here/games", "on_backend": "/encoded-22k.pt"}
    for backend, where in (("local", "/here/games"), ("modal", "/encoded-22k.pt")):
        found = words(card(data=data, backend={"name": backend}))
        assert found[found.index("--data") + 1] == where


def test_a_cards_limits_are_modals(tmp_path: Path) -> None:
    backend = {"name": "modal", "gpu": "A100-80GB", "timeout_s": 7200, "retries": 2, "cpu_cores": 4, "memory_gb": 128}
    asked = Declaration.of(asks_of(card(backend=backend), tmp_path), {"WORLDMODEL_MODAL_GPU": "L4"})
    assert (asked.gpu, asked.timeout_s, asked.retries) == ("A100-80GB", 7200, 2)
    assert (asked.cpu, asked.memory_mb, asked.cards) == (4.0, 131_072, str(tmp_path))
    with pytest.raises(WrongUse, match="a timeout of 100,000 s"):
        Declaration.of(asks_of(card(backend=backend | {"timeout_s": 100_000}), tmp_path), {})
    assert asks_of(card(backend={"name": "slurm", "gpu": "A100-80GB"}), tmp_path) == {}


def test_a_run_without_a_card_is_told_nothing(tmp_path: Path) -> None:
    assert told_by("night", tmp_path) is None
    assert told_by("", tmp_path) is None
