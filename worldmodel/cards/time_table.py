"""The card's table of time and cost: of a measured plan, or of a guess.

Owns: which rows it has, and how they are worded. Must not: compute a time (that is `timing`).
"""

from __future__ import annotations

from worldmodel.cards.plans import Measured, Plan
from worldmodel.cards.sheet import Sheet, facts
from worldmodel.cards.timing import StepTime, Timing
from worldmodel.cards.view import View
from worldmodel.cards.words import lost, money, size, span
from worldmodel.training.eta import duration

NOT_MEASURED = "not measured yet"
TITLE = "Timing & cost"


def timing(view: View) -> Sheet:
    """Time and money."""
    if view.timing is None:
        notes = ["Not measured yet: run `worldmodel plan` on the target device, or set `estimate` in the front matter."]
        if view.elsewhere is not None:
            notes += [_elsewhere(view.elsewhere)]
        return Sheet(TITLE, notes=tuple(notes))
    if view.plan is not None and view.plan.speeds is not None:
        return _of_plan(view, view.timing, view.plan)
    return _of_guess(view, view.timing)


def _of_guess(view: View, found: Timing) -> Sheet:
    card, speeds = view.file.card, found.speeds
    kind = "measured" if speeds.is_measured else "a guess"
    factor = f"{card.budget.pessimistic_factor:g}"
    worst = duration(found.pessimistic_s)
    if found.pessimistic_usd is not None:
        worst += f", {money(found.pessimistic_usd)}"
    return facts(
        TITLE,
        [
            ("Est. step", f"{1000 * found.step_s:g} ms, {kind} ({speeds.source})"),
            ("Est. epoch", f"~{duration(found.epoch_s)}"),
            ("Est. total training", f"~{duration(found.training_s)}"),
            ("Est. start", f"~{duration(found.start_s)}"),
            ("Est. total wall time", f"~{duration(found.total_s)}"),
            ("**Est. cost**", f"**~{money(found.usd)}**" if found.usd is not None else "no price for this device"),
            (f"Pessimistic ({factor}x)", worst),
            *_limits(view, found),
        ],
        _too_short(view, found, f"{factor} times"),
    )


def _of_plan(view: View, found: Timing, plan: Plan) -> Sheet:
    cost = "no price for this device"
    if found.usd is not None and found.low_usd is not None and found.pessimistic_usd is not None:
        cost = f"**~{money(found.usd)}** ({money(found.low_usd)} to {money(found.pessimistic_usd)})"
    return facts(
        TITLE,
        [
            ("Measured", plan.source.removeprefix("measured ") + " UTC"),
            *measured_rows(found, plan),
            ("Est. epoch", f"~{duration(found.epoch_s)}"),
            ("Est. total training", f"~{duration(found.training_s)}"),
            ("Est. total wall time", f"**~{duration(found.total_s)}** ({span(found.low_s, found.pessimistic_s)})"),
            ("**Est. cost**", cost),
            ("The interval", interval_words(found)),
            *_limits(view, found),
        ],
        _too_short(view, found, f"its upper end, {duration(found.pessimistic_s)}"),
    )


def measured_rows(found: Timing, plan: Plan) -> list[tuple[str, str | None]]:
    """The parts, one by one."""
    parts = plan.measured
    kinds, step = parts.kinds, found.step
    return [
        *((f"A step, {kind.what}", f"{step_words(kind.time)}, of {kind.num_steps:,} steps") for kind in kinds),
        ("A step, over the schedule", step_words(step) if len(kinds) > 1 else None),
        ("Start, to the first step", start_words(parts)),
        ("A validation", looked_words(parts)),
        ("A checkpoint", kept_words(parts)),
        ("Memory", memory_words(parts)),
    ]


def _limits(view: View, found: Timing) -> list[tuple[str, str | None]]:
    limit = view.file.card.backend.timeout_s
    return [
        ("Time limit", f"{duration(limit)} (safety margin: {limit / found.total_s:.1f}x)" if limit else "none"),
        ("Checkpoints written", f"~{found.num_checkpoints:,}"),
        ("Lost at the most", lost(view)),
    ]


def _too_short(view: View, found: Timing, what: str) -> list[str]:
    limit = view.file.card.backend.timeout_s
    if not limit or limit >= found.pessimistic_s:
        return []
    attempts = -(-found.pessimistic_s // limit)
    return [
        f"The time limit covers {limit / found.total_s:.1f} times the estimate, not {what}: "
        f"then it takes {attempts:.0f} attempts, each going on from the newest checkpoint."
    ]


def _elsewhere(plan: Plan) -> str:
    why = plan.why_not or f"that is not {plan.gpu_meant or 'this device'}"
    kept = plan.measured.checkpoint
    return (
        f"A plan on {plan.machine.gpu or plan.machine.device} of {plan.at[:16].replace('T', ' ')} has no step times "
        f"for it ({why}); a checkpoint has {size(kept.num_bytes)}."
    )


# ---- words, for the terminal as well -----------------------------------------------------------------------------


def seconds(value: float) -> str:
    """Milliseconds where a second would say nothing."""
    if value < 0.001:
        return f"{1000 * value:.2g} ms"
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.1f} s" if value < 60 else duration(value)


def step_words(step: StepTime) -> str:
    return f"{seconds(step.mean_s)} ({seconds(step.low_s)} to {seconds(step.high_s)})"


def start_words(parts: Measured) -> str:
    """Where the time to the first step goes."""
    looked, kept = parts.validation, parts.checkpoint
    first = "compilation" if parts.is_compiled else "first steps"
    pieces = [("data and model", parts.open_s), ("first block", parts.block_s), (first, parts.compile_s)]
    if looked is not None:
        pieces += [("naive models and a first look", looked.all_naive_s + looked.all_s)]
    pieces += [("first checkpoint", kept.write_s + kept.read_s)]
    return f"~{duration(parts.start_s)}: " + ", ".join(f"{name} {seconds(value)}" for name, value in pieces if value)


def looked_words(parts: Measured) -> str | None:
    looked = parts.validation
    if looked is None:
        return None
    part = "" if looked.num_windows == looked.num_all else f", measured on {looked.num_windows:,} of them"
    return f"{seconds(looked.all_s)} on {looked.num_all:,} windows{part}"


def kept_words(parts: Measured) -> str:
    kept = parts.checkpoint
    return (
        f"{size(kept.num_bytes)}; training waits {seconds(kept.stall_s)}, on the disk after {seconds(kept.write_s)}, "
        f"read back in {seconds(kept.read_s)}"
    )


def memory_words(parts: Measured) -> str:
    memory = parts.memory
    words = f"{size(memory.host)} of {size(memory.host_room)}"
    if memory.device is not None and memory.device_room is not None:
        words += f"; device {size(memory.device)} of {size(memory.device_room)}"
    return words


def interval_words(found: Timing) -> str:
    """What it is made of."""
    step, (_, high) = found.step, found.interval
    spread = f"steps vary by {step.low_s / step.mean_s:.2f} to {step.high_s / step.mean_s:.2f}"
    if not found.ratios:
        return f"{spread}; no earlier plan to go by, so up to the card's factor of {found.factor:g}"
    what = "run" if len(found.ratios) == 1 else "runs"
    least, most = min(found.ratios), max(found.ratios)
    were = f"took {least:.2f}" + (f" to {most:.2f}" if len(found.ratios) > 1 else "")
    few = "" if high <= max(1.0, most) else f"; up to {high:.2f} as long as there are so few"
    return f"{spread}; {len(found.ratios)} earlier {what} {were} times the plan{few}"
