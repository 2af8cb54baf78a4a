"""Ingest on Modal without an account: the functions that go over, run here, with folders as volumes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import open_dataset
from worldmodel.errors import WrongUse
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)"
    ),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "RUNS", "PARTS"):
        (tmp_path / name.lower()).mkdir()
        monkeypatch.setenv(f"WORLDMODEL_LOCAL_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr("worldmodel.dataset.spread.MIN_BYTES", 1)
    return tmp_path


@pytest.mark.slow
def test_replays_of_the_data_volume_become_a_dataset_on_it(volumes: Path) -> None:
    from worldmodel.scripts import modal_train

    write_games(volumes / "data/replays", 4, 0, rules=Rules(stocks=4, max_frames=1850))
    report = modal_train.ingest.local("/replays", "/games", containers=3)
    alone = ingest(iter_sources([volumes / "data/replays"]), volumes / "alone", workers=1)
    assert report["content_hash"] == alone.content_hash
    assert (report["accepted"], open_dataset(volumes / "data/games").num_games) == (4, 4)
    assert not list((volumes / "parts").iterdir())
    again = modal_train.ingest.local("/replays", "/games", containers=2)
    assert (again["accepted"], again["known"]) == (0, 4)


def test_wrong_words_are_one_line(volumes: Path) -> None:
    from worldmodel.scripts import modal_train

    with pytest.raises(WrongUse, match="no file or folder"):
        modal_train.ingest.local("/nothing", "/games")
    with pytest.raises(WrongUse):
        modal_train.ingest.local("/nothing", "/games", off="no-such-filter")


def test_an_encoded_file_becomes_a_dataset_without_a_gpu(volumes: Path) -> None:
    import torch

    from worldmodel.scripts import modal_train

    ints = torch.zeros(20 * 60, 17).long()
    ints[:, -1] = 31
    file = {
        "floats": torch.zeros(20 * 60, 56),
        "ints": ints,
        "game_offsets": torch.arange(21) * 60,
        "encoding_config": {},
    }
    torch.save(file, volumes / "data/encoded-tiny.pt")
    report = modal_train.ingest.local("/encoded-tiny.pt", "/tiny")
    assert report["num_frames"] == open_dataset(volumes / "data/tiny").num_frames == 1200
