"""Questions about money, machine, code and signatures.

Owns: these questions. Must not: measure anything; what only a measurement can answer says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from worldmodel.cards.code import RESULT, SPEED
from worldmodel.cards.plans import Plan
from worldmodel.cards.questions import Answer, Severity, is_remote, question
from worldmodel.cards.view import View
from worldmodel.cards.words import size
from worldmodel.runs.provenance import code_version, files_changed

TIGHT = 0.85
"""Share of a memory from which on a little more than was measured is too much."""


@question
def estimate(view: View) -> Iterator[Answer]:
    """Where do times and costs come from?"""
    found, plan = view.file.card.estimate, view.plan
    if plan is not None:
        yield ("warning" if plan.machine.is_busy else "ok"), f"every part is {plan.source}"
        yield from _other_code(plan)
    elif found is None:
        yield "not measured", "step time, and so time and cost: worldmodel plan on the target device"
    elif not found.measured:
        factor = view.file.card.budget.pessimistic_factor
        yield "warning", f"the step time is a guess ({found.source}); such guesses have been off by up to {factor:g}x"
    else:
        yield "ok", f"the step time is measured ({found.source})"
    if plan is None and (other := view.elsewhere) is not None:
        yield "note", f"there is a plan, {other.source}, but this is not the card's device"


def _other_code(plan: Plan) -> Iterator[Answer]:
    code = plan.code
    if code.git_sha is None:
        return
    changed = files_changed(code.git_sha, SPEED)
    if changed:
        yield "note", f"{len(changed)} files of the step have changed since it was measured: plan again to be sure"


@question
def budget(view: View) -> Iterator[Answer]:
    """What may it cost, and what holds it to that?"""
    usd, timing, card = view.file.card.budget.usd, view.timing, view.file.card
    if timing is None or timing.usd is None or timing.pessimistic_usd is None:
        if usd is not None:
            yield "not measured", f"whether ${usd:g} is enough: no estimate, or no price for {card.backend.gpu}"
        return
    words = f"${timing.usd:.2f}, pessimistically ${timing.pessimistic_usd:.2f}"
    if usd is None:
        yield "warning", f"no budget for a run of {words}"
    elif timing.usd > usd * 1.05:
        yield "blocker", f"the estimate is {words}; the budget is ${usd:g}"
    elif timing.pessimistic_usd > usd and not any(rule.rule == "over_budget" for rule in card.kill):
        yield "warning", f"{words}; the budget is ${usd:g}, and no rule over_budget holds it"
    else:
        yield "ok", f"{words}; the budget is ${usd:g}"


@question
def room_on_disk(view: View) -> Iterator[Answer]:
    """Checkpoints that are kept, one more while it is written, and the record."""
    facts, plan = view.facts, view.plan or view.elsewhere
    one = plan.measured.checkpoint.num_bytes if plan else facts.checkpoint_bytes
    need = one * facts.num_checkpoints_kept + facts.record_bytes
    of = f"{facts.num_checkpoints_kept} checkpoints of {size(one)}{', as measured,' if plan else ''} and the record"
    if is_remote(view):
        if view.plan is None:
            yield "not measured", f"room for {size(need)} where it runs: {of}"
            return
        free, where = view.plan.measured.disk_free, "free there when it was planned"
    else:
        place = next(p for p in [view.places.runs.resolve(), *view.places.runs.resolve().parents] if p.exists())
        free, where = shutil.disk_usage(place).free, "free"
    severity: Severity = "blocker" if free < need else "warning" if free < 3 * need else "ok"
    yield severity, f"{size(need)} at the most ({of}), {size(free)} {where}"


@question
def room_in_memory(view: View) -> Iterator[Answer]:
    """Nothing but the heaviest step itself can tell."""
    if view.plan is None:
        yield "not measured", "memory of the heaviest step: worldmodel plan on the target device"
        return
    memory, asked = view.plan.measured.memory, view.file.card.backend.memory_gb
    yield _room("the process holds", memory.host, int(asked * 1e9) if asked else memory.host_room)
    if memory.device is not None and memory.device_room is not None:
        yield _room("the device holds", memory.device, memory.device_room)


def _room(what: str, used: int, room: int) -> Answer:
    severity: Severity = "blocker" if used > room else "warning" if used > TIGHT * room else "ok"
    return severity, f"{what} {size(used)} at the most, of {size(room)} ({used / room:.0%})"


@question
def tracker(view: View) -> Iterator[Answer]:
    """Will anybody see it?"""
    policy = view.file.card.tracker.policy
    if policy == "required":
        yield "not measured", "whether the tracker is reachable: the run fails before its first step if it is not"
    elif is_remote(view):
        yield "warning", f"tracker policy {policy}: a run on another machine may be invisible"
    else:
        yield "ok", f"tracker policy {policy}; the run folder on this machine has everything"


@question
def code(view: View) -> Iterator[Answer]:
    """Is the code that will run the code that somebody can read?"""
    now = code_version()
    prior = view.news[0].entry if view.news else None
    if now.git_sha is None:
        yield "note", f"no checkout: version {now.version}"
    elif now.diff:
        yield "warning", f"the checkout differs from commit {now.git_sha[:12]}: commit before launching"
    else:
        yield "ok", f"commit {now.git_sha[:12]}"
    if prior and prior.code and prior.code.git_sha and prior.code.git_sha != now.git_sha:
        sha = prior.code.git_sha[:12]
        files = files_changed(prior.code.git_sha, RESULT)
        if files is None:
            yield "note", f"{prior.name} ran commit {sha}, which is not in this checkout: what changed is not known"
        elif files:
            few = ", ".join(file.removeprefix("worldmodel/") for file in files[:4])
            more = f" and {len(files) - 4} more" if len(files) > 4 else ""
            yield "note", f"since {prior.name} ({sha}) {few}{more} changed: git diff {sha} -- worldmodel tells how"


@question
def reviews(view: View) -> Iterator[Answer]:
    """Signed, by whom, for this very card?"""
    card, found = view.file.card, view.sign_off
    if found.state == "not needed":
        limit, timing = card.reviewers.cost_limit_usd or 0.0, view.timing
        if timing is None or timing.pessimistic_usd is None:
            yield "not measured", f"no review is needed below ${limit:g}: no estimate, or no price"
        elif timing.pessimistic_usd > limit:
            yield "blocker", f"pessimistically ${timing.pessimistic_usd:.2f}; without a review it is ${limit:g} at most"
        else:
            yield "ok", f"none needed below ${limit:g}"
    else:
        yield ("ok" if found.may_launch else "blocker"), found.in_words()
