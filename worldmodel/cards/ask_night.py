"""Questions about what a night can cost: lost work, time limits, nobody watching, no way back.

Owns: these questions. Must not: measure anything; what only a measurement can answer says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from worldmodel.cards.check import check
from worldmodel.cards.questions import Answer, is_remote, question
from worldmodel.cards.view import View
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile, find_card
from worldmodel.training.eta import duration

LONG_LOSS_MIN = 30.0
"""Work whose loss a team minds."""

MUCH_STALL = 0.05
"""Share of its time that training should not wait for checkpoints."""


@question
def checkpoints_outlive_the_machine(view: View) -> Iterator[Answer]:
    """The mission's blocker: checkpoints were published when all was over."""
    if is_remote(view) and not view.file.card.checkpoints.publish:
        yield "blocker", "checkpoints are not published: with the machine goes all work; set checkpoints.publish: true"
    else:
        yield "ok", "checkpoints are published" if is_remote(view) else "the run folder is on this machine"


@question
def longest_loss(view: View) -> Iterator[Answer]:
    """What the death of a process costs: the interval, and what is not on the disk yet when the next is due."""
    minutes, timing = view.file.card.checkpoints.every_min, view.timing
    written_s = view.plan.measured.checkpoint.write_s if view.plan else 0.0
    price = f", ${minutes / 60 * timing.usd_per_hour:.2f}" if timing and timing.usd_per_hour else ""
    late = f" (and {written_s:.1f} s until it is on the disk)" if written_s >= 1 else ""
    words = f"{minutes:g} min of work{price} can be lost, the checkpoint interval{late}"
    if timing and 60 * minutes > timing.total_s:
        yield "warning", f"{words}; the whole run is shorter"
    else:
        yield ("warning" if minutes + written_s / 60 > LONG_LOSS_MIN else "ok"), words


@question
def saving(view: View) -> Iterator[Answer]:
    """Whether checkpoints come to the disk faster than they are made, and what training loses by them."""
    every_s = 60 * view.file.card.checkpoints.every_min
    if view.plan is None:
        yield "not measured", "whether checkpoints keep up with their interval: worldmodel plan on the target device"
        return
    kept = view.plan.measured.checkpoint
    share = kept.stall_s / every_s
    if kept.write_s > every_s:
        yield "blocker", f"a checkpoint takes {duration(kept.write_s)} to write, and is due every {duration(every_s)}"
    elif share > MUCH_STALL:
        yield "warning", f"training waits {kept.stall_s:.1f} s for each checkpoint, {share:.0%} of its time"
    else:
        yield "ok", f"a checkpoint is on the disk after {kept.write_s:.2g} s; training waits {kept.stall_s:.2g} s"


@question
def time_limit(view: View) -> Iterator[Answer]:
    """Against the pessimistic estimate, or a plan's upper end, with resumed attempts counted."""
    backend, timing = view.file.card.backend, view.timing
    if backend.timeout_s is None:
        yield ("warning" if is_remote(view) else "note"), "no time limit: only rules and people can end it"
        return
    if timing is None:
        yield "not measured", "whether the time limit is enough: there is no estimate yet (worldmodel plan)"
        return
    is_plan = timing.speeds.is_plan
    attempts, limit = 1 + backend.retries, duration(backend.timeout_s)
    # Each attempt begins anew, and the work since the last checkpoint is done again.
    lost_s = (timing.start_s + 60 * view.file.card.checkpoints.every_min) * (attempts - 1) if is_plan else 0.0
    have_s = attempts * backend.timeout_s - lost_s
    total, worst = duration(timing.total_s), duration(timing.pessimistic_s)
    if have_s < timing.total_s:
        what = "plan" if is_plan else "estimate"
        yield "blocker", f"the {what} is {total}; {attempts} attempt(s) of {limit} are less"
    elif have_s < timing.pessimistic_s:
        how = "the measured plan goes up to" if is_plan else "pessimistically it takes"
        yield "warning", f"{how} {worst}; {attempts} attempt(s) of {limit} are less: raise retries"
    else:
        margin = backend.timeout_s / timing.total_s
        more = f", and above the plan's upper end, {worst}" if is_plan else ""
        yield "ok", f"{attempts} attempt(s) of {limit}, {margin:.1f} times the estimate each{more}"


