"""A status that tells a hung step from a halted process from a killed one, whatever the wall clock says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worldmodel.runs import atomic, process
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity, is_alive, is_halted
from worldmodel.runs.status import Beat, Watch, ages_s, heartbeat, read_status, write_end

LIFE = """
import sys, time
from pathlib import Path
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import heartbeat
with heartbeat(RunFolder(Path(sys.argv[1])), every_s=0.02) as beat:
    while True:
        for _ in range(5):
            beat.tick(phase="training")
            time.sleep(0.02)
        if Path(sys.argv[1], "hang").exists():
            time.sleep(100)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, experiment="test", name="run")


def wait_for(is_so: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_life_seen_from_outside(run: RunFolder) -> None:
    """Hung: alive moves, progress does not. Halted: neither, and it says so. Killed: gone, whatever the file says."""
    other = subprocess.Popen([sys.executable, "-c", LIFE, str(run.path)])
    try:
        wait_for(lambda: (read_status(run) or {}).get("phase") == "training")
        status = read_status(run)
        assert status is not None
        assert status["process"]["pid"] == other.pid
        assert is_alive(status["process"])
        watch = Watch()
        watch.look(status)
        wait_for(lambda: watch.look(read_status(run)) == 0)

        (run.path / "hang").touch()
        wait_for(lambda: watch.look(read_status(run)) > 0.4)
        wait_for(lambda: (ages := ages_s(read_status(run) or {})) is not None and ages[0] + 0.3 < ages[1])

        other.send_signal(signal.SIGSTOP)
        wait_for(lambda: is_halted(status["process"]))
        time.sleep(0.3)
        alive, progressed = ages_s(read_status(run) or {}) or (0, 0)
        assert 0.3 < alive < progressed
        assert is_alive(status["process"])

        other.kill()
        wait_for(lambda: not is_alive(status["process"]))  # though nobody has fetched its end yet
        last = read_status(run)
        assert last is not None
        assert last["phase"] == "training"
    finally:
        other.kill()
        other.wait()


def test_the_wall_clock_is_not_believed(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with heartbeat(run, every_s=0.01) as beat:
        beat.tick(phase="training", step=5)
        time.sleep(0.05)
        status = read_status(run)
        assert status is not None
        for jump in (-1e9, 1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: time.monotonic() + jump)
            alive, progressed = ages_s(status) or (99, 99)
            assert 0 <= alive <= progressed + 0.1 < 2
            assert Watch().look(status) < 1
            assert is_alive(status["process"])
        spent = beat.spent_s
    assert 0.05 <= spent < 10
    assert ages_s(status | {"process": {"boot_id": "another"}}) is None


def test_what_ended_says_why_and_time_adds_up(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="out of luck"), heartbeat(run, every_s=0.01):  # noqa: PT012
        time.sleep(0.3)
        raise ValueError("out of luck")
    status = read_status(run)
    assert status is not None
    assert (status["phase"], status["reason"]) == ("ended", "ValueError: out of luck")
    with heartbeat(run):
        again = read_status(run)
        assert again is not None
        assert again["spent_s"] >= 0.3
        assert again["phase"] == "starting"
    write_end(run, "vanished")
    assert (read_status(run) or {})["reason"] == "vanished"


def test_a_full_disk_ends_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with heartbeat(run, every_s=0.01) as beat:
        monkeypatch.setattr(atomic, "write_json", full)
        time.sleep(0.05)
        monkeypatch.undo()
    assert beat.num_failed >= 1
    assert (read_status(run) or {})["phase"] == "ended"


def test_phases_nest(run: RunFolder) -> None:
    beat = Beat(None)
    beat.tick(phase="training")
    with beat.phase("validating"):
        with beat.phase("saving"):
            assert beat.content()["phase"] == "saving"
        assert beat.content()["phase"] == "validating"
    assert beat.content()["phase"] == "training"
    beat.start()
    beat.stop("x")
    assert list(run.path.iterdir()) == [run.checkpoints]  # beats for nobody


def test_a_number_that_another_process_has_now() -> None:
    mine = identity(os.getpid())
    assert mine is not None
    assert is_alive(mine)
    assert not is_alive(mine | {"start": mine["start"] - 1})
    assert not is_alive(mine | {"boot_id": "before the restart"})
    assert is_alive(mine | {"boot_id": "another", "host": "another"}) is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert identity(gone.pid) is None


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROC", Path("/nowhere"))
    process.boot_id.cache_clear()
    try:
        mine = identity(os.getpid())
        assert mine is not None
        assert is_alive(mine)
        assert json.dumps(mine)
    finally:
        process.boot_id.cache_clear()
