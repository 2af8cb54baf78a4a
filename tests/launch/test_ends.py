"""Every end of a launched run, with real processes: what is written is what happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fake_worker import Launches, events, is_cared_for, reasons, step_of, wait_for, worker_of

from worldmodel.errors import WrongUse
from worldmodel.launch import board
from worldmodel.launch.base import read_care, read_order
from worldmodel.launch.local import Local, stop_processes
from worldmodel.runs.process import identity
from worldmodel.runs.status import read_status
from worldmodel.tracking import jsonl


def over(run: board.RunFolder) -> board.Sight:
    wait_for(lambda: board.look(run, close=False).is_over and not is_cared_for(run))
    return board.look(run)


def test_it_finishes(launches: Launches) -> None:
    run = launches("short")
    sight = over(run)
    assert (sight.state, reasons(run)) == ("finished", ["finished"])
    row = next(row for row in jsonl.read(run.events).rows if row["event"] == "exited")
    assert (row["code"], row["signal"]) == (0, None)
    order = read_order(run)
    assert order is not None
    assert Local().poll(run, order).state == "over"


def test_kill_9_of_the_worker_and_a_second_life(launches: Launches) -> None:
    run = launches(retries=1)
    wait_for(lambda: step_of(run) >= 7)
    first = worker_of(run)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: "restarted" in events(run))
    again = wait_for(lambda: (pid := worker_of(run)) != first and pid)
    wait_for(lambda: step_of(run) >= 12)
    assert reasons(run) == ["killed by SIGKILL"]
    row = next(row for row in jsonl.read(run.events).rows if row["event"] == "resumed")
    assert row["step"] >= 5  # from the newest checkpoint, not from the beginning
    os.kill(again, signal.SIGKILL)  # the only retry is used
    assert over(run).state == "crashed"
    assert reasons(run)[-1] == "killed by SIGKILL"
    assert "all 1 retries are used" in run.care_log.read_text()


def test_nobody_stays_behind_on_the_device(launches: Launches) -> None:
    """The processes of a team, whose leader was killed."""
    run = launches("child")
    child = int(wait_for(lambda: (run.path / "child").exists() and (run.path / "child").read_text()))
    assert identity(child) is not None
    os.kill(worker_of(run), signal.SIGKILL)
    over(run)
    assert identity(child) is None


def test_kill_9_of_the_supervisor_leaves_the_training_alone(launches: Launches) -> None:
    """And when the worker then goes without a word, whoever looks closes the run."""
    run = launches()
    worker = worker_of(run)
    wait_for(lambda: step_of(run) >= 3)
    os.kill(read_care(run)["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: not is_cared_for(run))
    before = step_of(run)
    wait_for(lambda: step_of(run) > before)
    assert board.look(run).state == "running"
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: identity(worker) is None)
    assert board.look(run, close=False).state == "vanished"
    assert reasons(run) == []
    assert board.look(run).state == "vanished"
    assert events(run)[-2:] == ["vanished", "ended"]
    assert board.look(run).why.startswith("vanished: process")
    assert len(reasons(run)) == 1  # closed once


@pytest.mark.slow
def test_the_supervisor_is_asked_to_end(launches: Launches) -> None:
    """As when the machine shuts down: the worker saves, and is not begun again."""
    run = launches(retries=3)
    wait_for(lambda: step_of(run) >= 6)
    os.kill(read_care(run)["supervisor"]["pid"], signal.SIGTERM)
    sight = over(run)
    assert (sight.state, sight.why) == ("stopped", "SIGTERM")
    assert run.newest_checkpoint()[0].step == step_of(run)


def test_stop(launches: Launches) -> None:
    run = launches(retries=3)
    wait_for(lambda: step_of(run) >= 6)
    assert "stopped after" in stop_processes(run, wait_s=20)
    sight = board.look(run)
    assert (sight.state, sight.why) == ("stopped", "SIGTERM")
    assert run.newest_checkpoint()[0].step == step_of(run) > 5
    assert stop_processes(run, wait_s=1) == "was not running"
    assert not run.stop.exists()


@pytest.mark.slow
def test_a_deaf_worker_is_killed_and_not_begun_again(launches: Launches) -> None:
    run = launches("deaf", retries=3)
    wait_for(lambda: step_of(run) >= 12)
    assert "was killed" in stop_processes(run, wait_s=0.3)
    sight = board.look(run)
    assert (sight.state, sight.why) == ("stopped", "stop: killed, it did not leave in time")
    assert "restarted" not in events(run)


@pytest.mark.slow
def test_a_crash_says_its_last_line(launches: Launches) -> None:
    run = launches("crash-at-once", retries=3)
    sight = over(run)
    assert sight.state == "crashed"
    assert "RuntimeError: never gets on" in sight.why
    assert "no newer checkpoint than it began with" in run.care_log.read_text()
    assert read_care(run)["ended"] == sight.why


@pytest.mark.slow
def test_a_crash_after_some_progress_is_begun_again(launches: Launches) -> None:
    run = launches("crash-once", retries=2)
    wait_for(lambda: step_of(run) >= 20)
    assert reasons(run) == ["exit code 1: RuntimeError: out of luck"]
    assert read_care(run)["attempt"] == 2


def test_one_run_on_a_device(launches: Launches) -> None:
    run = launches(device="cuda:0")
    with pytest.raises(WrongUse, match=f"device cuda:0 is taken by {run.path}"):
        launches(name="second", device="cuda:0")
    other = launches(name="third", device="cuda:1")
    wait_for(lambda: step_of(run) >= 1 and step_of(other) >= 1)
    # The device is held by who trains, whoever else was killed.
    os.kill(read_care(run)["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: not is_cared_for(run))
    with pytest.raises(WrongUse, match="is taken by"):
        launches(name="fourth", device="cuda:0")
    stop_processes(run, wait_s=20)
    fifth = launches(name="fifth", device="cuda:0")
    wait_for(lambda: step_of(fifth) >= 1)


def test_a_hung_step_is_ended_from_outside(launches: Launches) -> None:
    """The heart beats, nothing gets on: the rule `stale` ends it, it saves if it can, and is begun again."""
    run = launches("hang", rules="kill: [{rule: stale, minutes: 0.01}]\n", retries=1, look_s=0.2)
    wait_for(lambda: "restarted" in events(run))
    assert reasons(run)[:2] == ["SIGTERM", "rule: stale"]
    row = next(row for row in jsonl.read(run.events).rows if row["event"] == "rule")
    assert (row["rule"], row["by"]) == ("stale", "supervisor")
    assert row["value"] > 0.01


def test_a_halted_worker_is_seen(launches: Launches) -> None:
    run = launches()
    worker = worker_of(run)
    wait_for(lambda: step_of(run) >= 3)
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: board.look(run).state == "halted")
    status = read_status(run)
    assert status is not None
    assert "stopped after" in stop_processes(run, wait_s=20)  # it is woken, and saves
    assert board.look(run).why == "SIGTERM"


def test_a_run_is_found_by_name_or_path(launches: Launches, tmp_path: Path) -> None:
    run = board.RunFolder.create(launches.runs, experiment="test", name="run")
    run.provenance.write_text("{}")
    assert board.find_run("run", launches.runs).path == run.path
    assert board.find_run(str(run.path), tmp_path).path == run.path
    assert board.find_run(None, launches.runs).id == "run"
    with pytest.raises(WrongUse, match="no run 'rum'"):
        board.find_run("rum", launches.runs)
    with pytest.raises(WrongUse, match="no run in"):
        board.find_run(None, tmp_path / "nowhere")