@question
def somebody_watches(view: View) -> Iterator[Answer]:
    """Who looks at it at night?"""
    card = view.file.card
    has_stale = any(rule.rule == "stale" for rule in card.kill)
    if not card.watched_by:
        yield "warning", "nobody watches: name people, or the watcher, in watched_by"
    elif "watcher" in card.watched_by and not has_stale:
        yield "warning", "the watcher has no rule `stale`: it would not notice a run that hangs"
    else:
        yield "ok", f"watched by {', '.join(card.watched_by)}"


@question
def rules_end_it(view: View) -> Iterator[Answer]:
    """Divergence, and time or money running away, have a rule."""
    names = {rule.rule for rule in view.file.card.kill}
    if "non_finite" not in names:
        yield "warning", "no rule non_finite: a diverged run goes on"
    if not names & {"epoch_longer_than", "over_budget"} and (is_remote(view) or view.file.card.budget.usd):
        yield "warning", "no rule epoch_longer_than or over_budget: time and cost are bounded by the time limit alone"
    if "non_finite" in names:
        yield "ok", f"{len(view.file.card.kill)} rules can end it"


@question
def rules_can_speak(view: View) -> Iterator[Answer]:
    """A rule that is judged after the end, or before there is anything to judge, is none."""
    training = view.experiment.training
    for rule in view.file.card.kill:
        after, metric = rule.arguments.get("after_epochs"), str(rule.arguments.get("metric", ""))
        if after is None:
            continue
        if after > training.epochs:
            yield "blocker", f"rule {rule.label} waits for epoch {after:g} of {training.epochs}: it never fires"
        if metric.startswith("val_") and not view.facts.validations_per_epoch:
            yield "blocker", f"rule {rule.label} is about held-out games, and there is no validation: it never fires"
        elif metric.startswith("val_") and rule.rule in ("above", "below") and after == 0:
            yield "warning", f"rule {rule.label} is judged at the first validation, where no model is good yet"
        elif rule.rule == "not_decreasing" and metric.startswith("val_"):
            looks = after * view.facts.validations_per_epoch
            if looks < 2:
                yield "warning", f"rule {rule.label}: {looks:.0f} validation(s) by then, so it is judged at the second"


@question
def fallback(view: View) -> Iterator[Answer]:
    """Present, and a card in order."""
    card = view.file.card
    if card.fallback is None:
        yield "warning", "no fallback: if it fails at night, nothing runs"
        return
    if card.fallback.card == card.run:
        yield "blocker", "the fallback is this card itself"
        return
    try:
        report = check(CardFile.read(find_card(card.fallback.card, view.places.cards)), view.places)
    except WrongUse as error:
        yield "blocker", f"fallback {card.fallback.card}: {error}"
        return
    wrong = [*report.problems, *(f"table {name} is stale" for name in report.stale)]
    if wrong:
        yield "blocker", f"fallback {card.fallback.card} is not in order: {wrong[0]}"
    else:
        yield "ok", f"fallback {card.fallback.card} is there and in order"


@question
def resume(view: View) -> Iterator[Answer]:
    """Has it been done?"""
    arch = view.experiment.model.arch
    runs = (entry for entry in view.ledger.newest_runs() if entry.config.get("model.arch") == arch)
    if (resumed := next((entry for entry in runs if entry.num_resumed), None)) is not None:
        yield "ok", f"resuming has been done with {arch}: {resumed.name}"
    else:
        yield "not measured", f"no {arch} run in the ledger has ever been resumed: stop one and go on"


@question
def epochs(view: View) -> Iterator[Answer]:
    """What the number means."""
    now, shipped = view.experiment.training.epochs, view.resolved.as_shipped.training.epochs
    changed = f" (the config has {shipped})" if now != shipped else ""
    yield "note", f"{now} epochs in total{changed}, {view.facts.num_steps} steps; a resumed run ends at the same step"
