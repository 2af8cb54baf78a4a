"""How numbers and facts of a card are worded.

Owns: units, percents, short sentences about one fact. Must not: compute one.
"""

from __future__ import annotations

from worldmodel.cards.news import UNKNOWN
from worldmodel.cards.view import View
from worldmodel.launch.base import AFAR
from worldmodel.runs.ledger import VAL, Entry
from worldmodel.runs.rulebook import RuleSpec
from worldmodel.training.eta import duration


def metric_words(metric: str, value: float) -> str:
    """Shares as percents, everything else as it is."""
    return f"{100 * value:.4g}%" if metric.endswith("_acc") else f"{value:.4g}"


def size(num_bytes: int) -> str:
    """Decimal units, as files are bought."""
    value, unit = float(num_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def money(usd: float) -> str:
    """Cents where they matter."""
    return f"${usd:,.2f}"


def span(low_s: float, high_s: float) -> str:
    """An interval of times."""
    return f"{duration(low_s)} to {duration(high_s)}"


def per_frame(num_bytes: int, num_frames: int) -> str:
    return f"{num_bytes / num_frames:.0f} B/frame" if num_frames else "no frames"


def rule_words(rule: RuleSpec) -> str:
    """A rule in the row of its metric."""
    values = rule.arguments
    if rule.rule in ("below", "above"):
        sign = "<" if rule.rule == "below" else ">"
        return f"{sign} {metric_words(values['metric'], values['threshold'])} from epoch {values['after_epochs']:g} on"
    if rule.rule == "not_decreasing":
        return f"not decreasing after {values['after_epochs']:.3g} epochs"
    return rule.label.replace(f" {values['metric']}", "", 1)


def word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def lost(view: View) -> str:
    """Work that the death of the process, or of a machine that is lent, can cost."""
    card = view.file.card
    if card.backend.name in AFAR and not card.checkpoints.publish:
        return "everything: the machine goes with its checkpoints, and none is published"
    return f"{card.checkpoints.every_min:g} min of work"


def warm_up(fraction: float, num_steps: int) -> str:
    return f"rising over the first {round(fraction * num_steps):,} steps" if fraction else "no warm-up"


def other_overrides(view: View) -> list[str]:
    shown = {"epochs", "batch_size", "lr", "weight_decay", "grad_clip", "seed"}
    return [o for o in view.resolved.overrides if o.partition("=")[0] not in {f"training.{name}" for name in shown}]


def data_words(entry: Entry) -> str:
    if entry.data.name:
        return entry.data.name
    return f"{entry.data.num_games:,} games" if entry.data.num_games else UNKNOWN


def prior_value(entry: Entry, metric: str) -> str:
    value = entry.value(metric)
    if value is not None:
        mean = entry.val_ema.get(metric)
        return metric_words(metric, value) + (f" (mean of weights {metric_words(metric, mean)})" if mean else "")
    unsaid = entry.unsaid.get(metric.removeprefix(VAL))
    return f"{metric_words(metric, unsaid)} ?" if unsaid is not None else ""
