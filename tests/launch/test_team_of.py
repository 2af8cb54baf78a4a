"""Processes that train together are begun as one and ended as one, and the first one's reason is everybody's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_worker import wait_for
from team_worker import WORKER

from worldmodel.errors import WrongUse
from worldmodel.launch import team
from worldmodel.launch.device import device_names
from worldmodel.launch.team import main, team_command
from worldmodel.runs.process import identity

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    script = tmp_path / "member.py"
    script.write_text(WORKER)

    def begin(mode: str) -> subprocess.Popen[bytes]:
        command = team_command(2, [sys.executable, str(script), str(tmp_path), mode])
        return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)

    return begin


def members(folder: Path) -> list[int]:
    """Numbers of both processes, as soon as both have said who they are."""
    files = [folder / f"rank{rank}" for rank in range(2)]
    wait_for(lambda: all(file.exists() and len(file.read_text().split()) == 3 for file in files))
    told = [file.read_text().split() for file in files]
    assert {words[1] for words in told} == {"2"}
    assert len({words[2] for words in told}) == 1, "all meet at one port"
    return [int(words[0]) for words in told]


def is_gone(pids: list[int]) -> bool:
    return all(identity(pid) is None for pid in pids)


def test_one_process_is_no_team() -> None:
    assert team_command(1, ["x"]) == ["x"]


def test_all_end_well(start: Start, tmp_path: Path) -> None:
    done = start("short")
    assert done.wait(30) == 0
    assert done.communicate()[1] == b""


def test_asked_to_stop_all_stop(start: Start, tmp_path: Path) -> None:
    done = start("plain")
    pids = members(tmp_path)
    done.terminate()
    assert done.wait(30) == 3
    assert is_gone(pids)
    done.communicate()


@pytest.mark.parametrize(("mode", "kill", "code"), [("fails", False, 7), ("plain", True, -signal.SIGKILL)])
def test_one_that_fails_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, kill: bool, code: int
) -> None:
    """In this process, with little patience. The one that was killed is the reason, not what came of it."""
    monkeypatch.setattr(team, "ALONE_S", 0.3)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    script = tmp_path / "member.py"
    kills = "if rank == 1 and mode == 'plain': os.kill(os.getpid(), signal.SIGKILL)\nwhile not stop:"
    script.write_text(WORKER.replace("while not stop:", kills) if kill else WORKER)
    assert team.run_team(2, [sys.executable, str(script), str(tmp_path), mode]) == code
    assert is_gone(members(tmp_path))


def test_who_does_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "ALONE_S", 0.3)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    script = tmp_path / "member.py"
    deaf = WORKER.replace('mode == "fails" and rank == 1', "rank == 1").replace('mode != "deaf"', "False")
    script.write_text(deaf)
    assert team.run_team(2, [sys.executable, str(script), str(tmp_path), "deaf"]) == 7
    assert is_gone(members(tmp_path))


def test_a_killed_member_is_how_the_team_dies(start: Start, tmp_path: Path) -> None:
    """So that the supervisor hears of a kill, and not of a broken connection."""
    done = start("plain")
    pids = members(tmp_path)
    os.kill(pids[1], signal.SIGKILL)
    os.kill(pids[0], signal.SIGTERM)
    assert done.wait(30) == -signal.SIGKILL
    assert b"process 1 of 2 (from 0) was killed by SIGKILL" in done.communicate()[1]


def test_the_group_goes_with_its_leader(start: Start, tmp_path: Path) -> None:
    """What a supervisor does after the end of its worker."""
    done = start("plain")
    pids = members(tmp_path)
    done.kill()
    done.wait(30)
    os.killpg(done.pid, signal.SIGKILL)
    wait_for(lambda: is_gone(pids))
    done.communicate()


def test_wrong_words() -> None:
    with pytest.raises(WrongUse, match="N -- COMMAND"):
        main(["two", "--", "x"])


def test_a_device_for_each() -> None:
    assert device_names("cpu", {}, 2) == ["cpu"]
    assert device_names("cuda", {}, 2) == ["cuda:0", "cuda:1"]
    assert device_names("cuda", {"CUDA_VISIBLE_DEVICES": "4,6"}, 2) == ["cuda:4", "cuda:6"]
    with pytest.raises(WrongUse, match="2 devices, and --device cuda:1"):
        device_names("cuda:1", {}, 2)
