"""Ingest by many machines ends in the dataset that one machine writes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.manifest import SALT, read_manifest
from worldmodel.dataset.register import IngestReport
from worldmodel.dataset.spread import Part, divide, ingest_spread, read_part
from worldmodel.dataset.store import open_dataset
from worldmodel.errors import WorldModelError
from worldmodel.replays.source import Spot, find_spots, iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import write_games

SHARD_FRAMES = 4000


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight games in two folders, with everything that only the order of files can tell."""
    folder = tmp_path_factory.mktemp("replays")
    write_games(folder / "a", 4, 0, rules=Rules(stocks=4, max_frames=1900))
    write_games(folder / "b", 4, 7, rules=Rules(stocks=4, max_frames=1900))
    first = min((folder / "a").glob("*.slp"))
    shutil.copy(first, folder / "b/again.slp")
    shutil.copy(first, folder / "b/zz-again.slp")
    (folder / "b/broken.slp").write_bytes(b"not a replay")
    (folder / "b/broken-too.slp").write_bytes(b"not a replay")
    (folder / "notes.txt").write_text("nothing")
    return folder


def spread(
    replays: Path, out: Path, num: int, *, read: Any = read_part, **more: Any
) -> tuple[IngestReport, list[Part]]:
    seen: list[Part] = []

    def map_parts(parts: Sequence[Part]) -> Iterable[dict[str, Any]]:
        seen.extend(parts)
        return [read(part, workers=1) for part in parts]

    report = ingest_spread(
        [replays], out, out.parent / "parts", map_parts, num_parts=num, shard_frames=SHARD_FRAMES, **more
    )
    return report, seen


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldmodel.dataset.spread.MIN_BYTES", 1)


@pytest.mark.usefixtures("small_parts")
def test_many_machines_and_one_write_the_same(replays: Path, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
        (folder / SALT).write_bytes(b"k" * 32)
    alone = ingest(iter_sources([replays]), one, workers=1, shard_frames=SHARD_FRAMES)
    together, parts = spread(replays, many, 5)
    assert len(parts) == 5
    fields = ("accepted", "rejected", "duplicates", "known", "num_games", "num_frames", "content_hash")
    assert [getattr(alone, name) for name in fields] == [getattr(together, name) for name in fields]
    assert alone.duplicates >= 3
    # To the last byte: shards and both tables.
    assert read_manifest(one) == read_manifest(many)
    assert alone.num_games == 8
    open_dataset(many, verify=True)
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.usefixtures("small_parts")
def test_a_second_time_adds_only_what_is_new(replays: Path, tmp_path: Path) -> None:
    mine = tmp_path / "replays"
    shutil.copytree(replays, mine)
    new = max((mine / "a").glob("*.slp"))
    kept = new.read_bytes()
    new.unlink()
    first, _ = spread(mine, tmp_path / "out", 3)
    again, _ = spread(mine, tmp_path / "out", 3)
    assert (again.accepted, again.content_hash) == (0, first.content_hash)
    new.write_bytes(kept)
    last, _ = spread(mine, tmp_path / "out", 3)
    assert last.accepted == 1
    assert last.num_games == first.num_games + 1


@pytest.mark.usefixtures("small_parts")
def test_what_a_lost_machine_had_read_is_not_read_again(replays: Path, tmp_path: Path) -> None:
    def read(part: Part, *, workers: int) -> dict[str, Any]:
        if "-002-" in Path(part.folder).name:
            raise WorldModelError("preempted")
        return read_part(part, workers=workers)

    with pytest.raises(WorldModelError, match="preempted"):
        spread(replays, tmp_path / "out", 4, read=read)
    assert len(list((tmp_path / "parts").iterdir())) == 2
    known: list[int] = []

    def count(part: Part, *, workers: int) -> dict[str, Any]:
        done = read_part(part, workers=workers)
        known.append(done.get("known", 0))
        return done

    report, _ = spread(replays, tmp_path / "out", 4, read=count)
    assert report.num_games == 8
    assert known[0] > 0
    assert known[2] == 0


@pytest.mark.usefixtures("small_parts")
def test_a_damaged_part_is_refused(replays: Path, tmp_path: Path) -> None:
    def damage(part: Part, *, workers: int) -> dict[str, Any]:
        done = read_part(part, workers=workers)
        for shard in Path(part.folder).glob("shards/*.arrow"):
            data = bytearray(shard.read_bytes())
            data[len(data) // 2] ^= 255
            shard.write_bytes(data)
        return done

    with pytest.raises(WorldModelError):
        spread(replays, tmp_path / "out", 2, read=damage)


def test_stretches() -> None:
    """In order, of about the same size, none too small, whatever is in them."""
    spots = [Spot(f"{number}.slp", Path("/nonexistent")) for number in range(9)]
    assert [len(part) for part in divide(spots, 4)] == [9]
    assert divide([], 4) == []


def test_spots_are_the_sources_in_their_order(replays: Path) -> None:
    names = [spot.name for spot in find_spots([replays]) if spot.name.endswith(".slp")]
    assert names == [source.name for source in iter_sources([replays])]
    assert names == sorted(names)
