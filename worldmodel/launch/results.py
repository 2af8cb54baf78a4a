"""The results of a run as they stand on its card, in Markdown.

Owns: words and tables. Must not: find out anything (`outcome` does).
"""

from __future__ import annotations

from collections.abc import Sequence

from worldmodel.launch.outcome import Compared, Kept, Life, Outcome, Reached
from worldmodel.runs.document import table_lines
from worldmodel.runs.rulebook import REASON
from worldmodel.tracking.progress import duration

BLOCK = "results"
"""Name of the card's block that they stand in."""
TITLE = "Results"
HASH_DIGITS = 16


def render(outcome: Outcome, *, picture: str | None, card_changes: Sequence[str] = ()) -> str:
    """Content of the block. picture: of the curves, by its path beside the card. card_changes: keys of its front matter
    that say something else than when the run was launched."""
    parts = [_headline(outcome)]
    if outcome.instead_of:
        parts.append(f"Launched as the fallback of {outcome.instead_of}, which a rule had stopped.")
    if outcome.fallback:
        parts.append(f"**Fallback:** {outcome.fallback}.")
    if outcome.lives:
        parts += [_facts(outcome), _targets(outcome.targets)]
        if picture is not None and outcome.has_curves:
            parts.append(f"![Curves of {outcome.run}]({picture})")
        parts += [_compared(outcome.compared), _checkpoints(outcome.checkpoints)]
        if len(outcome.lives) > 1:
            parts.append(_lives(outcome.lives))
    told = [*outcome.deviations]
    if card_changes:
        told.append(f"the card says something else now than when it was launched: {', '.join(card_changes)}")
    if told:
        listed = "\n".join(f"- {line}" for line in told)
        parts.append(f"Otherwise than the card says, or than it should be:\n\n{listed}")
    elif outcome.is_over:
        parts.append("Nothing was otherwise than the card says.")
    return "\n\n".join(part for part in parts if part) + "\n"


# ---- the end -----------------------------------------------------------------------------------------------------


def end_words(outcome: Outcome) -> str:
    """How it ended, in a sentence without its full stop."""
    reason, why = outcome.reason, outcome.why
    if not outcome.is_over:
        return f"No end is written yet; `worldmodel status {outcome.run}` asks the process itself"
    if outcome.state == "finished":
        return "**Done:** every step"
    if outcome.state == "stopped by rule":
        rule = reason.removeprefix(REASON)
        return f"**Stopped by the rule `{rule}`:** {why.removeprefix(f'{rule}: ') or 'it did not say more'}"
    if reason == "deadline":
        return "**Stopped by its time limit**, after it had saved"
    if outcome.state == "stopped":
        by = f"by {outcome.by}" if outcome.by else "from outside"
        saved = "" if reason.startswith("stop:") else ", after it had saved"
        return f"**Stopped {by}** ({reason}){saved}"
    if outcome.state == "vanished":
        return f"**Vanished:** {reason.partition(': ')[2] or reason}"
    if "No space left on device" in reason or "Disk quota exceeded" in reason:
        return f"**Crashed, the disk was full:** `{_code(reason)}`"
    if reason == "non-finite loss":
        return f"**Crashed, the loss was no number:** {why or reason}"
    if reason.startswith("killed by"):
        return f"**Killed:** {reason}"
    return f"**Crashed:** `{_code(reason)}`"


def _headline(outcome: Outcome) -> str:
    text = end_words(outcome)
    if outcome.lives:
        text += f". Step {outcome.step:,}"
        if outcome.num_steps:
            text += f" of {outcome.num_steps:,}"
        if outcome.steps_per_epoch:
            text += f", epoch {outcome.step / outcome.steps_per_epoch:.3g}"
    if outcome.ended_at:
        text += f"; {_stamp(outcome.ended_at)}"
    return text + "."


