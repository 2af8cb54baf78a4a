"""A run is asked to stop, not torn down; and a terminal that goes away is no reason at all."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from worldmodel.errors import WrongUse
from worldmodel.training import stop
from worldmodel.training.stop import DEADLINE, REASONS, Deadline, Margin, seconds_of, stop_signals
from worldmodel.training.voice import Voice


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8h", 28800), ("90m", 5400), ("1h30m", 5400), ("3600s", 3600), ("86400", 86400), ("2d", 172800), (" 1H ", 3600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "h", "8x", "-1", "1.5h", "30m1h", "eight"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(WrongUse, match="duration"):
        seconds_of(text)


def test_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert not Deadline().is_near(step_s=1e9, write_s=1e9)
    deadline = Deadline(100)
    now = 87.9
    assert not deadline.is_near(step_s=3, write_s=2)  # 2 (3 + 2) + 2 = 12 seconds before
    now = 88.1
    assert deadline.is_near(step_s=3, write_s=2)
    assert deadline.left_s == pytest.approx(11.9)


def test_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    margin = Margin(10)
    assert (margin.step_s, margin.steps) == (0.0, 1)
    for step, at, expected in ((11, 60.0, 60.0), (12, 63.0, 3.0), (16, 68.0, 5.0), (17, 69.0, 5.0)):
        now = at
        margin.mark(step)
        assert margin.step_s == expected  # the first way, which compiles, counts only while it is the only one
    assert margin.steps == 4
    now = 99.0
    margin.pause(29.0)
    margin.mark(18)
    assert margin.step_s == 5.0


def test_a_process_knows_its_age() -> None:
    one = stop.process_age_s()
    time.sleep(0.05)
    assert 0 < one < stop.process_age_s()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_asks(name: str) -> None:
    before = signal.getsignal(getattr(signal, name))
    with stop_signals() as request:
        assert (request.reason, request.code) == (None, 0)
        for _ in range(3):  # the same signal, handed on by torchrun, does not end the process
            os.kill(os.getpid(), getattr(signal, name))
        assert request.reason == name
        assert REASONS[request.code] == name
    assert signal.getsignal(getattr(signal, name)) == before


def test_an_impatient_person_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "GRACE_S", 0.0)
    # A shell starts what runs in its background deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stop_signals() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert request.reason == "SIGINT"
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_slurms_warning_and_then_its_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "GRACE_S", 0.0)
    with stop_signals() as request:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert request.reason == "SIGUSR1"
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.reason == "SIGTERM"
        os.kill(os.getpid(), signal.SIGUSR1)
        assert request.reason == "SIGTERM"


def test_a_hangup_is_noted_and_not_obeyed() -> None:
    with stop_signals() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert (request.reason, request.hangups) == (None, 2)


def test_reasons_are_what_processes_agree_on() -> None:
    assert REASONS[0] == ""
    assert len(set(REASONS)) == len(REASONS)
    assert DEADLINE in REASONS


def test_words_that_nobody_hears() -> None:
    def broken(text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    voice = Voice(broken)
    voice("one")
    voice("two")
    assert voice.num_lost == 2


TALKER = """
import os, sys, time
from worldmodel.training.stop import stop_signals
from worldmodel.training.voice import Voice, lasting_output
result = open(sys.argv[1], "w")
voice = Voice(lambda text: print(text, file=sys.stderr, flush=True))
with lasting_output(voice), stop_signals() as stop:
    voice("ready")
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(0.3)
    for _ in range(3):
        voice("x" * 1000)
        print("z", file=sys.stderr, flush=True)
print("after, on the other stream", flush=True)
result.write(f"{voice.num_lost > 0} {stop.reason}")
"""


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    script = tmp_path / "talker.py"
    script.write_text(textwrap.dedent(TALKER))
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, script, tmp_path / "r"], stdin=pipe, stdout=pipe, stderr=pipe) as talker:
        assert talker.stdin is not None
        assert talker.stdout is not None
        assert talker.stderr is not None
        assert talker.stdout.readline() == b"ready\n"
        talker.stdout.close()
        talker.stderr.close()
        talker.stdin.write(b"go\n")
        talker.stdin.close()
        assert talker.wait(30) == 0
    assert (tmp_path / "r").read_text() == "True None"


def test_a_terminal_that_closes(tmp_path: Path) -> None:
    """As when a laptop is closed: the controlling terminal is gone, SIGHUP comes, and every write fails."""
    script = tmp_path / "talker.py"
    script.write_text(textwrap.dedent(TALKER))
    ours, theirs = pty.openpty()
    go, gone = os.pipe()
    command = [sys.executable, str(script), str(tmp_path / "r")]
    talker = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=theirs, stdout=theirs, stderr=theirs, pass_fds=(go,)
    )
    os.close(theirs)
    os.close(go)
    said = b""
    while said.count(b"ready") < 2:
        said += os.read(ours, 1000)
    os.write(ours, b"go\n")
    time.sleep(0.1)
    os.close(ours)
    os.close(gone)
    talker.wait(30)
    deadline = time.monotonic() + 10
    while not (tmp_path / "r").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "r").read_text() == "True None"
