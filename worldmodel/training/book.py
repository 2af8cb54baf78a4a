"""What a run writes down while it runs: rows of metrics, events, checkpoints, and lines for people.

Owns: the rows of metrics.jsonl and events.jsonl, and when it is time for each. Must not: compute a loss or a metric.

metrics.jsonl has rows of three kinds. "train" and "val" depend on the step alone, so that two runs of one experiment
have the same; "pace" is about time and machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from worldmodel.dynamics.objective import GROUPS
from worldmodel.evaluation.metrics import HEADLINES, LOSS_PREFIX
from worldmodel.nn.frames import State
from worldmodel.runs.folder import RunFolder
from worldmodel.schema import LAYOUT
from worldmodel.tracking import jsonl
from worldmodel.tracking.jsonl import JsonlWriter
from worldmodel.training import checkpoint as checkpoints
from worldmodel.training import disturbance
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.meter import Meter, NonFinite, Pace
from worldmodel.training.plan import Plan, Say
from worldmodel.training.validation import PREFIX, beaten

TOTAL = f"{LOSS_PREFIX}total"
NAMES = (TOTAL, *(f"{LOSS_PREFIX}{group}" for group in GROUPS), "grad_norm")
"""Columns of a training row, in the order of the meter."""
SHOWN = tuple(PREFIX + name for name in (*HEADLINES, TOTAL))
"""The card's metrics."""

Values = dict[str, float | None]


