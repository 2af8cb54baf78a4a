"""Replays in: every file accounted for, the same content whatever the workers and the interruptions."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fabricated import assert_same_content

import worldmodel
from worldmodel.dataset import writer as writer_module
from worldmodel.dataset.ingest import IngestReport, ingest
from worldmodel.dataset.manifest import SHARDS
from worldmodel.dataset.store import Dataset
from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.replays.filters import STRUCTURAL
from worldmodel.replays.source import Source, iter_sources

ACCEPTED, DUPLICATES = 20, 2


def run(folder: Path, out: Path, **options: object) -> IngestReport:
    options = {"filters": STRUCTURAL, "min_frames": 1, "workers": 1, "shard_frames": 700} | options
    return ingest(iter_sources([folder]), out, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(replay_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """What one undisturbed run makes of the folder."""
    out = tmp_path_factory.mktemp("whole") / "ds"
    run(replay_folder, out)
    return worldmodel.open_dataset(out, verify=True)


def test_every_file_is_accounted_for(replay_folder: Path, tmp_path: Path) -> None:
    report = run(replay_folder, tmp_path / "ds")
    files = sorted(path.name for path in replay_folder.iterdir())
    assert (report.accepted, report.duplicates, report.known) == (ACCEPTED, DUPLICATES, 0)
    assert sum(report.rejected.values()) == len(files) - ACCEPTED - DUPLICATES == 2
    assert "not_slippi" in report.rejected
    ds = worldmodel.open_dataset(tmp_path / "ds", verify=True)
    assert sorted(Path(name).name for name in ds.files["name"].to_pylist()) == files
    reasons = {
        Path(name).name: (outcome, reason)
        for name, outcome, reason in zip(*(ds.files[c].to_pylist() for c in ("name", "outcome", "reason")), strict=True)
    }
    assert reasons["game03x-again.slp"] == ("duplicate", "same_bytes")
    assert reasons["game04x-other-side.slp"] == ("duplicate", "same_match")
    assert ds.manifest.counts == {"accepted": 20, "duplicates": 2, "rejected": report.rejected}
    assert report.frames == report.num_frames == ds.num_frames == sum(ds.num_frames_per_game)
    assert 0 < report.bytes_per_frame < 1000
    again = run(replay_folder, tmp_path / "ds")
    assert (again.accepted, again.known, again.duplicates, again.rejected) == (0, len(files), 0, {})
    assert again.content_hash == report.content_hash


def test_columns_are_the_parsers(replay_folder: Path, whole: Dataset) -> None:
    from worldmodel.replays.parse import parse_replay

    for number, name in enumerate(whole.games["name"].to_pylist()):
        replay = parse_replay((replay_folder / Path(name).name).read_bytes())
        game = whole.game(number)
        for column, values in replay.columns.items():
            assert game[column].tobytes() == values.tobytes(), column
        for table, columns in replay.sparse.items():
            assert len(game.sparse(table)) == len(columns["t"])


def test_workers_do_not_matter(replay_folder: Path, tmp_path: Path, whole: Dataset) -> None:
    run(replay_folder, tmp_path / "ds", workers=2)
    assert_same_content(worldmodel.open_dataset(tmp_path / "ds", verify=True), whole)


def test_many_small_runs_are_one_large_one(replay_folder: Path, tmp_path: Path, whole: Dataset) -> None:
    sources = list(iter_sources([replay_folder]))
    for stop in (1, 2, 7, 8, 15, len(sources)):
        ingest(sources[:stop], tmp_path / "ds", filters=STRUCTURAL, min_frames=1, workers=1, shard_frames=700)
        worldmodel.open_dataset(tmp_path / "ds", verify=True)
    assert_same_content(worldmodel.open_dataset(tmp_path / "ds"), whole)
    named = {info.name for info in whole.manifest.all_files}
    found = {p.relative_to(tmp_path / "ds").as_posix() for p in (tmp_path / "ds").rglob("*") if p.is_file()}
    shards = {name for name in found if name.startswith(SHARDS)}
    assert shards == {name for name in named if name.startswith(SHARDS)}  # nothing is left over


_CHILD = """
import sys
import worldmodel.dataset.ingest as module
from worldmodel.replays.filters import STRUCTURAL
from worldmodel.replays.source import iter_sources
if __name__ == "__main__":
    module.COMMIT_EVERY_S = 0.0
    module.ingest(iter_sources([sys.argv[1]]), module.Path(sys.argv[2]), filters=STRUCTURAL, min_frames=1,
                  workers=int(sys.argv[3]), shard_frames=700, progress=lambda *_: print("file", flush=True))
