"""Runs as people see them on a terminal: one run's frame, and the table of all.

Owns: words, colours and little curves. Must not: find out anything itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worldmodel.launch.board import Sight
from worldmodel.launch.outcome import Outcome
from worldmodel.runs.rulebook import RuleSpec
from worldmodel.runs.rules import VALIDATED, Record, Verdict
from worldmodel.tracking.progress import duration

COLOURS = {
    "running": "green", "starting": "cyan", "ending": "cyan", "finished": "bold green", "stopped": "yellow",
    "stopped by rule": "magenta", "crashed": "bold red", "vanished": "bold red", "stale": "bold red",
    "halted": "bold red", "unseen": "yellow",
}  # fmt: skip
CURVES = ("loss/total", "grad_norm", "val_loss/total", "val_change_acc", "val_pos_mae")
"""Metrics with a curve, of those that a run has."""
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 44


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """A curve of one line; each place is the median of its share of the values. What is no number is a gap."""
    if not values:
        return ""
    cells = []
    for place in range(min(width, len(values))):
        first = place * len(values) // min(width, len(values))
        last = (place + 1) * len(values) // min(width, len(values))
        part = [value for value in values[first:last] if math.isfinite(value)]
        cells.append(median(part) if part else None)
    known = [value for value in cells if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else _BARS[round((value - low) * scale)] for value in cells)


def state_text(sight: Sight) -> Text:
    """The state in its colour."""
    return Text(sight.state, style=COLOURS.get(sight.state, ""))


def progress_text(sight: Sight) -> str:
    """Steps done and to do: "1,200 / 9,000  13 %"."""
    step, num = sight.status.get("step"), sight.status.get("num_steps")
    if step is None:
        return ""
    return f"{step:,} / {num:,}  {step / num:.0%}" if num else f"{step:,}"


def why_text(sight: Sight) -> str:
    """Why it is as it is; of a rule what it said."""
    if sight.state == "stopped by rule":
        said = [rule for rule in sight.status.get("rules") or () if rule.get("state") == "fires"]
        return f"{said[0]['label']}: {said[0]['reason']}" if said else sight.why
    return "" if sight.why in (sight.state, "finished", "training") else sight.why.removeprefix(f"{sight.state}: ")


def runs_table(sights: Iterable[Sight]) -> Table:
    """All runs, a line each. Only the last column gives way when the screen is narrow."""
    rows: list[list[str | Text]] = []
    for sight in sights:
        metrics = sight.status.get("metrics") or {}
        shown = [metrics.get(f"{VALIDATED}{name}") for name in ("change_acc", "pos_mae", "loss/total")]
        eta_s = sight.status.get("eta_s")
        left = "" if sight.is_over or eta_s is None else duration(eta_s)
        values = ["" if value is None else f"{value:.4g}" for value in shown]
        rows.append([sight.run.id, state_text(sight), progress_text(sight), left, *values, why_text(sight)])
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("run", "state", "steps", "left", "change_acc", "pos_mae", "loss")
    for place, name in enumerate(names):
        width = max((len(row[place]) for row in rows), default=0)
        table.add_column(name, justify="left" if place < 2 else "right", no_wrap=True, min_width=max(width, len(name)))
    table.add_column("why", overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def frame(
    sight: Sight,
    record: Record,
    judged: Sequence[tuple[RuleSpec, Verdict]],
    *,
    now_s: float,
    closed: Outcome | None = None,
) -> RenderableType:
    """One run, on a screen. now_s: the monotonic clock, for ages of what the run's own clock stamped. closed: what
    stands on its card when it has ended."""
    title = Text.assemble((sight.run.id, "bold"), "  ", state_text(sight))
    title.append(f"  {why}" if (why := sight.why if sight.state == "running" else why_text(sight)) else "")
    parts: list[RenderableType] = [_facts(sight, record, now_s, closed)]
    if (curves := _curves(record)) is not None:
        parts += [Text(), curves]
    if judged:
        parts += [Text(), _rules(judged)]
    if (last := _events(record)) is not None:
        parts += [Text(), last]
    return Panel(
        Group(*parts), title=title, title_align="left", border_style=COLOURS.get(sight.state, ""), expand=False
    )


def _facts(sight: Sight, record: Record, now_s: float, closed: Outcome | None) -> Table:
    status = sight.status
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    epoch = record.steps_per_epoch
    of_epoch = f"   epoch {status['step'] / epoch:.2f}" if epoch and status.get("step") else ""
    table.add_row("steps", f"{progress_text(sight)}{of_epoch}")
    if not sight.is_over and status.get("eta_s"):
        low, high = status.get("eta_low_s"), status.get("eta_high_s")
        interval = f"   ({duration(low)} - {duration(high)})" if low and high else ""
        table.add_row("left", f"{duration(status['eta_s'])}{interval}")
    if record.pace:
        last = record.pace[-1]
        pace = f"{last['step_ms']:.4g} ms a step, {last['examples_per_s']:,.0f} frames/s, {last['memory_gb']:.1f} GB"
        table.add_row("pace", pace)
        speeds = [row["examples_per_s"] for row in record.pace]
        if len(speeds) > 2:
            table.add_row("", Text(sparkline(speeds), style="blue"))
    spent_s = closed.spent_s if closed is not None else status.get("spent_s")
    if spent_s:
        lives = f", {len(closed.lives)} lives" if closed is not None and len(closed.lives) > 1 else ""
        usd = f", ${closed.usd:,.2f}" if closed is not None and closed.usd is not None else ""
        table.add_row("spent", f"{duration(spent_s)}{usd}{lives}")
    if closed is not None and closed.targets:
        words = {True: "met", False: "missed", None: "not measured"}
        table.add_row("targets", ", ".join(f"{target.metric} {words[target.is_met]}" for target in closed.targets))
    if closed is not None and closed.fallback:
        table.add_row("fallback", closed.fallback)
    if saved := status.get("last_checkpoint"):
        table.add_row("checkpoint", f"{saved['name']}{_age(sight, saved, now_s)}")
    if published := status.get("published"):
        table.add_row("published", _published(sight, published, now_s))
    if tracker := status.get("tracker"):
        table.add_row("tracker", _tracker(tracker))
    if sight.progress_s is not None and not sight.is_over:
        table.add_row("got on", f"{duration(sight.progress_s)} ago")
    return table


def _age(sight: Sight, saved: Mapping[str, Any], now_s: float) -> str:
    """Of a checkpoint: how long ago if that can be told, by the clock of the machine that wrote it; else when."""
    if saved.get("at_s") and not sight.is_over:
        if sight.progress_s is not None:
            return f", {duration(max(0.0, now_s - saved['at_s']))} ago"
        if spoken_s := (sight.status.get("heartbeat") or {}).get("at_s"):
            return f", {duration(max(0.0, spoken_s - saved['at_s']))} before its last word"
    return f", {saved['at'][:19]}Z"


def _published(sight: Sight, published: Mapping[str, Any], now_s: float) -> Text:
    """Which checkpoint outlives the machine; loud while a newer one does not."""
    last = f"{published['name']}{_age(sight, published, now_s)}" if published.get("name") else "NOTHING YET"
    if not published.get("problem"):
        return Text(last)
    failures = f"{published['failures']} failure{'s' if published['failures'] > 1 else ''}"
    return Text(f"{last}; {failures}: {published['problem']}", style="bold red")


def _tracker(tracker: Mapping[str, Any]) -> Text:
    """The mirror's state; loud if it is not what was asked for."""
    words = [f"{tracker.get('state')} ({tracker.get('policy')})", str(tracker.get("url") or "")]
    if failures := tracker.get("failures"):
        words.append(f"{failures} failure{'s' if failures > 1 else ''}: {tracker.get('message') or 'mended'}")
    is_well = tracker.get("state") in ("live", "finished", "starting")
    return Text("  ".join(filter(None, words)), style="" if is_well else "bold red")


