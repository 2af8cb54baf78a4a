"""Blocks hold what the games' columns hold, coded as the rows say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricated import ABSENT_IN_OLD, fabricate

from worldmodel.dataset import store
from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.codes import category_codes
from worldmodel.dataset.manifest import NotADataset
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dataset.writer import NewGame
from worldmodel.schema import LAYOUT, PLAYERS, Buttons, Category, Flags, column_name

Build = Callable[..., Dataset]


@pytest.mark.parametrize("numbers", [list(range(12)), [7, 0, 11, 3], [2], []])
def test_block_is_the_games_columns(build: Build, two_kinds: list[NewGame], numbers: list[int]) -> None:
    ds = build(*two_kinds)
    block = load_block(ds, numbers)
    assert block.num_frames == sum(ds.num_frames_per_game[numbers])
    assert block.games.tolist() == numbers
    for g, number in enumerate(numbers):
        game, rows = ds.game(number), slice(block.offsets[g], block.offsets[g + 1])
        for p, player in enumerate(PLAYERS):
            for k, row in enumerate(LAYOUT.numbers):
                present = game.present(column_name(row, player))
                assert block.present_numbers[g, k] == present
                expected = game[column_name(row, player)] if present else 0
                assert (block.numbers[rows, p, k] == expected).all()
            for k, row in enumerate(LAYOUT.categories):
                codes = _slow_codes(row.codec, game[column_name(row, player)])  # type: ignore[arg-type]
                assert block.categories[rows, p, k].tolist() == codes
            for k, flag in enumerate(LAYOUT.flag_bits):
                values = game[column_name(flag.field, player)]
                codec = flag.field.codec
                assert isinstance(codec, Flags)
                if codec.true_when == "bit":
                    expected = [bool(v >> flag.bit & 1) for v in values.tolist()]
                else:
                    expected = (values > 0 if codec.true_when == "positive" else values != 0).tolist()
                found = block.flags[rows, p, k // 8] >> (k % 8) & 1
                assert found.astype(bool).tolist() == expected
            for k, row in enumerate(LAYOUT.pad_numbers):
                assert (block.pad_numbers[rows, p, k] == game[column_name(row, player)]).all()
            codec = LAYOUT.pad_buttons.codec
            assert isinstance(codec, Buttons)
            word = game[column_name(LAYOUT.pad_buttons, player)]
            for k, mask in enumerate(codec.masks):
                assert ((block.buttons[rows, p] >> k & 1) == ((word & mask) != 0)).all()
        assert block.stage[g] == 31


def test_missing_fields_are_masked(build: Build) -> None:
    ds = build(
        fabricate(0), fabricate(1, absent=ABSENT_IN_OLD | {"p0.airborne", "p1.airborne", "p0.jumps", "p1.jumps"})
    )
    block = load_block(ds, [0, 1])
    hitlag, airborne = LAYOUT.number("hitlag"), LAYOUT.flag("airborne")
    jumps = LAYOUT.category("jumps")
    assert block.present_numbers[:, hitlag].tolist() == [True, False]
    assert block.present_flags[:, airborne].tolist() == [True, False]
    assert block.present_categories[:, jumps].tolist() == [True, False]
    rest = slice(block.offsets[1], None)
    assert not block.numbers[rest, :, hitlag].any()
    assert not block.categories[rest, :, jumps].any()
    assert not (block.flags[rest, :, airborne // 8] >> (airborne % 8) & 1).any()
    assert block.present_numbers[1].sum() == len(LAYOUT.numbers) - 1


def shard_file(ds: Dataset) -> tuple[Path, str]:
    info = ds.manifest.shards[0].file
    return ds.path / info.name, info.crc32


def test_a_flipped_bit_anywhere_in_a_shard_is_refused(build: Build) -> None:
    ds = build(fabricate(1), fabricate(2))
    path, crc32 = shard_file(ds)
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(NotADataset) as caught:
            load_block(open_dataset(ds.path), [0])
        told = str(caught.value)
        assert path.name in told
        assert f"expected checksum {crc32}; unpack or ingest the dataset again" in told
        assert "has changed since it was written: checksum " in told
    path.write_bytes(whole)
    load_block(open_dataset(ds.path), [0])


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_shard_cut_short_under_an_open_dataset_is_refused(build: Build, keep: float) -> None:
    ds = build(fabricate(1), fabricate(2))
    opened = open_dataset(ds.path)
    path, _ = shard_file(ds)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))
    with pytest.raises(NotADataset, match=rf"{path.name} has [\d,]+ bytes; expected"):
        load_block(opened, [0])
    with pytest.raises(NotADataset, match=f"{path.name} cannot be read"):
        opened.shard(0)
    path.unlink()
    with pytest.raises(NotADataset, match=f"{path.name} is missing"):
        load_block(opened, [0])


def test_a_flipped_bit_in_the_games_table_is_refused(build: Build) -> None:
    ds = build(fabricate(1))
    path = ds.path / ds.manifest.games.name
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 1
    path.write_bytes(whole)
    with pytest.raises(NotADataset, match=f"{path.name} has changed"):
        load_block(open_dataset(ds.path), [0])


def test_a_shard_is_compared_once(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = open_dataset(build(fabricate(1), fabricate(2)).path)
    compared: list[str] = []
    monkeypatch.setattr(store, "check_file", lambda folder, info, checksum: compared.append(info.name))
    for _ in range(3):
        load_block(ds, [0])
        load_block(ds, [1, 0])
    assert compared == [ds.manifest.games.name, ds.manifest.shards[0].file.name]


def test_codes_follow_the_rows_policy() -> None:
    ground = LAYOUT.the("ground")
    codes, outside = category_codes(ground, np.array([65535, 0, 29, 30, 31, 500], np.uint16))
    last = ground.codec.vocab - 1  # type: ignore[union-attr]
    assert codes[0] == 0
    assert not outside[0]
    assert codes[1] == 1
    assert codes[-1] == last
    assert outside[-1]
    with pytest.raises(ValueError, match="which ingest rejects"):
        category_codes(LAYOUT.the("l_cancel"), np.array([0, 3], np.uint8))


def _slow_codes(codec: Category, values: np.ndarray) -> list[int]:
    out = []
    for value in values.tolist():
        code = dict(codec.alias).get(value, value + codec.offset)
        out.append(code if 0 <= code < codec.vocab else codec.vocab - 1)
    return out
