"""What a run writes down while it runs: rows of metrics, events, checkpoints, and lines for people.

Owns: the rows of metrics.jsonl, pace.jsonl and events.jsonl, and when it is time for each. Must not: compute a loss or
a metric.

metrics.jsonl ("train", "val" and "naive" rows) depends on the steps alone: two runs of one experiment have the same
file, byte for byte, however often they were killed. What is about time and machine is in pace.jsonl.

In a team every process has a book and calls it at the same places; only the lead's writes and speaks. What is due is
decided once after each step, by all together, because their clocks differ and most of it is work for all of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from worldmodel.dynamics.objective import GROUPS
from worldmodel.errors import StoppedByRule, WorldModelError
from worldmodel.evaluation.metrics import HEADLINES, LOSS_PREFIX
from worldmodel.nn.frames import State
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import REASON
from worldmodel.runs.status import Beat
from worldmodel.schema import LAYOUT
from worldmodel.training import disturbance
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.eta import Eta, duration
from worldmodel.training.guard import Guard, is_full_disk, is_out_of_memory
from worldmodel.training.machine import Machine
from worldmodel.training.meter import Meter, NonFinite, Pace
from worldmodel.training.plan import Plan, Say
from worldmodel.training.publish import Publish, Publisher
from worldmodel.training.rows import Rows, Values
from worldmodel.training.saver import Saver
from worldmodel.training.stop import DEADLINE, REASONS, Deadline, Margin, StopRequest
from worldmodel.training.team import ALONE, Team
from worldmodel.training.validation import PREFIX, beaten
from worldmodel.training.voice import Voice, lasting_output

TOTAL = f"{LOSS_PREFIX}total"
NAMES = (TOTAL, *(f"{LOSS_PREFIX}{group}" for group in GROUPS), "grad_norm")
"""Columns of a training row, in the order of the meter."""
SHOWN = tuple(PREFIX + name for name in (*HEADLINES, TOTAL))
"""The card's metrics."""

_LEAD_FAILED = "the lead process could not write its checkpoint"