def _facts(outcome: Outcome) -> str:
    rows = [("Launched", _stamp(outcome.launched_at) + (f", card {outcome.card_hash}" if outcome.card_hash else ""))]
    if outcome.is_over:
        rows.append(("Time, of all lives", f"{duration(outcome.spent_s)} on {outcome.device or 'an unknown device'}"))
    if outcome.is_over and outcome.usd is not None and outcome.usd_per_hour is not None:
        of = f", of a budget of ${outcome.budget_usd:,.2f}" if outcome.budget_usd else ""
        rows.append(("**Cost**", f"**${outcome.usd:,.2f}** at ${outcome.usd_per_hour:,.2f} an hour{of}"))
    elif outcome.is_over:
        rows.append(("Cost", "no price for this device"))
    if outcome.memory_gb is not None:
        rows.append(("Memory at the most", f"{outcome.memory_gb:.1f} GB"))
    return _table(("Field", "Value"), [row for row in rows if row[1]])


# ---- tables ------------------------------------------------------------------------------------------------------


def _targets(targets: Sequence[Reached]) -> str:
    if not targets:
        return "The card had no targets."
    rows = []
    for target in targets:
        sign = ">" if target.better == "higher" else "<"
        rows.append(
            (
                target.metric,
                _metric(target.metric, target.baseline),
                f"{sign} {_metric(target.metric, target.target)}",
                _metric(target.metric, target.value) + _trailing(target),
                _interval(target),
                _verdict(target),
                target.source,
            )
        )
    return _table(("Target metric", "Baseline", "Target", "Reached", "95 % interval", "Verdict", "By"), rows)


def _trailing(target: Reached) -> str:
    if target.value is None or target.last is None or target.low is not None or target.last == target.value:
        return ""
    return f" (last: {_metric(target.metric, target.last)})"


def _interval(target: Reached) -> str:
    if target.value is None:
        return ""
    if target.low is None or target.high is None:
        return "none; `worldmodel eval` gives one"
    return f"{_metric(target.metric, target.low)} .. {_metric(target.metric, target.high)}"


def _verdict(target: Reached) -> str:
    if target.is_met is None:
        return "**not measured**"
    word = "**met**" if target.is_met else "**missed**"
    if target.low is None or target.high is None:
        return word
    return f"{word}, within the interval" if target.low < target.target < target.high else word


def _compared(rows: Sequence[Compared]) -> str:
    cells = []
    for row in rows:
        if row.estimated is None and row.actual is None:
            continue
        ratio = f"{row.actual / row.estimated:.2f}" if row.actual and row.estimated else ""
        cells.append((row.what, _amount(row.estimated, row.unit), _amount(row.actual, row.unit), ratio))
    if not cells:
        return ""
    return _table(("Estimate against actual", "Estimated", "Actual", "Actual / estimated"), cells)


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "usd":
        return f"${value:,.2f}"
    return f"{1000 * value:.4g} ms" if value < 1 else duration(value)


def _checkpoints(kept: Sequence[Kept]) -> str:
    if not kept:
        return "No checkpoint is left on the disk."
    rows = [
        (
            one.what,
            one.name,
            "" if one.total is None else f"{one.total:.4g}",
            f"`{one.sha256[:HASH_DIGITS]}`" if one.sha256 else (f"DAMAGED: {one.problem}" if one.problem else ""),
        )
        for one in kept
    ]
    return _table(("Checkpoint", "Folder", "val_loss/total", "sha256 of its weights"), rows)


def _lives(lives: Sequence[Life]) -> str:
    rows = [
        (
            str(number),
            _stamp(life.began_at) if life.began_at else "never began",
            f"{life.from_step:,} to {life.to_step:,}",
            f"{life.lost_steps:,}" if number > 1 else "",
            duration(life.lived_s) if life.lived_s is not None else "",
            life.reason or "(not written)",
        )
        for number, life in enumerate(lives, start=1)
    ]
    return _table(("Life", "Began", "Steps", "Done again", "Lived", "Ended"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table_lines(header, rows))


# ---- numbers and stamps ------------------------------------------------------------------------------------------


def _metric(name: str, value: float | None) -> str:
    """Shares as percents, everything else as it is."""
    if value is None:
        return ""
    return f"{100 * value:.4g}%" if name.endswith("_acc") else f"{value:.4g}"


def _stamp(at: str) -> str:
    return f"{at[:10]} {at[11:16]} UTC" if at else ""


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())[:300]
