"""Datasets of fabricated games, and a folder of synthetic replays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import ABSENT_IN_OLD, SETTINGS, fabricate

from worldmodel.dataset.manifest import Settings
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dataset.writer import NewGame, writing

Build = Callable[..., Dataset]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """build(game, ..., name="ds") -> the dataset that holds these games."""

    def build(*games: NewGame, name: str = "ds", settings: Settings = SETTINGS) -> Dataset:
        with writing(tmp_path / name, settings) as writer:
            for game in games:
                writer.add_file(game.row["sha256"], game.row["name"], "accepted")
                writer.add_game(game)
            writer.commit()
        return open_dataset(tmp_path / name, verify=True)

    return build


@pytest.fixture
def two_kinds() -> list[NewGame]:
    """Twelve games; every third lacks hitlag, as old versions do."""
    return [fabricate(k, 200 + 17 * k, absent=ABSENT_IN_OLD if k % 3 == 2 else frozenset()) for k in range(12)]


@pytest.fixture(scope="session")
def replay_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty games of three versions, and one file each of: same bytes, same match, not Slippi, cut off."""
    from worldmodel.replays.synth.game import Rules
    from worldmodel.replays.synth.generate import generate

    folder = tmp_path_factory.mktemp("replays")
    rules = Rules(stocks=4, max_frames=200)
    data = {}
    for first, num, version in ((0, 10, (3, 17, 0)), (10, 6, (3, 0, 0)), (16, 4, (2, 0, 1))):
        for k, (_, slp) in enumerate(generate(num, 7, first=first, rules=rules, version=version), first):
            data[f"game{k:02d}.slp"] = slp
    data["game03x-again.slp"] = data["game03.slp"]
    data["game04x-other-side.slp"] = next(generate(1, 7, first=4, rules=rules, version=(3, 9, 0)))[1]
    data["not-slippi.slp"] = b"<html>"
    data["cut.slp"] = data["game05.slp"][:900]
    for name, slp in data.items():
        (folder / name).write_bytes(slp)
    return folder