class Book:
    """One open run. Made by `open_book`."""

    def __init__(
        self,
        run: RunFolder,
        plan: Plan,
        state: TrainState,
        say: Say,
        *,
        team: Team = ALONE,
        deadline: Deadline | None = None,
        beat: Beat | None = None,
        guard: Guard | None = None,
        publish: Publish | None = None,
    ) -> None:
        self.run, self.plan, self.state, self.team = run, plan, state, team
        self.beat = beat or Beat(None)
        self._guard = guard
        self._is_judgement_due = False
        self._rule = 0
        self.why, self.has_ended = "", False
        self.say = Voice(say if team.is_lead else _silence)
        self.values: Values = {}
        self.ema_values: Values = {}
        self.naive: dict[str, Values] = {}
        self._settings = plan.experiment.training
        self._files = Rows(run, state.step) if team.is_lead else None
        if self._files is not None:
            self.naive = self._files.naive
            self.values, self.ema_values = self._files.values, self._files.ema_values
            if guard is not None:
                guard.show_metrics(self._files.earlier)
                guard.show_pace(self._files.earlier_pace)
        self._saver = Saver(run, plan.experiment, plan.steps_per_epoch, self._sync)
        self._publisher = None if publish is None or not team.is_lead else Publisher(publish, self.beat)
        self._is_resumed = self._files is not None and bool(run.all_checkpoints())
        # A run that goes on from a step has a checkpoint of it.
        self._saved_step = state.step if self._is_resumed else -1
        self.meter = Meter(
            NAMES,
            row_steps=self._settings.log_every_steps,
            step=state.step,
            device=plan.device,
            unlogged=state.unlogged,
            team=team,
            where=plan.where,
        )
        self.pace = Pace(plan.device)
        self._machine = None if self._files is None else Machine(plan.device, self.say)
        self._eta = Eta()
        self._paced_step = state.step
        self._last_log = self._last_save = time.monotonic()
        self._told_touched = False
        self._deadline = deadline or Deadline()
        self._told_deadline = False
        self._stop_code = 0
        self._told_hangups = self._told_lost = 0
        self._margin = Margin(state.step)

    # ---- events ----------------------------------------------------------------------------------------------

    def event(self, event: str, **more: Any) -> None:
        """Something happened. On the disk when this returns."""
        if event == "ended":
            self.has_ended = True
            self.beat.know(reason=more["reason"])
        if self._files is not None:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            row = {"event": event, "at": at, "step": self.state.step, **more}
            self._files.events.write(row)
            if self._guard is not None:
                self._guard.show_event(row)

    def open(self) -> None:
        """The first event: started, or resumed and from where."""
        of = {"num_steps": self.plan.num_steps, "steps_per_epoch": self.plan.steps_per_epoch}
        self.beat.tick(step=self.state.step, metrics=self._headlines(), **of)
        if self._is_resumed and self._files is not None:
            lost_s = round(self._files.lost_s, 1)
            self.event("resumed", num_rows_dropped=self._files.num_cut, lost_s=lost_s, **of)
        else:
            self.event("started", **of)
        if self.plan.validation is None:
            self.event("no_validation", why="training.val_windows is 0")

    def end(self, reason: str) -> None:
        """The run is over for now: the last rows, a checkpoint of this step that is on the disk, the last event."""
        self.log()
        self.save(reason, wait=True)
        self._tell_saved()
        self._tell_noises(None)
        if self._publisher is not None and not self._publisher.close():
            self.say("NOT PUBLISHED: the last checkpoint is on this machine's disk only")
        self._tell_published()
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

    # ---- after each step -------------------------------------------------------------------------------------

    def after_step(self, stop: StopRequest, *, may_save: bool = True) -> str | None:
        """What is due after a step, its validation included: rows, a checkpoint. Returns why to leave, or None.

        may_save: whether a checkpoint can be taken here; if not, what asks for one waits until it can. Call it in every
        process of a team after the same steps. Raises NonFinite, and OSError if the checkpoint before could not be
        written.
        """
        now = time.monotonic()
        self.beat.tick(step=self.state.step, phase="training")
        if may_save:
            self._margin.mark(self.state.step)
        has_ended, has_failed = self._saver.look()
        code, is_log_due, is_save_due, has_any_failed = self.team.agree(
            stop.code or REASONS.index(DEADLINE) * (may_save and self._deadline_is_near()),
            int(self.meter.is_full or now - self._last_log >= self._settings.log_every_s),
            int(now - self._last_save >= 60 * self._settings.checkpoint_every_min),
            int(has_failed),
        )
        if has_ended:
            self._tell_saved()
        if has_any_failed:
            raise WorldModelError(_LEAD_FAILED)
        self._tell_noises(stop)
        self._tell_published()
        self._stop_code = max(self._stop_code, code)
        if is_log_due:
            self.log()
        if self._guard is not None and self._is_judgement_due and not self._rule:
            self._judge(self._guard)
        if self._rule and self._guard is not None and may_save:
            return REASON + self._guard.rulebook.kill[self._rule - 1].rule
        if self._stop_code and may_save:
            return REASONS[self._stop_code]
        if is_save_due and may_save:
            self.save("time")
        return None

    def _judge(self, guard: Guard) -> None:
        """Ask the rules; the lead's answer is everybody's."""
        self._is_judgement_due = False
        place = guard.judge(spent_s=self.beat.spent_s) if self._files is not None else 0
        (self._rule,) = self.team.agree(place)
        self.beat.know(rules=guard.shown())
        if place:
            self._tell_rule(guard, place, guard.verdicts[place - 1].as_json())

    def _tell_rule(self, guard: Guard, place: int, verdict: dict[str, Any]) -> None:
        rule = guard.rulebook.kill[place - 1]
        self.why = f"{rule.label}: {verdict['reason']}"
        self.event("rule", label=rule.label, fallback=rule.fallback, **verdict)
        self.say(f"KILL RULE {self.why}")

    def give_up(self, name: str, why: str) -> StoppedByRule | None:
        """What to raise for an error that a rule is about; the run has then ended by it. None if there is no such rule.

        Nothing is saved: what an error left of the state is not to be trusted, the checkpoints before it are.
        """
        rule = None if self._guard is None else self._guard.find(name)
        if rule is None or self._guard is None or self.has_ended:
            return None
        verdict = {"rule": name, "state": "fires", "at_step": self.state.step, "reason": why, "nearness": 1.0}
        self._tell_rule(self._guard, self._guard.rulebook.kill.index(rule) + 1, verdict)
        self.event("ended", reason=REASON + name)
        return StoppedByRule(
            f"stopped by rule {self.why}; worldmodel train --resume {self.run.path} goes on from before"
        )

    def _deadline_is_near(self) -> bool:
        if self._deadline.left_s == float("inf"):
            return False
        following = range(self.state.step + 1, self.state.step + 1 + self._margin.steps)
        validates = self.plan.validation is not None and any(self.plan.validates_after(step) for step in following)
        step_s = self._margin.step_s + validates * self._eta.validation_s
        return self._deadline.is_near(step_s=step_s, write_s=self._margin.write_s)

    def _tell_saved(self) -> None:
        """Events of checkpoints that came to the disk since the last call. Raises OSError if one did not."""
        for saved in self._saver.finished():
            self._margin.write_s = max(self._margin.write_s, saved.seconds)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            last = {"step": saved.step, "name": saved.name, "at": at, "at_s": time.monotonic()}
            self.beat.tick(last_checkpoint=last)
            self.event(
                "checkpoint",
                reason=saved.reason,
                name=saved.name,
                of_step=saved.step,
                seconds=round(saved.seconds, 3),
                stalled_s=round(saved.stalled_s, 3),
            )
            if self._publisher is not None:
                self._publisher.offer(self.run.checkpoints / saved.name, saved.step)
        self._tell_published()

    def _tell_published(self) -> None:
        """Events of checkpoints that were made durable elsewhere, or could not be."""
        for row in self._publisher.news() if self._publisher is not None else ():
            self.event(**row)
            if row["event"] == "publish_failed":
                self.say(f"NOT PUBLISHED ({row['failures']}): {row['name']}: {row['message']}; tried again")

    def _tell_noises(self, stop: StopRequest | None) -> None:
        """Events of what must not end a run: hang-ups, and lines that nobody could read."""
        if stop is not None and stop.hangups > self._told_hangups:
            self._told_hangups = stop.hangups
            self.event("hangup", num=stop.hangups)
        if (self.say.num_lost and not self._told_lost) or (stop is None and self.say.num_lost > self._told_lost):
            self._told_lost = self.say.num_lost
            self.event("output_lost", num_lines=self.say.num_lost)

    # ---- metrics ---------------------------------------------------------------------------------------------

    def log(self) -> None:
        """Write all complete rows (after the run's last step also the begun one), and one line about the pace.

        Raises NonFinite, after an event.
        """
        try:
            rows = self.meter.fetch(partial=self.state.step >= self.plan.num_steps)
        except NonFinite as error:
            self.event("non_finite", message=str(error))
            stopped = self.give_up("non_finite", str(error))
            if stopped is not None:
                raise stopped from error
            self.event("ended", reason="non-finite loss")
            raise
        self._is_judgement_due = True
        for step, means in rows:
            self._write_metrics("train", step, {**means, "lr": self.plan.schedule.lr(step - 1)})
        self._last_log = time.monotonic()
        num_steps = self.state.step - self._paced_step
        if num_steps:
            self._paced_step = self.state.step
            pace = self.pace.read(num_steps, self.plan.targets_per_step)
            if self._machine is not None:
                pace |= self._machine.read()
            self._eta.add(num_steps, pace["step_ms"] / 1000)
            left = self._left()
            if self._files is not None:
                row = {"kind": "pace", "step": self.state.step, **pace, **left}
                self._files.pace.write(row)
                if self._guard is not None:
                    self._guard.show_pace([row])
            self.beat.know(step_ms=pace["step_ms"], memory_gb=pace["memory_gb"], **left)
            if rows:
                self.say(self._line(rows[-1][1], pace, left))
            self._warn_of_deadline(left)

    def _write_metrics(self, kind: str, step: int, values: dict[str, Any]) -> None:
        if self._files is not None:
            row = {"kind": kind, "step": step, "epoch": step / self.plan.steps_per_epoch, **values}
            self._files.metrics.write(row)
            if self._guard is not None:
                self._guard.show_metrics([row])

    def _left(self) -> dict[str, float | None]:
        steps = self.plan.num_steps - self.state.step
        per_epoch = 0 if self.plan.validation is None else 1 / self._settings.val_every_fraction
        return self._eta.left(steps, round(steps / self.plan.steps_per_epoch * per_epoch))

    def _line(self, means: dict[str, float], pace: dict[str, float], left: dict[str, float | None]) -> str:
        shares = " ".join(f"{phase} {pace[f'share_{phase}']:.0%}" for phase in self.pace.phases)
        rest = "time left not known yet" if left["eta_s"] is None else f"{duration(left['eta_s'])} left"
        if left["eta_s"] and left["eta_low_s"] is not None and left["eta_high_s"] is not None:
            rest += f" ({duration(left['eta_low_s'])} - {duration(left['eta_high_s'])})"
        busy = f"GPU {pace['gpu_percent']:.0f}%  " if "gpu_percent" in pace else ""
        return (
            f"step {self.state.step:,}/{self.plan.num_steps:,}  loss {means[TOTAL]:.4f}  "
            f"lr {self.plan.schedule.lr(max(0, self.state.step - 1)):.2e}  {pace['examples_per_s']:,.0f} frames/s "
            f"({shares})  {pace['memory_gb']:.1f} GB  {busy}{rest}"
        )

    def _warn_of_deadline(self, left: dict[str, float | None]) -> None:
        """Once, as soon as it is clear: the time limit comes before the end."""
        left_s, eta_s, least_s = self._deadline.left_s, left["eta_s"], left["eta_low_s"]
        if not self._told_deadline and eta_s is not None and least_s is not None and least_s > left_s:
            self._told_deadline = True
            self.event("deadline_before_end", eta_s=eta_s, left_s=left_s)
            self.say(
                f"the time limit comes in {duration(max(0.0, left_s))}, the end in {duration(eta_s)}: "
                "this run will save and leave, and can be resumed"
            )

    def baselines(self) -> None:
        """The naive models on the run's sample: what every later number is to be read beside."""
        if self.plan.validation is None:
            return
        with self.beat.phase("validating"):
            self.naive = self.plan.validation.baselines(on_progress=self.beat.tick)
        for name, values in self.naive.items():
            if self._files is not None:
                self._files.metrics.write({"kind": "naive", "step": 0, "model": name, **values})
            self.say(f"naive {name}: {_shown(values)}")
        self.pace.lap("")

    def validate(self) -> None:
        """Measure the model on the sample, and the running mean of its weights if there is one, and write it down."""
        if self.plan.validation is None:
            return
        self.log()
        began = time.monotonic()
        models = {"raw": self.state.model} | ({"ema": self.state.ema} if self.state.ema is not None else {})
        with self.beat.phase("validating"):
            found = self.plan.validation.measure(models, on_progress=self.beat.tick)
        self.values, self.ema_values = found["raw"], found.get("ema", {})
        step = self.state.step
        for weights, values in found.items():
            self._write_metrics("val", step, {"weights": weights, **values})
            total = values[PREFIX + TOTAL]
            if total is not None and total < self.state.best.get("value", float("inf")):
                self.state.best = {"value": total, "step": step, "weights": weights}
            behind = beaten(values, self.naive)
            few = ", ".join(behind[:4]) + (f" and {len(behind) - 4} more" if len(behind) > 4 else "")
            verdict = f"; not better than naive in {few}" if behind else "; better than naive in every metric"
            of = ", mean of weights" if weights == "ema" else ""
            self.say(f"step {step:,}{of}: {_shown(values)}{verdict}")
        self.beat.know(metrics=self._headlines())
        self._eta.validation_s = time.monotonic() - began
        self._margin.pause(self._eta.validation_s)
        self.pace.lap("")

    def prove(self) -> None:
        """That what only comes after hours will work: the model is validated, the checkpoint is read back.

        For a launcher that waits for it. No number of it counts. Raises WorldModelError if the checkpoint is not whole.
        """
        if self.plan.validation is not None:
            began = time.monotonic()
            with self.beat.phase("validating"):
                self.plan.validation.measure({"raw": self.state.model}, on_progress=self.beat.tick)
            self._eta.validation_s = time.monotonic() - began
            self.event("proved", what="validation", seconds=round(self._eta.validation_s, 3))
        if self._files is not None:
            began = time.monotonic()
            newest, problems = self.run.newest_checkpoint()
            if problems:
                raise WorldModelError(f"a checkpoint could not be read back: {'; '.join(problems)}")
            seconds = round(time.monotonic() - began, 3)
            self.event("proved", what="checkpoint", name=newest.path.name, seconds=seconds)
        self.pace.lap("")

    def _headlines(self) -> Values:
        return {name: value for name in SHOWN if (value := self.values.get(name)) is not None}

    # ---- checkpoints -----------------------------------------------------------------------------------------

    def save(self, reason: str, *, wait: bool = False) -> None:
        """A checkpoint, after all rows up to here; none if this step has one. Training goes on while it is written.

        wait: return when it, and every one before, is on the disk; so does the first of a run. Raises NonFinite instead
        of saving what is not to be trusted, and OSError.
        """
        began = time.monotonic()
        self.log()
        self.state.unlogged = self.meter.unlogged
        is_first, error = self._saved_step < 0, None
        try:
            if self._files is not None and self._saved_step != self.state.step:
                with self.beat.phase("saving") if wait or is_first else contextlib.nullcontext():
                    self._saver.save(self.state, reason=reason, wait=wait or is_first)
            elif wait:
                self._saver.settle()
            self._tell_saved()
        except OSError as found:
            error = found
        (has_any_failed,) = self.team.agree(int(error is not None))  # else the others wait for a lead that is gone
        if error is not None:
            raise error
        if has_any_failed:
            raise WorldModelError(_LEAD_FAILED)
        self._saved_step = self.state.step
        self._last_save = time.monotonic()
        self._margin.pause(self._last_save - began)
        self.pace.lap("")

    def _sync(self) -> None:
        if self._files is not None:
            self._files.metrics.sync()

    def close(self) -> None:
        """Wait for the checkpoint under way, and close the files. Raises OSError of either."""
        with contextlib.ExitStack() as all_of:
            if self._files is not None:
                all_of.callback(self._files.close)
            if self._machine is not None:
                all_of.callback(self._machine.close)
            all_of.callback(self._saver.close)


