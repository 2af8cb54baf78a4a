"""Replays are found wherever they lie; what cannot be read is a problem with a name, never a traceback."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import itertools
import lzma
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import py7zr
import pytest
import slp_bytes as b

from worldmodel.errors import WrongUse
from worldmodel.replays import archive, source
from worldmodel.replays.replay import ParseError
from worldmodel.replays.source import iter_sources

GAMES = {f"day/{k}.slp": b.plain(3, seed=k) for k in range(3)}
Files = dict[str, bytes]


def _zip(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.mkdir("day")
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


def _tar(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("day/link.slp")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    return out.getvalue()


def _seven_zip(files: Files, **more: str) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", **more) as packed:
        for name, data in files.items():
            packed.writestr(data, name)
    return out.getvalue()


PACKERS: dict[str, Callable[[Files], bytes]] = {
    ".zip": _zip,
    ".7z": _seven_zip,
    ".tar": _tar,
    ".tar.gz": lambda files: gzip.compress(_tar(files)),
    ".tgz": lambda files: gzip.compress(_tar(files)),
    ".tar.bz2": lambda files: bz2.compress(_tar(files)),
    ".tar.xz": lambda files: lzma.compress(_tar(files)),
}


def _found(*paths: Path) -> Files:
    return {item.name: item.read() for item in iter_sources(paths)}


def _problems(*paths: Path) -> dict[str, str]:
    return {item.name: item.problem[0] for item in iter_sources(paths) if item.problem}


def test_folders_are_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    for name, data in reversed(GAMES.items()):
        for folder in ("b", "a"):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    names = [item.name for item in iter_sources([tmp_path])]
    assert names == [f"{folder}/{name}" for folder in ("a", "b") for name in GAMES]
    assert _found(tmp_path) == {f"{folder}/{name}": data for folder in ("a", "b") for name, data in GAMES.items()}


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_archive_gives_its_replays_in_order(tmp_path: Path, suffix: str) -> None:
    notes = {"day/notes.txt": b"hello " * 200, "day/._0.slp": b"\0\5\x16\7"}
    (tmp_path / f"pack{suffix}").write_bytes(PACKERS[suffix](GAMES | notes))
    ignored: list[str] = []
    found = {item.name.split("/", 1)[1]: item.read() for item in iter_sources([tmp_path], on_ignored=ignored.append)}
    assert found == GAMES
    assert list(found) == list(GAMES)
    assert len(ignored) == 2


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["x.slp.gz", "x.slp", "x"])
def test_a_compressed_replay_is_known_by_its_bytes(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pack(GAMES["day/0.slp"]))
    assert list(_found(path).values()) == [GAMES["day/0.slp"]]


def test_an_archive_by_another_name_is_known_by_its_bytes(tmp_path: Path) -> None:
    for suffix, pack in PACKERS.items():
        (tmp_path / f"{suffix.strip('.')}.slp").write_bytes(pack(GAMES))
    assert sorted(_found(tmp_path).values()) == sorted(list(GAMES.values()) * len(PACKERS))


@pytest.mark.parametrize(
    ("inner", "outer"), list(itertools.product([".zip", ".7z", ".tar.gz"], [".zip", ".7z", ".tar.xz"]))
)
def test_archives_in_archives(tmp_path: Path, inner: str, outer: str) -> None:
    nested = {f"in{inner}": PACKERS[inner](GAMES), "z.slp": GAMES["day/1.slp"]}
    (tmp_path / f"out{outer}").write_bytes(PACKERS[outer](nested))
    assert list(_found(tmp_path).values()) == [*GAMES.values(), GAMES["day/1.slp"]]


def test_nesting_is_bounded(tmp_path: Path) -> None:
    data = GAMES["day/0.slp"]
    for _ in range(20):
        data = gzip.compress(data)
    (tmp_path / "deep.gz").write_bytes(data)
    assert list(_problems(tmp_path).values()) == ["bad_archive"]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_cut_archive_costs_what_is_missing_only(tmp_path: Path, suffix: str) -> None:
    noise = {f"day/{k}.slp": b.plain(60, seed=k) for k in range(3)}
    whole = PACKERS[suffix](noise).rstrip(b"\0")
    (tmp_path / "good.slp").write_bytes(GAMES["day/0.slp"])
    for cut in (1, 40, len(whole) // 2, len(whole) - 700):
        (tmp_path / f"bad{suffix}").write_bytes(whole[:cut])
        results = list(iter_sources([tmp_path]))
        assert results[-1].read() == GAMES["day/0.slp"]
        problems = [item.problem for item in results if item.problem]
        assert {reason for reason, _ in problems} == {"bad_archive"}
        assert all(item.read() in noise.values() for item in results[:-1] if not item.problem)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_damaged_archive_never_raises(tmp_path: Path, suffix: str) -> None:
    whole = bytearray(PACKERS[suffix](GAMES))
    path = tmp_path / f"bad{suffix}"
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        for item in iter_sources([path]):
            assert item.problem or item.data is not None or item.path == path


def test_encrypted_archives_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(_seven_zip(GAMES, password="secret"))
    packed = bytearray(_zip({"x.slp": GAMES["day/0.slp"]}))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.rindex(magic) + flags] |= 1
    (tmp_path / "b.zip").write_bytes(packed)
    assert _problems(tmp_path) == {"a.7z": "bad_archive", "b.zip/x.slp": "bad_archive"}


def test_other_files_are_ignored_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "empty.slp").write_bytes(b"")
    (tmp_path / "page.slp").write_bytes(b"<html>")
    (tmp_path / "noname").write_bytes(GAMES["day/0.slp"])
    ignored: list[str] = []
    assert [item.name for item in iter_sources([tmp_path], on_ignored=ignored.append)] == [
        "empty.slp",
        "noname",
        "page.slp",
    ]
    assert ignored == ["readme.md"]
    assert _found(tmp_path / "readme.md") == {"readme.md": b"x"}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_member_that_is_no_replay_is_not_read_whole(tmp_path: Path, suffix: str) -> None:
    page = {"page.slp": b"<html>" + b" " * 100_000, "empty.slp": b"", "ok.slp": GAMES["day/0.slp"]}
    (tmp_path / f"x{suffix}").write_bytes(PACKERS[suffix](page))
    items = {item.name.split("/")[1]: item for item in iter_sources([tmp_path])}
    assert items["page.slp"].problem == ("not_slippi", "begins with b'<html>      '")
    assert items["ok.slp"].data == GAMES["day/0.slp"]
    if "empty.slp" in items:
        assert items["empty.slp"].problem == ("not_slippi", "empty file")


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_named_like_an_archive_that_is_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    for data in (b"", b"<html>", b"x" * 2000):
        path.write_bytes(data)
        assert list(_problems(path).values()) == ["bad_archive"]


def test_members_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (archive, source):
        monkeypatch.setattr(module, "MAX_REPLAY_BYTES", 10_000)
    big = {"big.slp": GAMES["day/0.slp"] + b"\0" * 20_000, "ok.slp": GAMES["day/0.slp"]}
    for suffix, pack in PACKERS.items():
        (tmp_path / f"a{suffix}").write_bytes(pack(big))
        items = list(iter_sources([tmp_path / f"a{suffix}"]))
        assert [item.problem and item.problem[0] for item in items] == ["too_large", None]
    (tmp_path / "big.slp").write_bytes(big["big.slp"])
    (item,) = iter_sources([tmp_path / "big.slp"])
    with pytest.raises(ParseError, match="too_large"):
        item.read()
    monkeypatch.setattr(archive, "MAX_NESTED_BYTES", 300)
    (tmp_path / "nested.tar").write_bytes(_tar({"in.zip": _zip(GAMES)}))
    assert _problems(tmp_path / "nested.tar") == {"nested.tar/in.zip": "too_large"}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.slp").write_bytes(GAMES["day/0.slp"])
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.slp").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.slp").symlink_to(tmp_path / "self.slp")
    (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
    assert [item.name for item in iter_sources([tmp_path]) if not item.problem] == ["a/x.slp"]
    assert _problems(tmp_path) == {"gone.slp": "unreadable", "self.slp": "unreadable"}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.slp")
    os.mkfifo(tmp_path / "pipe")
    assert _problems(tmp_path) == {"pipe.slp": "unreadable"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "x.slp").write_bytes(b"")
    (tmp_path / "x.slp").chmod(0)
    (tmp_path / "y").mkdir(mode=0)
    assert _problems(tmp_path) == {"x.slp": "unreadable", "y/": "unreadable"}


def test_a_file_that_goes_away_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.slp").write_bytes(GAMES["day/0.slp"])
    (item,) = iter_sources([tmp_path])
    (tmp_path / "x.slp").unlink()
    with pytest.raises(ParseError, match="unreadable"):
        item.read()


def test_a_missing_path_is_wrong_use_at_once(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="nowhere"):
        iter_sources([tmp_path, tmp_path / "nowhere"])


def test_a_reader_that_leaves_early_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(_seven_zip({f"{k}.slp": GAMES["day/0.slp"] for k in range(30)}))
    assert next(iter_sources([tmp_path])).data == GAMES["day/0.slp"]
    gc.collect()
    assert "7z" not in {thread.name for thread in threading.enumerate()}
