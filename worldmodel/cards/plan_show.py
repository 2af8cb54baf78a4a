"""A plan, and what earlier plans were worth, on a terminal.

Owns: how they look there. Must not: compute a time, or word a part (the card's table does).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.bar import Bar
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worldmodel.cards.planning import Planned
from worldmodel.cards.plans import Outcome, Pair, Plans
from worldmodel.cards.questions import Finding
from worldmodel.cards.sheet import facts
from worldmodel.cards.show import TITLE, findings_table, shown
from worldmodel.cards.time_table import interval_words, measured_rows, memory_words, seconds
from worldmodel.cards.timing import Timing
from worldmodel.cards.words import money, size, span
from worldmodel.training.eta import duration

BAR = 32
"""Columns of a bar that is all of the time."""

OFF, FAR = 1.15, 1.5
"""Times the estimate from which on it was off, and far off."""

WIDEST = 72
"""Columns of the line that the interval is drawn on."""


def show(planned: Planned, findings: list[Finding], console: Console) -> None:
    """The estimate, where its time goes, what it was made of, and what stands against it."""
    view, plan = planned.view, planned.plan
    machine = plan.machine.gpu or f"{plan.machine.device}, {plan.machine.num_cpus} cores"
    head = [Text.assemble((view.file.card.run, "bold"), ("  on ", "dim"), machine)]
    projected = view.timing if plan.why_not is None else None
    if plan.machine.is_busy:
        head.append(Text(f"others were at work (load {plan.machine.load:.1f} a core): it may be faster", "yellow"))
    if projected is None:
        head.append(Text(f"not the card's device: {plan.why_not}", "bold yellow"))
        head.append(Text("no time, no memory and no cost follow from what was measured here"))
    else:
        head.append(_answer(projected))
        head.append(_scale(projected, view.file.card.backend.timeout_s, console.width - 8))
        head.append(Text(interval_words(projected), "dim"))
    console.print(Panel(Group(*head), border_style="cyan" if projected else "yellow", padding=(0, 1)))
    if projected is not None:
        console.print(_where(projected))
        measured = facts("What was measured", [*measured_rows(projected, plan), ("Epoch", _epoch(projected))])
        console.print(shown(measured, console.width))
    else:
        console.print(_what_there_is(planned))
    console.print(findings_table(findings, console.width, title="Against the card"))


def _answer(found: Timing) -> Text:
    words = Text.assemble(
        ("~" + duration(found.total_s), "bold green"), (f"  {span(found.low_s, found.pessimistic_s)}", "green")
    )
    if found.usd is not None and found.low_usd is not None and found.pessimistic_usd is not None:
        words.append(f"    ~{money(found.usd)}", "bold green")
        words.append(f"  {money(found.low_usd)} to {money(found.pessimistic_usd)}", "green")
    return words


def _epoch(found: Timing) -> str | None:
    epochs = found.facts.experiment.training.epochs
    return f"~{duration(found.epoch_s)}, {epochs} of them" if epochs > 1 else None


def _scale(found: Timing, limit_s: int | None, width: int) -> Text:
    """The interval on a line from nothing to its end, with the estimate, and the time limit if there is one."""
    end_s = max(found.pessimistic_s, limit_s or 0)
    columns = min(width - len(" limit"), WIDEST)

    def at(seconds_: float) -> int:
        return min(columns - 1, int(seconds_ / end_s * columns))

    low, middle, high = at(found.low_s), at(found.total_s), at(found.pessimistic_s)
    plain = list((" " * low + "├" + "─" * max(0, high - low - 1) + "┤").ljust(columns))
    plain[middle] = "●"
    limit = None if limit_s is None else at(limit_s)
    if limit is not None:
        plain[limit] = "┃"
    text = Text("".join(plain).rstrip(), "green")
    text.stylize("bold green", middle, middle + 1)
    if limit is not None and limit_s is not None:
        style = "bold red" if limit_s < found.pessimistic_s else "bold cyan"
        text.stylize(style, limit, limit + 1)
        text.append(
            " limit" if limit == len(text.plain) - 1 else f"  ┃ limit of an attempt, {duration(limit_s)}", style
        )
    return text


def _where(found: Timing) -> Group:
    """Parts of the whole, each with its share as a bar."""
    course, speeds = found.course, found.speeds
    stepping_s = course.until * found.step_s
    saves, looks = course.num_checkpoints(stepping_s), round(course.num_validations)
    parts = [
        ("start", "1", speeds.start_s),
        ("steps", f"{course.until:,}", stepping_s),
        ("validations", f"{looks:,}", course.num_validations * speeds.validation_s),
        ("waiting for checkpoints", f"{saves:,}", saves * speeds.stall_s),
    ]
    waiting_s = course.total_s(speeds) - sum(value for *_, value in parts)
    if waiting_s > 0.01 * stepping_s:
        parts.insert(2, ("waiting for data", "", waiting_s))
    whole = sum(value for *_, value in parts)
    table = Table.grid(padding=(0, 2, 0, 1))
    for justify in ("left", "right", "right", "right", "left"):
        table.add_column(justify=justify)
    for name, num, value in parts:
        share = value / whole
        shown_share = f"{share:.0%}" if share >= 0.005 else "<1%"
        bar = Bar(1.0, 0.0, share, width=BAR, color="cyan")
        table.add_row(Text(name, "dim"), num, seconds(value), shown_share, bar)
    return Group(Text("Where the time goes", TITLE), table, Text())


def _what_there_is(planned: Planned) -> Group:
    """What may be said of a machine that is not the card's."""
    view, parts = planned.view, planned.plan.measured
    kept = parts.checkpoint
    rows = [
        ("steps", f"{view.facts.num_steps}, each of {view.experiment.training.batch_size:,} windows"),
        ("opened here in", f"{seconds(parts.open_s)}, the first batch {seconds(parts.block_s)} later"),
        ("data", f"{parts.num_blocks} block(s) of {size(parts.block_bytes)} at a time"),
        ("a checkpoint", f"{size(kept.num_bytes)}; here written in {seconds(kept.write_s)}, read in"
                         f" {seconds(kept.read_s)}"),
        ("held here", memory_words(parts)),
    ]  # fmt: skip
    table = Table.grid(padding=(0, 2, 0, 1))
    for name, value in rows:
        table.add_row(Text(name, "dim"), value)
    return Group(Text("What does not depend on the device, and this machine's disk", TITLE), table, Text())