@contextmanager
def open_book(
    run: RunFolder,
    plan: Plan,
    state: TrainState,
    say: Say,
    *,
    team: Team = ALONE,
    deadline: Deadline | None = None,
    beat: Beat | None = None,
    guard: Guard | None = None,
    publish: Publish | None = None,
) -> Iterator[Book]:
    """Open a run's files; an error that ends the run is its last event. Standard output may break inside.

    If there is no room for the first checkpoint, the run's folder is removed.
    """
    with run.removed_if_no_room() if team.is_lead else contextlib.nullcontext():
        book = Book(run, plan, state, say, team=team, deadline=deadline, beat=beat, guard=guard, publish=publish)
        try:
            with lasting_output(book.say):
                book.open()
                yield book
        except BaseException as error:
            stopped = None
            # On a full disk the last words do not fit either. What happened is raised in any case.
            if is_full_disk(error):
                run.drop_ballast()
            with contextlib.suppress(OSError):
                if is_out_of_memory(error):
                    book.event("out_of_memory", message=str(error))
                    stopped = book.give_up("out_of_memory", str(error).partition("\n")[0])
                if not book.has_ended:
                    book.event("ended", reason=f"{type(error).__name__}: {error}")
            with contextlib.suppress(OSError):
                book.close()
            if stopped is not None:
                raise stopped from error
            raise
        book.close()


def _shown(values: Values) -> str:
    return "  ".join(f"{name} {value:.4f}" for name in SHOWN if (value := values.get(name)) is not None)


def _silence(text: str) -> None:
    pass