class Book:
    """One open run. Made by `open_book`."""

    def __init__(self, run: RunFolder, plan: Plan, state: TrainState, say: Say) -> None:
        self.run, self.plan, self.state, self.say = run, plan, state, say
        self.values: Values = {}
        self.naive: dict[str, Values] = {}
        self._settings = plan.experiment.training
        self._cut = jsonl.cut_from(run.metrics, lambda row: row["step"] > state.step)
        earlier = jsonl.read(run.metrics).rows
        self.naive = {row["model"]: _metrics_of(row) for row in earlier if row["kind"] == "naive"}
        self.values = next((_metrics_of(row) for row in reversed(earlier) if row["kind"] == "val"), {})
        self._metrics = JsonlWriter(run.metrics)
        self._events = JsonlWriter(run.events, durable=True)
        self.meter = Meter(
            NAMES,
            row_steps=self._settings.log_every_steps,
            step=state.step,
            device=plan.device,
            unlogged=state.unlogged,
        )
        self.pace = Pace(plan.device)
        self._paced_step = state.step
        self._last_log = self._last_save = time.monotonic()
        self._told_touched = False

    # ---- events ----------------------------------------------------------------------------------------------

    def event(self, event: str, **more: Any) -> None:
        """Something happened. On the disk when this returns."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.write({"event": event, "at": at, "step": self.state.step, **more})

    def open(self) -> None:
        """The first event: started, or resumed and from where."""
        if self.state.step or self._cut:
            self.event("resumed", num_steps=self.plan.num_steps, num_rows_dropped=self._cut)
        else:
            self.event("started", num_steps=self.plan.num_steps)
        if self.plan.validation is None:
            self.event("no_validation", why="training.val_windows is 0")

    def end(self, reason: str) -> None:
        """The run is over for now: the last rows, a checkpoint if there is none of this step, the last event."""
        self.log()
        if not any(found.step == self.state.step for found in self.run.all_checkpoints()):
            self.save(reason)
        self.event("ended", reason=reason)

    def tell_touched(self, previous: State, shown: State) -> None:
        """Once: which numbers the disturbance touched, on a real batch."""
        if self._told_touched:
            return
        self._told_touched = True
        touched = disturbance.touched_on(previous, shown).tolist()
        names = [row.name for row, is_touched in zip(LAYOUT.numbers, touched, strict=True) if is_touched]
        self.event("disturbed", numbers=names)
        self.say(f"step {self.state.step:,}: this batch was disturbed in {', '.join(names) or 'nothing'}")

    # ---- metrics ---------------------------------------------------------------------------------------------

    def log_if_due(self) -> None:
        """Fetch and write rows, if it is time or the device holds no more."""
        if self.meter.is_full or time.monotonic() - self._last_log >= self._settings.log_every_s:
            self.log()

    def log(self) -> None:
        """Write all complete rows (after the run's last step also the begun one), and one line about the pace.

        Raises NonFinite, after an event.
        """
        try:
            rows = self.meter.fetch(partial=self.state.step >= self.plan.num_steps)
        except NonFinite as error:
            self.event("non_finite", message=str(error))
            self.event("ended", reason="non-finite loss")
            raise
        per_epoch = self.plan.steps_per_epoch
        for step, means in rows:
            place = {"kind": "train", "step": step, "epoch": step / per_epoch}
            self._metrics.write({**place, **means, "lr": self.plan.schedule.lr(step - 1)})
        self._last_log = time.monotonic()
        num_steps = self.state.step - self._paced_step
        if num_steps:
            self._paced_step = self.state.step
            pace = self.pace.read(num_steps, self.plan.targets_per_step)
            pace["eta_s"] = (self.plan.num_steps - self.state.step) * pace["step_ms"] / 1000
            self._metrics.write({"kind": "pace", "step": self.state.step, **pace})
            if rows:
                self.say(self._line(rows[-1][1], pace))

    def _line(self, means: dict[str, float], pace: dict[str, float]) -> str:
        shares = " ".join(f"{phase} {pace[f'share_{phase}']:.0%}" for phase in self.pace.phases)
        return (
            f"step {self.state.step:,}/{self.plan.num_steps:,}  loss {means[TOTAL]:.4f}  "
            f"lr {self.plan.schedule.lr(max(0, self.state.step - 1)):.2e}  {pace['examples_per_s']:,.0f} frames/s "
            f"({shares})  {pace['memory_gb']:.1f} GB  {_duration(pace['eta_s'])} left"
        )

    def baselines(self) -> None:
        """The naive models on the run's sample: what every later number is to be read beside."""
        if self.plan.validation is None:
            return
        self.naive = self.plan.validation.baselines()
        for name, values in self.naive.items():
            self._metrics.write({"kind": "naive", "step": 0, "model": name, **values})
            self.say(f"naive {name}: {_shown(values)}")
        self.pace.lap("")

    def validate(self) -> None:
        """Measure the model on the sample, and write it down."""
        if self.plan.validation is None:
            return
        self.log()
        step, per_epoch = self.state.step, self.plan.steps_per_epoch
        self.values = self.plan.validation.measure({"model": self.state.model})["model"]
        self._metrics.write({"kind": "val", "step": step, "epoch": step / per_epoch, **self.values})
        total = self.values[PREFIX + TOTAL]
        if total is not None and total < self.state.best.get("value", float("inf")):
            self.state.best = {"value": total, "step": float(step)}
        behind = beaten(self.values, self.naive)
        few = ", ".join(behind[:4]) + (f" and {len(behind) - 4} more" if len(behind) > 4 else "")
        verdict = f"; not better than naive in {few}" if behind else "; better than naive in every metric"
        self.say(f"step {step:,}: {_shown(self.values)}{verdict}")
        self.pace.lap("")

    # ---- checkpoints -----------------------------------------------------------------------------------------

    def save_if_due(self) -> None:
        """A checkpoint, if the last is old enough."""
        if time.monotonic() - self._last_save >= 60 * self._settings.checkpoint_every_min:
            self.save("time")

    def save(self, reason: str) -> None:
        """A checkpoint, after all rows up to here. Raises NonFinite instead of saving what is not to be trusted."""
        self.log()
        self.state.unlogged = self.meter.unlogged
        began = time.monotonic()
        saved = checkpoints.save(
            self.run,
            self.state,
            reason=reason,
            keep_last=self._settings.keep_last,
            steps_per_epoch=self.plan.steps_per_epoch,
        )
        self._last_save = time.monotonic()
        self.event("checkpoint", reason=reason, name=saved.path.name, seconds=round(self._last_save - began, 3))
        self.pace.lap("")

    def close(self) -> None:
        """Close the files."""
        self._metrics.close()
        self._events.close()


@contextmanager
def open_book(run: RunFolder, plan: Plan, state: TrainState, say: Say) -> Iterator[Book]:
    """Open a run's files; an error that ends the run is its last event."""
    book = Book(run, plan, state, say)
    try:
        book.open()
        yield book
    except NonFinite:
        raise
    except BaseException as error:
        book.event("ended", reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        book.close()


def _metrics_of(row: dict[str, Any]) -> Values:
    return {name: value for name, value in row.items() if name.startswith(PREFIX)}


def _shown(values: Values) -> str:
    return "  ".join(f"{name} {value:.4f}" for name in SHOWN if (value := values.get(name)) is not None)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
