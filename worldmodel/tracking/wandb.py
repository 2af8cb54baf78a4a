"""Weights & Biases: the one file that speaks to its client, in a process of its own.

    python -m worldmodel.tracking.wandb < order

The first line of standard input is the order (see `mirror.Order`), a later one the reason of the run's end; the end of
input without one means that the training process is gone. Standard output is one JSON object per change of state.

Owns: the run over there: its start, its curves, its summary, its end. Must not: read anything but the run's folder,
decide what a failure means for the training, or share a process with it: whatever the client does, hangs or leaks, no
step waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from worldmodel.tracking.follow import Curves, Tail
from worldmodel.tracking.jsonl import JsonlWriter

POLL_S = 1.0
PROBE_S = 60.0
"""Between two looks at whether the server answers at all."""
RETRY_S = (5.0, 30.0, 120.0, 600.0)
"""Between two attempts to begin; the last for all later ones."""
STEP = "step"
ALERTS = ("rule", "non_finite", "out_of_memory", "vanished", "damaged_checkpoint", "deadline_before_end")
"""Events that somebody should hear of at once."""


@dataclass(slots=True)
class Reporter:
    """What the training process is told, line by line, and the record that stays of it (changes only).

    A broken pipe is no error: the run is then mirrored to its end without a listener.
    """

    out: TextIO
    record: JsonlWriter
    known: dict[str, Any] = field(default_factory=dict)
    _recorded: tuple[Any, ...] = ()

    def tell(self, state: str, **more: Any) -> None:
        """Say a state, with everything known so far."""
        self.known |= {"state": state, **more}
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(json.dumps(self.known), file=self.out, flush=True)
        change = (state, self.known.get("failures"), self.known.get("url"))
        if change != self._recorded:
            self._recorded = change
            with contextlib.suppress(OSError):  # a full disk is the run's to tell
                self.record.write({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **self.known})

    def failed(self, state: str, message: str) -> None:
        """Count a failure, and say it."""
        self.tell(state, failures=self.known.get("failures", 0) + 1, message=" ".join(message.split())[:500])


class Stop:
    """The reason of the run's end, when there is one. Read from standard input by a thread."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._reasons: queue.Queue[str] = queue.Queue()
        self.reason: str | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        self._reasons.put(self._source.readline().strip())

    def wait(self, seconds: float) -> bool:
        """Whether the run has ended; waits at most so long for it. An empty reason: its process is gone."""
        if self.reason is None:
            with contextlib.suppress(queue.Empty):
                self.reason = self._reasons.get(timeout=seconds)
        return self.reason is not None


def main() -> int:
    """Mirror the run of the order on standard input until it ends."""
    # Whoever ends the training ends us by ending it; Ctrl-C and a platform's signal go to both.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the client prints is no report
    order = json.loads(sys.stdin.readline())
    record = Path(order["folder"]) / order["record"]
    reporter = Reporter(out, JsonlWriter(record), {key: order[key] for key in ("id", "policy", "project", "entity")})
    stop = Stop(sys.stdin)
    try:
        with record.open("rb") as lock:
            run = _begin(order, reporter, stop, lock.fileno())
            if run is None:
                return 1
            return _mirror(run, order, reporter, stop)
    except Exception as error:  # noqa: BLE001  the client may raise anything; all of it is said, and none is ours to mend
        reporter.failed("failed", f"{type(error).__name__}: {error}")
        return 1


def _begin(order: dict[str, Any], reporter: Reporter, stop: Stop, lock: int) -> Any:
    """A run over there, or None. Tried again as long as the order says and the training goes on."""
    for attempt in range(1_000_000):
        reporter.tell("starting")
        try:
            _be_alone(lock, order["finish_s"] + 10)
            return _init(order, reporter)
        except Exception as error:  # noqa: BLE001  the client has no root of its own errors
            reporter.failed("failed", f"{type(error).__name__}: {error}")
        if not order["retry"] or stop.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)]):
            return None
    return None


def _be_alone(lock: int, limit_s: float) -> None:
    """Wait for the mirror of a killed life of this run, which may still be sending. Raises RuntimeError."""
    until = time.monotonic() + limit_s
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise RuntimeError("another process still mirrors this run") from None
            time.sleep(0.2)


def _init(order: dict[str, Any], reporter: Reporter) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'worldmodel[wandb]'") from None
    settings = wandb.Settings(
        init_timeout=order["init_s"],
        finish_timeout=order["finish_s"],
        console="off",
        disable_code=True,
        disable_git=True,
        silent=True,
        x_stats_pid=order["pid"] or os.getpid(),
        x_disable_stats=not order["pid"],
    )
    folder = Path(order["folder"])
    run: Any = wandb.init(
        id=order["id"],
        name=order["name"],
        project=order["project"],
        entity=order["entity"],
        config=order["config"],
        dir=folder,
        resume="allow",
        settings=settings,
    )
    if order["config"]:
        run.config.update(order["config"], allow_val_change=True)
    run.define_metric(STEP, hidden=True)
    run.define_metric("*", step_metric=STEP)
    for name, direction in order["best"].items():
        run.define_metric(name, step_metric=STEP, summary=direction)
    state = "offline" if run.offline else "live"
    reporter.tell(state, url=run.url, resumed=bool(run.resumed), from_step=run.step, message=None)
    return run


