"""One file out, the same dataset back; anything less is refused and leaves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import SETTINGS, assert_same_content, fabricate

import worldmodel
from worldmodel.dataset.pack import pack, unpack
from worldmodel.dataset.store import Dataset
from worldmodel.dataset.writer import NewGame, writing
from worldmodel.errors import WrongUse

Build = Callable[..., Dataset]


def test_round_trip(build: Build, two_kinds: list[NewGame], tmp_path: Path) -> None:
    ds = build(*two_kinds)
    size = pack(ds, tmp_path / "one.pack")
    assert size == (tmp_path / "one.pack").stat().st_size
    unpack(tmp_path / "one.pack", tmp_path / "back")
    back = worldmodel.open_dataset(tmp_path / "back", verify=True)
    assert_same_content(ds, back)
    assert back.manifest == ds.manifest
    assert not (tmp_path / "back" / "salt").exists()
    pack(back, tmp_path / "two.pack")
    assert (tmp_path / "one.pack").read_bytes() == (tmp_path / "two.pack").read_bytes()


def test_an_unpacked_dataset_takes_no_more_games(build: Build, tmp_path: Path) -> None:
    """Without the salt a player would get a second hash."""
    pack(build(fabricate(1)), tmp_path / "one.pack")
    unpack(tmp_path / "one.pack", tmp_path / "back")
    with pytest.raises(WrongUse, match="has no salt"), writing(tmp_path / "back", SETTINGS):
        pass


def test_refuses_to_overwrite(build: Build, tmp_path: Path) -> None:
    ds = build(fabricate(1))
    pack(ds, tmp_path / "one.pack")
    with pytest.raises(WrongUse, match="exists"):
        pack(ds, tmp_path / "one.pack")
    with pytest.raises(WrongUse, match="exists"):
        unpack(tmp_path / "one.pack", ds.path)


def test_refuses_damage_and_leaves_nothing(build: Build, tmp_path: Path) -> None:
    pack(build(fabricate(1), fabricate(2, absent=frozenset({"p0.hitlag", "p1.hitlag"}))), tmp_path / "one.pack")
    whole = (tmp_path / "one.pack").read_bytes()
    bad = tmp_path / "bad.pack"
    before = sorted(tmp_path.iterdir())
    step = len(whole) // 25
    flipped = [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(40, len(whole), step)]
    damaged = [whole[: len(whole) * k // 10] for k in range(10)] + flipped
    refused = 0
    for data in damaged:
        bad.write_bytes(data)
        message = _refusal(bad, tmp_path / "back")
        bad.unlink()
        if message:
            refused += 1
            assert "\n" not in message
        else:  # a byte that carries nothing: then the result is whole
            worldmodel.open_dataset(tmp_path / "back", verify=True)
            shutil.rmtree(tmp_path / "back")
        assert sorted(tmp_path.iterdir()) == before
    assert refused >= len(damaged) - 3


def _refusal(file: Path, out: Path) -> str:
    try:
        unpack(file, out)
    except WrongUse as error:
        return str(error)
    return ""


def test_refuses_what_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="no file"):
        unpack(tmp_path / "nothing", tmp_path / "back")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(WrongUse, match="no whole pack"):
        unpack(tmp_path / "text", tmp_path / "back")