def _curves(record: Record) -> Table | None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, style="dim")
    for metric in CURVES:
        values = [point.value for point in record.series(metric)]
        if values:
            known = [value for value in values if math.isfinite(value)]
            span = f"{min(known):.4g} .. {max(known):.4g}" if known else ""
            table.add_row(metric, sparkline(values), f"{values[-1]:.4g}", span)
    return table if table.row_count else None


def _rules(judged: Sequence[tuple[RuleSpec, Verdict]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("kill rule", no_wrap=True)
    table.add_column("how near", no_wrap=True)
    table.add_column("what it says")
    for rule, verdict in judged:
        colour = {"fires": "bold red", "waiting": "dim"}.get(
            verdict.state, "yellow" if verdict.nearness > 0.8 else "green"
        )
        filled = round(10 * verdict.nearness)
        bar = Text("█" * filled + "·" * (10 - filled), style=colour)
        word = {"fires": "fires", "waiting": "waits"}.get(verdict.state, f"{verdict.nearness:.0%}")
        bar.append(f" {word}")
        table.add_row(rule.label, bar, Text(verdict.reason, style="dim" if verdict.state == "waiting" else ""))
    return table


def _events(record: Record) -> Table | None:
    shown = [row for row in record.events if row["event"] not in ("checkpoint",)][-4:]
    if not shown:
        return None
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(style="dim", no_wrap=True)
    for row in shown:
        told = row.get("reason") or row.get("message") or row.get("what") or row.get("why") or row.get("signal") or ""
        if row["event"] == "exited" and not told:
            told = f"code {row.get('code')}"
        table.add_row(str(row.get("at", ""))[11:19], str(row["event"]), Text(str(told)[:80]))
    return table