def _mirror(run: Any, order: dict[str, Any], reporter: Reporter, stop: Stop) -> int:
    folder = Path(order["folder"])
    curves = Curves(folder / order["metrics"], folder / order["pace"])
    events = Tail(folder / order["events"])
    begins = run.step if run.resumed else 0
    """The server has what comes before, of a run that goes on: our steps are its steps, so nothing is sent twice."""
    probe = _Probe(run, reporter)
    is_over, sent = False, begins
    while True:
        is_over = is_over or not order["follow"] or stop.wait(POLL_S)
        num_rows = 0
        for points in curves.look():
            num_rows += 1
            if points.constant:
                run.summary.update(points.constant)
            if points.values and points.step >= sent:
                run.log(points.values | {STEP: points.step}, step=points.step)
                sent = points.step
        for event in events.look():
            num_rows += 1
            _tell_event(run, folder, event)
        if num_rows:
            reporter.known |= {"sent_step": sent, "num_skipped": curves.num_skipped + events.num_skipped}
        if is_over and not num_rows:
            break
        if not is_over:
            probe.look()
    return _finish(run, order, reporter, stop.reason)


def _tell_event(run: Any, folder: Path, event: dict[str, Any]) -> None:
    """Events that have a place over there: checkpoints and ends in the summary, trouble as alerts."""
    name = event.get("event")
    if name == "checkpoint":
        try:
            meta = json.loads((folder / "checkpoints" / str(event["name"]) / "meta.json").read_text(encoding="utf-8"))
            files = {f"checkpoint/{file}": digest for file, digest in meta["files"].items()}
        except (OSError, ValueError, KeyError):  # an older one that was dropped meanwhile
            files = {}
        run.summary.update({"checkpoint/name": event["name"], "checkpoint/at": event.get("at"), **files})
    elif name == "ended":
        run.summary.update({"ended": event.get("reason"), "ended/at": event.get("at")})
    elif name in ALERTS:
        words = {key: value for key, value in event.items() if key not in ("event", "at", "step")}
        run.alert(title=f"{run.name}: {name}", text=f"step {event.get('step')}: {json.dumps(words)}"[:1000])


class _Probe:
    """Whether the server answers. The client itself says nothing: it keeps what it cannot send, and tries again."""

    def __init__(self, run: Any, reporter: Reporter) -> None:
        self._url = None if run.offline else str(run.settings.base_url)
        self._reporter = reporter
        self._next = time.monotonic() + PROBE_S

    def look(self) -> None:
        if self._url is None or time.monotonic() < self._next:
            return
        state = self._reporter.known["state"]
        problem = unreachable(self._url)
        self._next = time.monotonic() + PROBE_S
        if problem is not None:
            self._reporter.failed("unreachable", f"{self._url}: {problem}")
        elif state == "unreachable":
            self._reporter.tell("live", message=None)
        else:
            self._reporter.tell(state)


def unreachable(url: str, timeout_s: float = 10.0) -> str | None:
    """Why a server does not answer; None if it does, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None


def _finish(run: Any, order: dict[str, Any], reporter: Reporter, reason: str | None) -> int:
    """Wait, within the order's limit, until all of it is over there."""
    is_gone = order["follow"] and not reason
    if is_gone:
        run.summary.update({"ended": "its process is gone"})
    # In a run that only rows are added to (`track sync`) the record says how it ended.
    code = 255 if is_gone else 0
    late: list[str] = []
    done = threading.Event()

    def finish() -> None:
        try:
            run.finish(exit_code=code)
        except Exception as error:  # noqa: BLE001  see `main`
            late.append(f"{type(error).__name__}: {error}")
        done.set()

    began = time.monotonic()
    # In a thread: a client that does not keep its own limit is left behind.
    threading.Thread(target=finish, daemon=True).start()
    in_time = done.wait(order["finish_s"] + 5)
    seconds = time.monotonic() - began
    is_short = not run.offline and (
        seconds >= order["finish_s"] or unreachable(str(run.settings.base_url), 3) is not None
    )
    if late or not in_time or is_short:
        reporter.failed("unfinished", late[0] if late else f"not all was taken within {seconds:.0f} s")
        return 1
    reporter.tell("finished" if not run.offline else "offline", message=None)
    return 0


if __name__ == "__main__":
    # Without waiting for threads and exit handlers of a client that may hang.
    _code = main()
    sys.stderr.flush()
    os._exit(_code)
