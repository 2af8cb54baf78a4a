"""Training that is killed with SIGKILL again and again, and goes on each time: real processes, real kills.

For test_killed.py and benchmarks/kill.py. A server imports everything once and forks one process for each life of a
run, so that a life begins in milliseconds. A living process shows in shared memory what it does, so that one can aim a
kill (at a validation, at the writing of a checkpoint ...) and knows what it hit.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PHASES = ("begin", "first step", "step", "validate", "save", "write", "between")
"""begin: data, plan, restore, naive models; first step: with compilation, if it is on; save: the training thread copies
or waits; write: the other thread writes a checkpoint, whatever the training thread does."""
AIMS = ("begin", "save", "first step", "step", "validate", "write")
"""Phases to wait for. In this order the second kill of all hits a run before its first checkpoint."""

_STATE = struct.Struct("iii")
"""Phase of the training thread, whether the other thread writes, steps done."""


# ---- one life, in the forked process -----------------------------------------------------------------------------


def live(order: dict[str, Any]) -> None:
    """Begin or resume a run, and train until it is finished."""
    from worldmodel.training.run import resume_training, run_training

    with open(order["shown"], "r+b") as file:
        shown = mmap.mmap(file.fileno(), _STATE.size)
    _show_phases(shown)
    if order["resume"]:
        resume_training(order["run"], device="cpu", say=_say)
    else:
        run = Path(order["run"])
        run_training(order["config"], order["data"], runs=run.parent, name=run.name, device="cpu", say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show_phases(shown: mmap.mmap) -> None:
    """Wrap what training calls, so that it is seen from outside; numbers are not touched."""
    from worldmodel.training import saver
    from worldmodel.training.book import Book
    from worldmodel.training.step import Step

    now = {"phase": 0, "writes": 0, "step": 0, "is_warm": 0}

    def show(**changes: int) -> None:
        now.update(changes)
        _STATE.pack_into(shown, 0, now["phase"], now["writes"], now["step"])

    def wrapped(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def inner(*arguments: Any, **more: Any) -> Any:
            before = now["phase"]
            show(phase=PHASES.index(phase))
            try:
                return function(*arguments, **more)
            finally:
                show(phase=before)

        return inner

    true_step, true_write = Step.__call__, saver.write

    def step(self: Step, *arguments: Any, **more: Any) -> Any:
        show(phase=PHASES.index("step" if now["is_warm"] else "first step"))
        out = true_step(self, *arguments, **more)
        show(phase=PHASES.index("between"), step=self.state.step, is_warm=1)
        return out

    def write(*arguments: Any, **more: Any) -> Any:
        show(writes=1)
        try:
            return true_write(*arguments, **more)
        finally:
            show(writes=0)

    Step.__call__ = step  # type: ignore[method-assign]
    saver.write = write
    Book.validate = wrapped(Book.validate, "validate")  # type: ignore[method-assign]
    Book.save = wrapped(Book.save, "save")  # type: ignore[method-assign]


def serve() -> None:
    """Fork a life for each line of standard input; its pid goes out at once, its status when it is over."""
    import torch._dynamo

    import worldmodel.training.run  # noqa: F401

    if "--compile" in sys.argv:
        import torch._inductor.compile_fx  # noqa: F401
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with open(order["log"], "ab", buffering=0) as log:
                os.dup2(log.fileno(), 2)
                os.dup2(log.fileno(), 1)
            code = 1
            try:
                live(order)
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


# ---- the one who kills -------------------------------------------------------------------------------------------


@dataclass
class Kill:
    """One death. `aim`: the phase that was waited for, or "" for a moment by the clock."""

    aim: str
    delay_s: float
    phase: str
    step: int
    seconds: float
    lost: int = 0


@dataclass
class Report:
    """What happened to the runs. `differences`: where a killed run does not equal the one that was left alone."""

    kills: list[Kill] = field(default_factory=list)
    num_runs: int = 0
    num_fresh_starts: int = 0
    num_steps: int = 0
    differences: list[str] = field(default_factory=list)

    def by_phase(self) -> dict[str, list[Kill]]:
        return {phase: [kill for kill in self.kills if kill.phase == phase] for phase in PHASES}


class Grounds:
    """A place where lives begin and end. `config`: an experiment file; `data`: a dataset."""

    def __init__(self, place: Path, config: Path, data: Path, server: subprocess.Popen[str]) -> None:
        self.place, self.config, self.data, self._server = place, config, data, server
        self.shown, self.log = place / "shown", place / "log.txt"
        self.shown.write_bytes(bytes(_STATE.size))
        with self.shown.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _STATE.size)

    def begin(self, run: Path, *, resume: bool) -> int:
        """A new life; returns its pid."""
        self._map[:] = bytes(_STATE.size)
        order = {"run": str(run), "resume": resume, "config": str(self.config), "data": str(self.data)}
        order |= {"shown": str(self.shown), "log": str(self.log)}
        self._write(json.dumps(order))
        return int(self._read())

    def is_over(self) -> bool:
        """Whether the life has ended by itself."""
        return bool(select.select([self._server.stdout], [], [], 0)[0])

    def status(self) -> int:
        """Wait for the end of the life."""
        return int(self._read())

    def look(self) -> tuple[str, int]:
        """What the process does, or did when it died: phase and steps done."""
        phase, writes, step = _STATE.unpack_from(self._map)
        return "write" if writes else PHASES[phase], step

    def _write(self, line: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()

    def _read(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, f"the server is gone: {self.log.read_text()[-2000:] if self.log.exists() else ''}"
        return line


@contextmanager
def grounds(place: Path, config: Path, data: Path, *, compiled: bool = False) -> Iterator[Grounds]:
    """Start the server for the time of the `with`."""
    place.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(place / "compiled")} if compiled else {}
    command = [sys.executable, __file__, *(["--compile"] if compiled else [])]
    # Nothing is read ahead on our side: whether a status has come is asked of the pipe itself.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield Grounds(place, config, data, server)
        assert server.stdin is not None
        server.stdin.close()


def reference(here: Grounds) -> tuple[Path, float]:
    """A run that is left alone, and its seconds."""
    run = here.place / "reference"
    began = time.monotonic()
    here.begin(run, resume=False)
    status = here.status()
    assert status == 0, here.log.read_text()[-4000:]
    return run, time.monotonic() - began


def kill_until_finished(
    here: Grounds, left_alone: Path, *, num_kills: int, seed: int, horizon_s: float, tell: Callable[[str], None] = print
) -> Report:
    """Run after run, killed at moments drawn from `seed`, resumed each time, until `num_kills` kills were made and the
    last run is finished; each finished run is compared with the one that was left alone.

    The first moments are the beginnings of each phase in turn. Of the others half are by the clock, uniform over
    `horizon_s` of a life; half wait for a phase drawn at random.
    """
    draw, report = random.Random(seed), Report()
    while len(report.kills) < num_kills:
        report.num_runs += 1
        run = here.place / f"run-{report.num_runs}"
        is_finished = False
        while not is_finished:
            resume = False
            if run.exists():
                at, problem = _newest(run)
                if at is not None:
                    resume = True
                    report.kills[-1].lost = max(0, report.kills[-1].step - at)
                else:
                    assert "start again" in problem, problem
                    shutil.rmtree(run)
                    report.num_fresh_starts += 1
            began = time.monotonic()
            pid = here.begin(run, resume=resume)
            if len(report.kills) >= num_kills:
                status = here.status()
                assert status == 0, here.log.read_text()[-4000:]
                break
            aim, delay_s = _moment(draw, len(report.kills), horizon_s)
            is_finished = _wait(here, aim, delay_s)
            if not is_finished:
                os.kill(pid, signal.SIGKILL)
            status = here.status()
            if is_finished or status == 0:
                assert status == 0, here.log.read_text()[-4000:]
                is_finished = True
                continue
            phase, step = here.look()
            report.kills.append(Kill(aim, delay_s, phase, step, time.monotonic() - began))
            tell(
                f"kill {len(report.kills):3} of run {report.num_runs}: {phase} (aimed at {aim or 'the clock'} "
                f"+ {delay_s:.3f} s), {step} steps done"
            )
        report.differences += [f"run {report.num_runs}: {text}" for text in differences(left_alone, run)]
        tell(f"run {report.num_runs} is finished; {len(report.differences)} differences")
    return report


def _newest(run: Path) -> tuple[int | None, str]:
    """Step of the newest checkpoint, or None and why there is none."""
    from worldmodel.errors import WrongUse
    from worldmodel.runs.folder import RunFolder

    try:
        checkpoint, problems = RunFolder.open(run).newest_checkpoint()
    except WrongUse as error:
        return None, str(error)
    assert not problems, problems  # a kill leaves no damage, only unfinished names
    return checkpoint.step, ""


def _moment(draw: random.Random, number: int, horizon_s: float) -> tuple[str, float]:
    """Phase to wait for ("" for none), and seconds to wait then."""
    if number < len(AIMS):
        return AIMS[number], 0.0
    if draw.random() < 0.5:
        return "", draw.uniform(0, horizon_s)
    aim = draw.choice(AIMS)
    return aim, draw.uniform(0, 0.3 if aim == "begin" else draw.choice((0.0, 0.02)))


def _wait(here: Grounds, aim: str, delay_s: float) -> bool:
    """Wait for the moment. Returns whether the life was over before."""
    if aim not in ("", "begin"):
        while here.look()[0] != aim:
            if here.is_over():
                return True
            time.sleep(0.0002)
    end = time.monotonic() + delay_s
    while time.monotonic() < end:
        if here.is_over():
            return True
        time.sleep(min(0.002, max(0.0, end - time.monotonic())))
    return here.is_over()


# ---- comparing ---------------------------------------------------------------------------------------------------


def differences(one: Path, two: Path) -> list[str]:
    """Where two finished runs differ: last checkpoint, weights files, metrics. Nothing may."""
    import torch

    from worldmodel.runs.folder import RunFolder

    out = []
    first, second = RunFolder.open(one), RunFolder.open(two)
    if first.metrics.read_bytes() != second.metrics.read_bytes():
        out.append("metrics.jsonl differs")
    last, others = first.newest_checkpoint()[0], second.newest_checkpoint()[0]
    if [each.step for each in first.all_checkpoints()][-1:] != [each.step for each in second.all_checkpoints()][-1:]:
        out.append("not the same last step")
    for name in (last.weights.name, last.weights_ema.name):
        files = [folder.path / name for folder in (last, others)]
        if [file.exists() for file in files] not in ([True, True], [False, False]):
            out.append(f"{name} is missing in one")
        elif files[0].exists() and files[0].read_bytes() != files[1].read_bytes():
            out.append(f"{name} differs")
    states = [_flat(torch.load(folder.state, weights_only=True)) for folder in (last, others)]
    if states[0].keys() != states[1].keys():
        out.append("the states have not the same parts")
    for name in states[0].keys() & states[1].keys():
        values = [state[name] for state in states]
        is_same = (
            torch.equal(*values) if all(isinstance(value, torch.Tensor) for value in values) else values[0] == values[1]
        )
        if not is_same:
            out.append(f"state.pt: {name} differs")
    left_over = [path.name for path in second.path.rglob(".aside-*")]
    if left_over:
        out.append(f"left over: {', '.join(left_over)}")
    return out


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for part, inner in pairs for key, leaf in _flat(inner, f"{name}/{part}").items()}
    return {name: value}


def summary(report: Report) -> tuple[list[str], list[list[object]]]:
    """Table of kills by phase: header and rows."""
    rows: list[list[object]] = []
    for phase, kills in report.by_phase().items():
        lost = [kill.lost for kill in kills]
        seconds = sum(kill.seconds for kill in kills)
        rows.append([phase, len(kills), sum(lost), max(lost, default=0), round(seconds, 1)])
    return ["killed in", "kills", "steps lost", "most at once", "seconds of life"], rows


def aims(report: Report) -> Counter[str]:
    return Counter(kill.aim or "clock" for kill in report.kills)


if __name__ == "__main__":
    serve()
