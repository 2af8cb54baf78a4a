"""A worker without torch, for what is about processes, and ways to launch it, wait for it and be rid of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from worldmodel.launch.base import Order, read_care, read_order
from worldmodel.launch.local import Local
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity, is_alive
from worldmodel.runs.status import read_status
from worldmodel.tracking import jsonl

WORKER = '''
"""Stands for a training: steps with a heartbeat, checkpoints, a stop that saves. Without torch it starts at once."""
import json, os, signal, sys, time
from pathlib import Path
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import heartbeat
from worldmodel.tracking.jsonl import JsonlWriter

folder, mode = RunFolder(Path(sys.argv[1])), sys.argv[2]
if mode == "import-error":
    import no_such_package
if mode == "wrong-use":
    print("worldmodel: no folder /data; expected a dataset; check the path", file=sys.stderr)
    sys.exit(2)
if mode == "child":
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path(sys.argv[1], "child").write_text(str(child.pid))
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append("SIGTERM"))
step = folder.newest_checkpoint()[0].step if folder.all_checkpoints() else 0
begin = step
first_life = not folder.config.exists()
folder.checkpoints.mkdir(exist_ok=True)
folder.config.write_text("x: 1\\n")
folder.provenance.write_text("{}")
events, metrics = JsonlWriter(folder.events, durable=True), JsonlWriter(folder.metrics)

def tell(event, **more):
    events.write({"event": event, "at": "2026-01-01T00:00:00.000+00:00", "step": step, **more})

def save():
    with folder.new_checkpoint(step, {}) as aside:
        aside.state.write_bytes(b"state %d" % step)
    name, at = f"step-{step:09d}", "2026-01-01T00:00:00.000+00:00"
    beat.tick(last_checkpoint={"step": step, "name": name, "at": at, "at_s": time.monotonic()})
    tell("checkpoint", of_step=step)

with heartbeat(folder, every_s=0.05) as beat:
    tell("started" if not step else "resumed", num_steps=10_000, steps_per_epoch=100)
    beat.tick(phase="training", step=step, num_steps=10_000)
    save()
    for what in ("validation", "checkpoint"):
        tell("proved", what=what, name="step-0", seconds=0.1)
    while not stop and step < (20 if mode in ("short", "killed") else 10_000):
        step += 1
        beat.tick(step=step)
        metrics.write({"kind": "train", "step": step, "epoch": step / 100, "loss/total": 1.0})
        if step % 5 == 0:
            save()
        if mode == "crash" or (mode == "crash-once" and first_life):
            if step == 12:
                raise RuntimeError("out of luck")
        if mode == "crash-at-once":
            raise RuntimeError("never gets on")
        if mode == "killed" and first_life and step == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        while mode == "hang" and step - begin == 12 and not stop:
            time.sleep(0.05)
        while mode == "deaf" and step - begin == 12:
            time.sleep(0.05)
        time.sleep(0.02)
    if stop:
        save()
    reason = stop[0] if stop else "finished"
    beat.know(reason=reason)
    tell("ended", reason=reason)
sys.exit(3 if stop else 0)
'''


def wait_for(is_so: Callable[[], Any], seconds: float = 30) -> Any:
    """What `is_so` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
    return found


def reasons(run: RunFolder) -> list[str]:
    return [row["reason"] for row in jsonl.read(run.events).rows if row["event"] == "ended"]


def events(run: RunFolder) -> list[str]:
    return [row["event"] for row in jsonl.read(run.events).rows]


def worker_of(run: RunFolder) -> int:
    """Number of the process that trains."""
    process = wait_for(lambda: (read_care(run).get("worker") or {}).get("pid"))
    return int(process)


def step_of(run: RunFolder) -> int:
    return int((read_status(run) or {}).get("step") or 0)


def is_cared_for(run: RunFolder) -> bool:
    supervisor = read_care(run).get("supervisor")
    return bool(supervisor) and is_alive(supervisor) is True


class Launches:
    """Launches fake workers, and ends whatever is left of them."""

    def __init__(self, runs: Path, script: Path) -> None:
        self.runs, self._script = runs, script
        self.all: list[RunFolder] = []

    def __call__(self, mode: str = "plain", *, name: str = "run", rules: str = "", **order: Any) -> RunFolder:
        run = RunFolder.create(self.runs, experiment="test", name=name)
        command = [sys.executable, str(self._script), str(run.path), mode]
        if rules:
            atomic.write_text(run.rules, rules)
        self.all.append(run)
        Local().submit(run, Order(first=command, again=command, cwd=str(self.runs), **order))
        return run

    def end(self) -> None:
        for run in self.all:
            if (order := read_order(run)) is None:
                continue
            if identity(int(order.job.get("pid", 0))) is not None:  # then it has come so far as to say who it is
                wait_for(lambda run=run: read_care(run).get("worker") or not is_cared_for(run))
            care = read_care(run)
            left = [care[who] for who in ("supervisor", "worker") if care.get(who) and is_alive(care[who])]
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    found = psutil.Process(process["pid"])
                    # Halted first, so that it begins no other worker meanwhile.
                    found.suspend()
                    for each in (*found.children(recursive=True), found):
                        each.kill()