"""


def _start(folder: Path, out: Path, tmp_path: Path, workers: int) -> subprocess.Popen[str]:
    script = tmp_path / "child.py"
    script.write_text(_CHILD)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), str(out), str(workers)], stdout=subprocess.PIPE, text=True
    )


def _kill_and_complete(folder: Path, tmp_path: Path, whole: Dataset, rng: random.Random, workers: int) -> None:
    out = tmp_path / f"ds{rng.random()}"
    child = _start(folder, out, tmp_path, workers)
    assert child.stdout is not None
    for _ in range(rng.randrange(20)):
        child.stdout.readline()
    time.sleep(rng.random() * 0.01)
    child.kill()
    child.communicate()
    if (out / "manifest.json").exists():
        worldmodel.open_dataset(out, verify=True)
    run(folder, out)
    assert_same_content(worldmodel.open_dataset(out, verify=True), whole)


def test_killed_at_any_moment(replay_folder: Path, tmp_path: Path, whole: Dataset) -> None:
    rng = random.Random(1)
    for _ in range(3):
        _kill_and_complete(replay_folder, tmp_path, whole, rng, workers=1)


@pytest.mark.slow
def test_killed_at_many_moments(replay_folder: Path, tmp_path: Path, whole: Dataset) -> None:
    rng = random.Random(2)
    for k in range(40):
        _kill_and_complete(replay_folder, tmp_path, whole, rng, workers=1 + k % 2)


def test_an_interrupt_commits_and_stops(replay_folder: Path, tmp_path: Path, whole: Dataset) -> None:
    calls = []

    def interrupt(num_files: int, num_frames: int) -> None:
        calls.append(num_files)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    report = run(replay_folder, tmp_path / "ds", progress=interrupt)
    assert report.interrupted
    assert len(calls) == 6
    assert signal.getsignal(signal.SIGTERM) is before
    assert worldmodel.open_dataset(tmp_path / "ds", verify=True).num_games == report.accepted > 0
    assert not run(replay_folder, tmp_path / "ds").interrupted
    assert_same_content(worldmodel.open_dataset(tmp_path / "ds"), whole)


@pytest.mark.parametrize("fail_at", [1, 3, 6])
def test_a_full_disk_is_one_line_and_costs_nothing_committed(
    replay_folder: Path,
    tmp_path: Path,
    whole: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    fail_at: int,
) -> None:
    calls, real = [], writer_module.write_shard

    def full(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) >= fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(writer_module, "write_shard", full)
    with pytest.raises(WorldModelError, match=r"the disk of .* is full .* run the same command again") as caught:
        run(replay_folder, tmp_path / "ds")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    worldmodel.open_dataset(tmp_path / "ds", verify=True)
    monkeypatch.undo()
    run(replay_folder, tmp_path / "ds")
    assert_same_content(worldmodel.open_dataset(tmp_path / "ds", verify=True), whole)


def test_a_parser_that_trips_costs_one_file(
    replay_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import worldmodel.dataset.ingest as module

    real = module.parse_replay

    def trips(data: bytes) -> object:
        if data == (replay_folder / "game02.slp").read_bytes():
            raise IndexError("list index out of range")
        return real(data)

    monkeypatch.setattr(module, "parse_replay", trips)
    report = run(replay_folder, tmp_path / "ds")
    assert report.rejected["parser_crash"] == 1
    assert report.accepted == ACCEPTED - 1
    files = worldmodel.open_dataset(tmp_path / "ds").files.to_pylist()
    assert [f["detail"] for f in files if f["reason"] == "parser_crash"] == ["IndexError: list index out of range"]


def test_two_ingests_do_not_meet(replay_folder: Path, tmp_path: Path) -> None:
    refusals = []

    def meanwhile(num_files: int, num_frames: int) -> None:
        if not refusals:
            with pytest.raises(WrongUse, match="is being written by another ingest") as caught:
                run(replay_folder, tmp_path / "ds")
            refusals.append(caught)

    assert run(replay_folder, tmp_path / "ds", progress=meanwhile).accepted == ACCEPTED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": STRUCTURAL | {"illegal_stage"}}, "without the filters illegal_stage"),
        ({"min_frames": 5}, "with games of 1 frames and more"),
        ({"keep_names": True}, "without players' names"),
        ({"shard_frames": 800}, "with shards of 700 frames"),
    ],
)
def test_other_settings_are_refused(
    whole: Dataset, replay_folder: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(WrongUse, match=message):
        run(replay_folder, whole.path, **options)


def test_wrong_places_are_refused(replay_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(WrongUse, match=r"holds thesis\.txt but no manifest"):
        run(replay_folder, tmp_path / "mine")
    with pytest.raises(WrongUse, match="is a file"):
        run(replay_folder, tmp_path / "mine" / "thesis.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongUse, match="no replay found"):
        run(tmp_path / "empty", tmp_path / "ds")
    assert not (tmp_path / "ds").exists()
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["thesis.txt"]


def test_nothing_accepted_is_a_report_not_an_error(tmp_path: Path) -> None:
    report = ingest([Source("a.slp", data=b"nonsense")], tmp_path / "ds", workers=1)
    assert (report.accepted, report.num_games, sum(report.rejected.values())) == (0, 0, 1)
    assert worldmodel.open_dataset(tmp_path / "ds").num_games == 0


def test_names_are_kept_only_when_asked(replay_folder: Path, tmp_path: Path) -> None:
    from worldmodel.replays.parse import parse_replay

    run(replay_folder, tmp_path / "private")
    run(replay_folder, tmp_path / "named", keep_names=True)
    replay = parse_replay((replay_folder / "game00.slp").read_bytes())
    name = replay.players[0].code or replay.players[0].name or replay.players[0].tag
    private = worldmodel.open_dataset(tmp_path / "private").games["p0_player"].to_pylist()
    named = worldmodel.open_dataset(tmp_path / "named").games["p0_player"].to_pylist()
    assert named[0] == (name or None)
    assert not name or private[0] not in (name, None)
    for left, right in zip(private, named, strict=True):
        assert (left is None) == (right is None)


@pytest.mark.replays
@pytest.mark.slow
def test_real_replays(real_replays: object, tmp_path: Path) -> None:
    for name, num_files in (("core", 214), ("train", 250)):
        folder = real_replays / name  # type: ignore[operator]
        report = ingest(iter_sources([folder]), tmp_path / name, workers=2)
        assert report.accepted + sum(report.rejected.values()) + report.duplicates == num_files
        assert report.known == 0
        worldmodel.open_dataset(tmp_path / name, verify=True)
    assert (report.accepted, report.bytes_per_frame < 140) == (250, True)
