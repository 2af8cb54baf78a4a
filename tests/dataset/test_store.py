"""Opening datasets: what is refused, in one line with a way out; and queries by other engines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricated import fabricate

import worldmodel
from worldmodel.dataset.manifest import MANIFEST, NotADataset, SchemaMismatch
from worldmodel.dataset.shard import frames_hash
from worldmodel.dataset.store import Dataset, MissingColumn
from worldmodel.dataset.writer import NewGame
from worldmodel.errors import WrongUse

Build = Callable[..., Dataset]


def refused(path: Path, *, verify: bool = False) -> str:
    with pytest.raises(WrongUse) as caught:
        worldmodel.open_dataset(path, verify=verify)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_a_few_words_are_enough(build: Build, two_kinds: list[NewGame]) -> None:
    ds = build(*two_kinds)
    assert (ds.num_games, ds.num_frames) == (12, sum(game.row["num_frames"] for game in two_kinds))
    assert ds.games["name"].to_pylist() == [f"game{k}.slp" for k in range(12)]
    percent = ds.game(3)["p0.percent"]
    assert percent.shape == (ds.num_frames_per_game[3],)
    assert not percent.flags.writeable or percent.base is None
    assert not ds.game(3)["p0.x"].flags.owndata  # a view of the file
    assert ds.game(3).info["sha256"] == two_kinds[3].row["sha256"]
    with pytest.raises(IndexError):
        ds.game(12)


def test_unknown_columns_name_their_neighbour(build: Build) -> None:
    with pytest.raises(MissingColumn, match=r"the nearest name is 'p0\.percent'"):
        build(fabricate(1)).game(0)["p0.percnt"]


def test_split_is_by_group_and_fixed(build: Build) -> None:
    games = [fabricate(k, 20) for k in range(90)]
    ds = build(*games)
    val, train = ds.rows("val"), ds.rows("train")
    assert sorted([*val, *train]) == list(range(90))
    split, group = ds.games["split"].to_pylist(), ds.games["match_group"].to_pylist()
    assert len({(g, s) for g, s in zip(group, split, strict=True)}) == len(set(group)) == 30
    assert val.tolist() == GOLDEN_VAL


GOLDEN_VAL = [21, 22, 23]


def test_refuses_what_is_no_dataset(tmp_path: Path) -> None:
    assert "no folder" in refused(tmp_path / "nowhere")
    assert "has no manifest.json" in refused(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    assert "is not a dataset's" in refused(tmp_path)


def test_refuses_another_schema(build: Build) -> None:
    path = build(fabricate(1)).path
    value = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(value | {"store_hash": "0123456789abcdef"}))
    with pytest.raises(SchemaMismatch, match=r"0123456789abcdef.*expected.*ingest the replays again"):
        worldmodel.open_dataset(path)


@pytest.mark.parametrize("keep", [0, 10, 700])
def test_refuses_a_truncated_manifest(build: Build, keep: int) -> None:
    path = build(fabricate(1)).path
    (path / MANIFEST).write_bytes((path / MANIFEST).read_bytes()[:keep])
    assert "is no JSON" in refused(path)


def test_refuses_a_manifest_with_a_part_missing(build: Build) -> None:
    path = build(fabricate(1)).path
    value = json.loads((path / MANIFEST).read_text())
    del value["shards"][0]["file"]["crc32"]
    (path / MANIFEST).write_text(json.dumps(value))
    assert "crc32" in refused(path)


def test_refuses_missing_and_truncated_files(build: Build) -> None:
    ds = build(fabricate(1), fabricate(2))
    for info in ds.manifest.all_files:
        file = ds.path / info.name
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        assert f"has {len(whole) - 1:,} bytes; expected {len(whole):,} bytes" in refused(ds.path)
        file.unlink()
        assert "is missing" in refused(ds.path)
        file.write_bytes(whole)
    worldmodel.open_dataset(ds.path)


def test_verify_finds_one_flipped_bit(build: Build) -> None:
    ds = build(fabricate(1), fabricate(2))
    for info in ds.manifest.all_files:
        file = ds.path / info.name
        whole = bytearray(file.read_bytes())
        whole[len(whole) // 2] ^= 4
        file.write_bytes(whole)
        assert "has changed since it was written" in refused(ds.path, verify=True)
        whole[len(whole) // 2] ^= 4
        file.write_bytes(whole)
    ds.verify()


def test_verify_finds_frames_that_are_not_their_games(build: Build) -> None:
    game = fabricate(1)
    game.columns["p0.percent"][7] += 1  # after the hash was taken
    with pytest.raises(NotADataset, match="the frames of game 0 are not what its hash says"):
        build(game)


def test_content_hash_is_of_content_alone(build: Build, two_kinds: list[NewGame]) -> None:
    ds = build(*two_kinds)
    assert build(*reversed(two_kinds), name="backwards").content_hash == ds.content_hash
    assert build(*two_kinds[:-1], name="fewer").content_hash != ds.content_hash
    shutil.copytree(ds.path, ds.path.with_name("elsewhere"))
    assert worldmodel.open_dataset(ds.path.with_name("elsewhere")).content_hash == ds.content_hash


def test_duckdb_and_polars_see_all_frames(build: Build, two_kinds: list[NewGame]) -> None:
    """Shards differ in columns and in widths of dictionary indices; the engines must not notice."""
    import duckdb
    import polars

    wide = fabricate(50, 2000)
    wide.columns["p0.hitlag"][:] = np.arange(2000) % 400
    wide = NewGame(wide.row | {"frames_hash": frames_hash(wide.columns, wide.sparse)}, wide.columns, wide.sparse)
    all_games = [*two_kinds, wide]
    ds = build(*all_games)
    frames, games = ds.frames(), ds.games  # noqa: F841  DuckDB finds `frames` by its name
    shards = [ds.shard(n) for n in range(len(ds.manifest.shards))]
    widths = {shard.encoding("p0.hitlag")[1].itemsize for shard in shards if shard.has("p0.hitlag")}  # type: ignore[union-attr]
    assert widths == {1, 2}
    hitlag = np.concatenate([g.columns["p0.hitlag"] for g in all_games if "p0.hitlag" in g.columns])
    found = duckdb.sql('select count(*), count("p0.hitlag"), sum("p0.hitlag") from frames').fetchall()
    assert found == [(ds.num_frames, len(hitlag), pytest.approx(float(hitlag.sum())))]
    lengths = duckdb.sql("select game, max(t) + 1, count(*) from frames group by game order by game").fetchall()
    assert lengths == [(k, n, n) for k, n in enumerate(ds.num_frames_per_game.tolist())]
    lazy = polars.scan_pyarrow_dataset(ds.frames(["game", "p0.hitlag"]))
    table = lazy.filter(polars.col("p0.hitlag").is_not_null()).collect()
    assert table.shape == (len(hitlag), 2)
    assert polars.from_arrow(games).shape == (13, games.num_columns)
    assert polars.read_parquet(ds.path / ds.manifest.games.name).shape == (13, games.num_columns)
    items = ds.sparse("items")  # noqa: F841
    assert duckdb.sql("select count(*), count(owner) from items").fetchall() == [(5 * 13, 0)]


def test_an_empty_dataset_opens(build: Build) -> None:
    ds = build()
    assert (ds.num_games, ds.num_frames, len(ds.rows()), ds.frames().count_rows()) == (0, 0, 0, 0)


def test_the_salt_is_private(build: Build) -> None:
    assert os.stat(build(fabricate(1)).path / "salt").st_mode & 0o777 == 0o600


def test_importing_the_package_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, worldmodel, worldmodel.dataset; print(sorted({'pyarrow', 'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
