"""The story of a training run: plan, say what will be done, then step, log, validate, save, until done or stopped.

Owns: the order of events within a run. Must not: make run folders or choose devices (that is `run`), know what a step
does (`step`), define losses, metrics, schedules or sample order.

When a step is done everything that belongs to it is: its update, its row of metrics, its validation. A checkpoint is
taken after that, so a run that goes on from it repeats nothing and leaves nothing out.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from worldmodel.dataset.store import Dataset
from worldmodel.models.base import make_model
from worldmodel.nn.frames import aligned
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.runs.rulebook import Rulebook
from worldmodel.runs.status import heartbeat
from worldmodel.tracking.mirror import Mirror
from worldmodel.training import checkpoint as checkpoints
from worldmodel.training.batches import Batch
from worldmodel.training.book import NAMES, Book, open_book
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.device import use_kernels, uses_compile
from worldmodel.training.guard import Guard, check_rules
from worldmodel.training.optim import make_optimizer
from worldmodel.training.plan import Plan, Say, announce, make_plan
from worldmodel.training.publish import Publish
from worldmodel.training.step import Chunk, Step
from worldmodel.training.stop import Deadline, StopRequest, stop_signals
from worldmodel.training.team import ALONE, Team
from worldmodel.training.validation import beaten

FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended. `reason`: "finished", "deadline", the signal or "rule: NAME" that stopped it, and `why`.

    metrics: the last validation; ema_metrics: the same of the running mean of the weights, if one is kept; baselines:
    the same of each naive model; not_beaten: metrics in which the model is not better than all of them.
    """

    run: RunFolder
    reason: str
    step: int
    num_steps: int
    num_parameters: int
    seconds: float
    metrics: dict[str, float | None]
    ema_metrics: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    not_beaten: list[str]
    best: dict[str, float] = field(default_factory=dict)
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """For a verb's --json."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "run"}
        return {"run": str(self.run.path), **plain, "seconds": round(self.seconds, 2)}


def train(
    experiment: Experiment,
    dataset: Dataset,
    run: RunFolder,
    *,
    device: torch.device | str = "cpu",
    resume_from: CheckpointFolder | None = None,
    say: Say = lambda text: None,
    team: Team = ALONE,
    deadline: Deadline | None = None,
    rules: Rulebook | None = None,
    prove: bool = False,
    mirror: Mirror | None = None,
    publish: Publish | None = None,
) -> TrainResult:
    """Train until the last step, a signal, a rule or the deadline. On a CPU the result is a function of experiment and
    dataset.

    resume_from: a checkpoint of this run to go on from. prove: before the first step validate the model once and read
    the checkpoint back (see `Book.prove`). mirror: a tracker whose state belongs into the run's. publish: makes a
    checkpoint durable elsewhere (see `Publisher`). Raises WrongUse (see `make_plan`), NonFinite, and StoppedByRule for
    a rule about an error.
    """
    began = time.monotonic()
    device = torch.device(device)
    with heartbeat(run if team.is_lead else None) as beat:
        if mirror is not None:
            mirror.listen(lambda known: beat.know(tracker=known))
        with beat.phase("loading"):
            plan = make_plan(experiment, dataset, device, team)
            state = make_state(experiment, device)
            if resume_from is not None:
                checkpoints.restore(resume_from, state)
        announce(plan, state, say)
        guard = None
        if rules is not None:
            check_rules(rules, plan, (*NAMES, "lr"), say)
            guard = Guard(rules)
        with (
            open_book(
                run, plan, state, say, team=team, deadline=deadline, beat=beat, guard=guard, publish=publish
            ) as book,
            stop_signals() as stop,
        ):
            if resume_from is None:
                book.baselines()
                # Written before the first step: a disk that is full or read-only says so now, not after an epoch.
                book.save("start")
            if prove:
                book.prove()
            beat.tick(phase="compiling" if uses_compile(experiment.training, device) else "training")
            reason = _step_until_over(plan, state, book, stop) or FINISHED
            book.end(reason)
    return TrainResult(
        run=run,
        reason=reason,
        step=state.step,
        num_steps=plan.num_steps,
        num_parameters=state.model.num_parameters(),
        seconds=time.monotonic() - began,
        metrics=book.values,
        ema_metrics=book.ema_values,
        baselines=book.naive,
        not_beaten=beaten(book.values, book.naive),
        best=state.best,
        why=book.why,
    )


def make_state(experiment: Experiment, device: torch.device) -> TrainState:
    """The state before the first step: a function of the experiment alone."""
    torch.manual_seed(experiment.training.seed)
    model = make_model(experiment.model).to(device)
    use_kernels(model, experiment, device)
    ema = None
    if experiment.training.ema is not None:
        ema = copy.deepcopy(model).requires_grad_(False).eval()
    return TrainState(model, make_optimizer(model, experiment.training), ema=ema)


def _step_until_over(plan: Plan, state: TrainState, book: Book, stop: StopRequest) -> str | None:
    """Steps, and what is due after each. Returns why it ended before the last one, or None."""
    step = Step(plan, state)
    while state.step < plan.num_steps:
        epoch, first_batch = plan.place(state.step)
        state.model.train()
        for batch in plan.batches.epoch(epoch, first_batch=first_batch):
            carried = None
            book.pace.lap("data")
            for chunk, is_last in chunks(batch, plan, step=state.step):
                carried = step(chunk, book.meter, book.pace, carried=carried, touched=book.tell_touched)
                if plan.validates_after(state.step):
                    book.validate()
                    state.model.train()
                if state.step % plan.steps_per_epoch == 0:
                    book.save(f"epoch {epoch + 1}")
                # A carried state is in no checkpoint: one is taken between windows only.
                reason = book.after_step(stop, may_save=is_last)
            if reason:
                return reason
            book.pace.lap("")
    return None


def chunks(batch: Batch, plan: Plan, *, step: int) -> Iterator[tuple[Chunk, bool]]:
    """What the steps of a batch of windows are of, and whether each is its last. step: the number of the first.

    Windows are turned round here, so that whoever measures a step pays for that too.
    """
    if plan.symmetries is not None:
        batch = plan.symmetries.apply(batch, step=step, slots=plan.slots)
    states, pads, context = batch
    previous, pads, target = aligned(states, pads)
    length, num = plan.experiment.data.length, plan.experiment.data.carry
    for index in range(num):
        rows = (slice(None), slice(index * length, (index + 1) * length))
        yield (previous[rows], pads[rows], target[rows], context), index == num - 1
