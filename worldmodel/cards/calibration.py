"""What estimates were worth: every run that has ended and had a plan, estimate against actual.

Owns: which plan a run had, and the pairs of numbers. Must not: time anything, or decide what follows for a new plan
(that is `timing`).

A run's plan is the newest one, made before it began, of the same work per step, on the same data and the same kind of
device. The estimate is the plan's sum of measured parts for the steps that the run did, so that a run which was stopped
after a tenth is compared with a tenth. Outcomes are kept beside the plans: they outlive the run folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from worldmodel.cards.plans import Outcome, Pair, Plan, Plans, add, is_device, now, read_plans, work_of
from worldmodel.cards.timing import Course
from worldmodel.launch.board import look
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.ledger import Entry, Ledger, entry_of
from worldmodel.runs.planned import FILE
from worldmodel.runs.prices import Prices, load_prices
from worldmodel.training.config import Experiment, load_experiment


def settle(cards: Path, runs: Path, ledger: Ledger | None = None) -> Plans:
    """Write down the outcomes that are not written down yet, and give all plans and outcomes.

    Raises WrongUse for a damaged file, OSError for one that cannot be written.
    """
    plans = read_plans(cards / FILE)
    if not plans.plans or not runs.is_dir():
        return plans
    new = list(_new_outcomes(plans, ledger or Ledger(runs, cards / "none"), runs, load_prices(cards)))
    if not new:
        return plans
    add(cards / FILE, new)
    return read_plans(cards / FILE)


def _new_outcomes(plans: Plans, ledger: Ledger, runs: Path, prices: Prices) -> Iterator[Outcome]:
    known = {(outcome.run, outcome.plan): outcome for outcome in plans.outcomes}
    for entry in ledger.entries:
        if entry.kind != "run" or (plan := plan_of(entry, plans)) is None:
            continue
        before = known.get((entry.name, plan.id))
        if before is not None and before.step == entry.step and before.ended == entry.ended:
            continue
        # Asked last: it reads files, and closes a run whose process is gone.
        if entry.ended is None and not (sight := look(RunFolder(runs / entry.name))).is_over:
            continue
        experiment = load_experiment(RunFolder(runs / entry.name).config)
        found = outcome_of(entry, plan, experiment, prices, ended=entry.ended or sight.why or sight.state)
        if found is not None and (before is None or before.model_copy(update={"at": found.at}) != found):
            yield found


def plan_of(entry: Entry, plans: Plans) -> Plan | None:
    """The plan that a run had; None if it had none."""
    if entry.data.content_hash is None or not entry.config:
        return None
    for plan in plans.newest(work=work_of(entry.config), content_hash=entry.data.content_hash, before=entry.at):
        machine = plan.machine
        same = machine.gpu == entry.gpu and (entry.gpu is not None or machine.num_cpus == entry.num_cpus)
        if plan.speeds is not None and same:
            return plan
    return None


def outcome_of_run(run: RunFolder, cards: Path, *, ended: str) -> Outcome | None:
    """Estimate against actual of one run folder, for whoever closes it; None if it had no plan, or did no step.

    Nothing is written. Raises what `entry_of` raises for damaged files, and WrongUse for damaged plans.
    """
    entry = entry_of(run)
    plan = plan_of(entry, read_plans(cards / FILE))
    if plan is None:
        return None
    return outcome_of(entry, plan, load_experiment(run.config), load_prices(cards), ended=ended)


def outcome_of(entry: Entry, plan: Plan, experiment: Experiment, prices: Prices, *, ended: str) -> Outcome | None:
    """Estimate against actual of a run, for the steps that it did; None if it did none."""
    speeds = plan.speeds
    if speeds is None or not entry.step or not entry.steps_per_epoch or not entry.num_steps:
        return None
    if entry.spent_s is None or entry.epoch_s is None:
        return None
    course = Course(experiment, entry.steps_per_epoch, entry.num_steps, entry.step)
    estimate_s = course.total_s(speeds)
    per_epoch_s = course.training_s(speeds, course.step(speeds).mean_s) * entry.steps_per_epoch / entry.step
    usd = None
    if usd_per_hour := usd_per_hour_of(entry.gpu, prices, entry.at):
        usd = Pair(estimate=estimate_s / 3600 * usd_per_hour, actual=entry.spent_s / 3600 * usd_per_hour)
    memory = None
    if entry.memory_gb is not None:
        memory = Pair(estimate=plan.measured.memory.reported / 1e9, actual=entry.memory_gb)
    stall = None
    if entry.stall_s is not None:
        stall = Pair(estimate=plan.measured.checkpoint.stall_s, actual=entry.stall_s)
    return Outcome(
        at=now(),
        run=entry.name,
        plan=plan.id,
        ended=ended,
        step=entry.step,
        num_steps=entry.num_steps,
        total_s=Pair(estimate=estimate_s, actual=entry.spent_s),
        epoch_s=Pair(estimate=per_epoch_s, actual=entry.epoch_s),
        memory=memory,
        usd=usd,
        stall_s=stall,
    )


def usd_per_hour_of(gpu: str | None, prices: Prices, at: str) -> float | None:
    """What an hour of a device cost on the day of a time in ISO form; gpu: its name as the driver tells it."""
    named = next((price.gpu for price in prices.entries if is_device(price.gpu, gpu)), None)
    held = prices.of(named, date.fromisoformat(at[:10]))
    return held.usd_per_hour if held else None