# ---- calibration -------------------------------------------------------------------------------------------------


def calibration(plans: Plans, console: Console) -> None:
    """Estimate against actual, run by run: the whole in full, of the parts how many times the plan they were."""
    machines = {plan.id: plan.machine.gpu or plan.machine.device for plan in plans.plans}
    has_cost = any(outcome.usd for outcome in plans.outcomes)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 1), header_style="dim")
    for name in ("run", "device"):
        table.add_column(name, no_wrap=True)
    for name in ("steps", "planned", "actual", "", "an epoch", "memory", "stall", *(("cost",) if has_cost else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ended", overflow="fold")
    for outcome in plans.outcomes:
        part = f" ({outcome.step / max(1, outcome.num_steps):.0%})" if outcome.step < outcome.num_steps else ""
        usd = outcome.usd
        table.add_row(
            outcome.run,
            machines.get(outcome.plan, "?"),
            f"{outcome.step:,}{part}",
            seconds(outcome.total_s.estimate),
            seconds(outcome.total_s.actual),
            *map(_times, (outcome.total_s, outcome.epoch_s, outcome.memory, outcome.stall_s)),
            *((f"{money(usd.actual)} of {money(usd.estimate)}" if usd else "",) if has_cost else ()),
            Text(outcome.ended, "dim"),
        )
    console.print(Group(Text("Plans, and what came of them", TITLE), table, Text()))
    console.print(summary(plans.outcomes))


def summary(outcomes: Sequence[Outcome]) -> str:
    """What the next plan makes of it, in one line."""
    ratios = [ratio for outcome in outcomes if (ratio := outcome.total_s.ratio) is not None]
    if not ratios:
        return "no run with a plan has ended: plans go by the factor of their cards"
    if len(ratios) == 1:
        return f"1 run took {ratios[0]:.2f} times its plan"
    least, most = min(ratios), max(ratios)
    return f"{len(ratios)} runs took {least:.2f} to {most:.2f} times their plan, half of them over {median(ratios):.2f}"


def _times(pair: Pair | None) -> Text:
    """How many times the estimate it was."""
    if pair is None or pair.ratio is None:
        return Text()
    ratio = pair.ratio
    style = "bold red" if ratio > FAR else "yellow" if ratio > OFF else "green" if ratio > 1 / OFF else "dim"
    return Text(f"{ratio:.2f}x", style)
