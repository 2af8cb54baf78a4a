"""The story of a training run: plan, say what will be done, then step, log, validate, save, until done or stopped.

Owns: the order of events within a run, and the step. Must not: make run folders or choose devices (that is `run`),
define losses, metrics, schedules or sample order.

When a step is done everything that belongs to it is: its update, its row of metrics, its validation. A checkpoint is
taken after that, so a run that goes on from it repeats nothing and leaves nothing out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from worldmodel.dataset.store import Dataset
from worldmodel.dynamics.objective import loss
from worldmodel.models.base import make_model
from worldmodel.nn.frames import Context, Pads, State, aligned
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.training import checkpoint as checkpoints
from worldmodel.training import disturbance
from worldmodel.training.batches import Batch
from worldmodel.training.book import Book, open_book
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.optim import make_optimizer
from worldmodel.training.plan import Plan, Say, announce, make_plan
from worldmodel.training.stop import stop_signals
from worldmodel.training.validation import beaten

FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended. `reason`: "finished", or the signal that stopped it.

    metrics: the last validation; baselines: the same of each naive model; not_beaten: metrics in which the model is
    not better than all of them.
    """

    run: RunFolder
    reason: str
    step: int
    num_steps: int
    num_parameters: int
    seconds: float
    metrics: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    not_beaten: list[str]
    best: dict[str, float] = field(default_factory=dict)

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
) -> TrainResult:
    """Train until the last step, or until a signal. On a CPU the result is a function of experiment and dataset.

    resume_from: a checkpoint of this run to go on from. Raises WrongUse (see `make_plan`), NonFinite.
    """
    began = time.monotonic()
    device = torch.device(device)
    plan = make_plan(experiment, dataset, device)
    training = experiment.training
    torch.manual_seed(training.seed)
    model = make_model(experiment.model).to(device)
    state = TrainState(model, make_optimizer(model, training))
    if resume_from is not None:
        checkpoints.restore(resume_from, state)
    announce(plan, state, say)

    with open_book(run, plan, state, say) as book, stop_signals() as stop:
        if resume_from is None:
            book.baselines()
            # Written before the first step: a disk that is full or read-only says so now, not after an epoch.
            book.save("start")
        step_once = make_step(plan, state)
        while state.step < plan.num_steps and not stop.reason:
            epoch, first_batch = divmod(state.step, plan.steps_per_epoch)
            model.train()
            for batch in plan.batches.epoch(epoch, first_batch=first_batch):
                book.pace.lap("data")
                step_once(batch, book)
                state.step += 1
                book.log_if_due()
                if plan.validates_after(state.step):
                    book.validate()
                    model.train()
                if state.step % plan.steps_per_epoch == 0:
                    book.save(f"epoch {epoch + 1}")
                else:
                    book.save_if_due()
                if stop.reason:
                    break
                book.pace.lap("")
        reason = stop.reason or FINISHED
        book.end(reason)
    return TrainResult(
        run=run,
        reason=reason,
        step=state.step,
        num_steps=plan.num_steps,
        num_parameters=model.num_parameters(),
        seconds=time.monotonic() - began,
        metrics=book.values,
        baselines=book.naive,
        not_beaten=beaten(book.values, book.naive),
        best=state.best,
    )


def make_step(plan: Plan, state: TrainState) -> Callable[[Batch, Book], None]:
    """One update as a function of a batch. Nothing in it waits for the device."""
    experiment, model, optimizer = plan.experiment, state.model, state.optimizer
    training, settings = experiment.training, experiment.scheduled_sampling
    weights, loss_from = experiment.weights, experiment.data.loss_from
    corrective = settings is not None and settings.targets == "corrective"
    parameters = list(model.parameters())

    def losses(shown: State, previous: State, pads: Pads, target: State, context: Context) -> tuple[Tensor, Tensor]:
        with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=training.precision == "bf16"):
            prediction = model(shown, pads, context, loss_from=loss_from)
        origin = shown if corrective else previous
        costs = loss(prediction, origin, target, context, model.rules, weights, loss_from=loss_from)
        return costs.total, torch.cat([costs.total.detach()[None], costs.groups])

    if training.compile:
        losses = torch.compile(losses, dynamic=False)

    def step_once(batch: Batch, book: Book) -> None:
        states, pads, context = batch
        previous, pads, target = aligned(states, pads)
        shown = previous
        strength = disturbance.strength(settings, state.step // plan.steps_per_epoch)
        if settings is not None and strength != disturbance.OFF:
            generator = disturbance.step_generator(training.seed, state.step, plan.device)
            shown = disturbance.disturb(
                previous, context, strength, corrupt_frames=settings.corrupt_frames, generator=generator
            )
            book.tell_touched(previous, shown)
        book.pace.lap("data")
        total, values = losses(shown, previous, pads, target, context)
        book.pace.lap("forward")
        total.backward()  # type: ignore[no-untyped-call]
        book.pace.lap("backward")
        norm = torch.nn.utils.clip_grad_norm_(parameters, training.grad_clip)
        bad = ~(norm.isfinite() & total.detach().isfinite())
        for group in optimizer.param_groups:
            group["lr"] = plan.schedule.lr(state.step)
        # The fused kernel leaves everything as it was where this flag is 1: a bad step is never taken, without a wait.
        optimizer.grad_scale, optimizer.found_inf = None, bad.float()  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        book.meter.add(torch.cat([values, norm.detach().to(values.dtype)[None]]), bad)
        book.pace.lap("optimiser")

    return step_once
