"""One process at a time has a run, and a process that is killed has it no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worldmodel.errors import WrongUse
from worldmodel.runs import lock
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.lock import hold

HOLDER = """
import sys, time
from pathlib import Path
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.lock import hold
with hold(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, experiment="test", name="run")


def test_a_held_run_is_refused_until_its_holder_is_killed(run: RunFolder) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(WrongUse, match=rf"process {holder.pid} on .* since 20.*kill {holder.pid}"), hold(run):
            pytest.fail("two processes had the run")
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with hold(run):
        assert str(os.getpid()) in run.lock.read_text()


def test_it_can_be_had_again(run: RunFolder) -> None:
    for _ in range(2):
        with hold(run):
            pass
        assert run.lock.read_text() == ""


def test_a_holder_that_has_not_said_its_name_yet(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with hold(run):
        run.lock.write_text("")
        with pytest.raises(WrongUse, match="process unknown"), hold(run):
            pass


def test_a_file_system_without_locks_is_said(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    said: list[str] = []
    with hold(run, say=said.append):
        assert "NO LOCK" in said[0]
