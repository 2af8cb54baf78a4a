"""The tables of a card: what each says, from what is known of it.

Owns: which facts stand in which table, and how they are worded. Must not: compute a fact.

A table is a function here; `TABLES` gives their order. What is not known yet is said to be so, with the way to know it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

import torch

from worldmodel.cards.data import REFERENCE_BYTES
from worldmodel.cards.facts import launch_words, resume_words
from worldmodel.cards.news import UNKNOWN
from worldmodel.cards.sheet import Sheet, facts
from worldmodel.cards.time_table import NOT_MEASURED, timing
from worldmodel.cards.view import View
from worldmodel.cards.words import (
    data_words,
    metric_words,
    other_overrides,
    per_frame,
    prior_value,
    rule_words,
    size,
    warm_up,
    word,
)
from worldmodel.runs.ledger import VAL
from worldmodel.training.config import SequenceData
from worldmodel.training.disturbance import make_disturbances
from worldmodel.training.eta import duration
from worldmodel.training.symmetry import make_symmetries

PRIOR_METRICS = ("val_change_acc", "val_pos_mae", "val_loss/total")
"""Columns of the table of earlier runs if a card has no targets."""


def targets(view: View) -> Sheet:
    """What the run is for, and what ends it."""
    card = view.file.card
    kill: dict[str, list[str]] = {}
    others = []
    for rule in card.kill:
        metric = rule.arguments.get("metric")
        if metric in {target.metric for target in card.targets}:
            kill.setdefault(str(metric), []).append(rule_words(rule))
        else:
            others.append(rule.label)
    rows = tuple(
        (
            target.metric,
            f"{metric_words(target.metric, target.baseline)} ({target.baseline_from or 'no source'})"
            if target.baseline is not None
            else "none",
            f"{'>' if target.better == 'higher' else '<'} {metric_words(target.metric, target.target)}",
            "; ".join(kill.get(target.metric, ["none"])),
        )
        for target in card.targets
    )
    notes = [f"Ends the run as well: {'; '.join(others)}."] if others else []
    if not rows:
        notes.insert(0, "No targets.")
    return Sheet("Target metrics", ("Metric", "Baseline (source)", "Target", "Kill"), rows, tuple(notes))


def data(view: View) -> Sheet:
    """Which frames there are, and how many examples they make."""
    found, examples = view.facts.data, view.facts.examples
    total = max(1, examples.train.value + examples.val.value)
    frames_each = view.facts.targets_per_window
    unit = "examples" if frames_each == 1 else f"windows of {frames_each} target frames"
    split = "whole match groups, by hash (decision 0005)"
    return facts(
        "Data",
        [
            ("Dataset", view.file.card.data.path),
            ("On the backend", view.file.card.data.on_backend),
            ("Content", found.content_hash[:16]),
            ("File size", f"{size(found.num_bytes)} ({per_frame(found.num_bytes, found.num_frames)})"),
            ("In the reference's encoding", f"{size(found.num_frames * REFERENCE_BYTES)} ({REFERENCE_BYTES} B/frame)"),
            ("Games", f"{found.num_games:,}"),
            ("Total frames", f"{found.num_frames:,}"),
            (f"Train {unit}", f"{examples.train} ({examples.train.value / total:.0%})"),
            (f"Val {unit}", f"{examples.val} ({examples.val.value / total:.0%})"),
            ("Split", split if found.lengths or found.splits else f"{split}; not in a manifest as old as this one"),
        ],
    )


def model(view: View) -> Sheet:
    """What is trained."""
    values = view.experiment.model.model_dump(mode="json")
    context = view.experiment.data
    shown = (
        ("context", f"sequences of {context.length} frames, burn-in {context.burn_in}, carried {context.carry}")
        if isinstance(context, SequenceData)
        else ("context_len (K)", f"{context.context_len}")
    )
    return facts(
        "Model",
        [
            ("Architecture", str(values.pop("arch"))),
            ("Config", view.file.card.config),
            ("Parameters", f"{view.facts.num_parameters:,}"),
            *((name, word(value)) for name, value in values.items()),
            shown,
        ],
    )


def training(view: View) -> Sheet:
    """How the weights move."""
    now, shipped = view.experiment.training, view.resolved.as_shipped.training

    def marked(name: str) -> str:
        value, before = getattr(now, name), getattr(shipped, name)
        words = word(value)
        return words if value == before else f"**{words}** (override, the config has {word(before)})"

    steps, per_epoch = view.facts.num_steps, view.facts.steps_per_epoch.value
    disturbed = make_disturbances(view.experiment, steps.value, max(1, per_epoch), torch.device("cpu"))
    symmetries = make_symmetries(view.experiment, torch.device("cpu"))
    turned = symmetries.describe() if symmetries is not None else []
    lines = turned + [line for disturbance in disturbed for line in disturbance.describe()]
    weights = ", ".join(f"{group}={weight:g}" for group, weight in view.experiment.weights.items())
    notes = (
        ["What the model is shown is turned or disturbed:\n\n" + "\n".join(f"- {line.strip()}" for line in lines)]
        if lines
        else []
    )
    return facts(
        "Training",
        [
            ("Epochs, in total", marked("epochs")),
            ("Steps, in total", str(steps)),
            ("Batch size", marked("batch_size")),
            ("Learning rate", marked("lr")),
            ("Weight decay", marked("weight_decay")),
            ("Optimizer", "AdamW, cosine to 0 by step, " + warm_up(now.warmup_fraction, steps.value)),
            ("Gradient clip", marked("grad_clip")),
            ("Mean of weights", "none" if now.ema is None else f"decay {now.ema:g}"),
            ("Precision", f"{now.precision}, compile {word(now.compile)}"),
            ("Seed", marked("seed")),
            ("Disturbance", "none" if not lines else None),
            ("Loss weights", weights),
            ("Other overrides", ", ".join(other_overrides(view)) or None),
        ],
        notes,
    )


def infrastructure(view: View) -> Sheet:
    """Where it runs, and what holds it."""
    card, backend = view.file.card, view.file.card.backend
    usd = backend.usd_per_hour or (view.price and view.price.usd_per_hour * backend.devices)
    said = "the card" if backend.usd_per_hour else view.price and f"{view.price.as_of}, {view.price.source}"
    tracker = card.tracker
    where = "/".join(part for part in (tracker.entity, tracker.project, card.run) if part)
    checkpoint = size(view.facts.checkpoint_bytes)
    needed = (
        f"{', '.join(card.reviewers.required) or 'anybody'}"
        if card.reviewers.needed
        else f"none below ${card.reviewers.cost_limit_usd:g}"
    )
    return facts(
        "Infrastructure",
        [
            ("Backend", backend.name),
            ("GPU", backend.gpu if backend.devices == 1 else f"{backend.devices} x {backend.gpu or 'device'}"),
            ("Price", f"${usd:.2f} an hour ({said})" if usd else None),
            ("CPU cores", f"{backend.cpu_cores:g}" if backend.cpu_cores else None),
            ("System RAM", f"{backend.memory_gb:g} GB" if backend.memory_gb else None),
            ("Time limit of an attempt", duration(backend.timeout_s) if backend.timeout_s else "none"),
            ("Attempts", f"1 and up to {backend.retries} more, each resumes" if backend.retries else "1"),
            ("Checkpoints", f"every {card.checkpoints.every_min:g} min and at each epoch's end, {checkpoint} each"),
            ("Published", "yes, after each" if card.checkpoints.publish else "no: they are where the run is"),
            ("Tracker", f"{tracker.policy}, {where}" if tracker.policy != "off" else "off (JSONL in the run folder)"),
            ("Budget", f"${card.budget.usd:g}" if card.budget.usd else "none"),
            ("Watched by", ", ".join(card.watched_by) or "nobody"),
            ("Fallback", f"card {card.fallback.card}" if card.fallback else "none"),
            ("Reviewers", needed),
        ],
    )


def logging(view: View) -> Sheet:
    """What is written down, and how often."""
    found, training, timing = view.facts, view.experiment.training, view.timing
    rows = [
        ("Batches per epoch", str(found.batches_per_epoch)),
        ("Steps per epoch", str(found.steps_per_epoch) if view.experiment.data.carry > 1 else None),
        ("A row of metrics", f"is the mean of {training.log_every_steps:,} steps"),
        ("Rows per epoch", f"~{found.rows_per_epoch:,.0f} ({found.rows_per_epoch:,.2f})"),
        ("Time between rows", f"~{duration(timing.between_rows_s)}" if timing else NOT_MEASURED),
        ("A line on the screen", f"every {training.log_every_s:g} s, with pace and time left"),
        ("Lines per epoch", f"~{timing.lines_per_epoch:,.0f}" if timing else NOT_MEASURED),
        (
            "Validations per epoch",
            f"{found.validations_per_epoch}, on {found.validated} held-out windows"
            if found.validations_per_epoch
            else "NONE: training.val_windows is 0",
        ),
    ]
    return facts("Logging & monitoring", rows)


def prior_runs(view: View) -> Sheet:
    """Baselines, with held-out values and others kept apart. One that goes on has none yet: they would move under the
    card, and make it stale, for as long as it trains."""
    metrics = [target.metric for target in view.file.card.targets if target.metric.startswith(VAL)] or PRIOR_METRICS
    rows = tuple(
        (
            entry.name,
            data_words(entry),
            f"{entry.epochs:.3g}" if entry.epochs is not None and not entry.goes_on else "",
            *("" if entry.goes_on else prior_value(entry, metric) for metric in metrics),
            f"{entry.notes or entry.source}{', has not ended' if entry.goes_on else ''}",
        )
        for entry in view.baselines
    )
    notes = [f"Not in the ledger: {', '.join(view.unknown_baselines)}."] if view.unknown_baselines else []
    if any("?" in cell for row in rows for cell in row[3:-1]):
        notes.append("?: nobody said whether this is a value of training or of held-out games.")
    if not rows:
        notes.insert(0, "No earlier run to compare with.")
    header = ("Run", "Data", "Epochs", *metrics, "Notes")
    return Sheet("Prior comparable runs", header, rows, tuple(notes))


def new(view: View) -> Sheet:
    """What differs from the most comparable earlier run."""
    title = "What is new in this run"
    if not view.news:
        return Sheet(title, notes=("Nothing to compare with: every part of it is new.",))
    nearest = view.news[0]
    rows = tuple((change.variable, change.before, change.after) for change in nearest.changes)
    notes = [f"Compared with {nearest.entry.name}, the most comparable of the runs above."]
    if not rows:
        notes.append("No variable differs that is recorded of it.")
    if nearest.num_unknown:
        notes.append(f"Of {nearest.num_unknown} keys it is not recorded what they were.")
    if code := nearest.entry.code:
        state = ", with changes that were not committed" if code.dirty else ""
        unknown = f"; whether ours differs is not known: {nearest.code_unknown}" if nearest.code_unknown else ""
        notes.append(f"Its code: {(code.git_sha or code.version or UNKNOWN)[:12]}{state}{unknown}.")
    if nearest.warning:
        notes.append(
            f"**{nearest.warning}.** `worldmodel card ablate {view.file.card.run}` writes a card for each of them."
        )
    return Sheet(title, ("Variable", nearest.entry.name, "This run"), rows, tuple(notes))


def commands(view: View) -> Sheet:
    """Words for the shell."""
    card, resolved = view.file.card, view.resolved
    epochs = view.experiment.training.epochs
    note = f"Epochs are totals: a resumed run ends at epoch {epochs}, step {view.facts.num_steps}, wherever it stopped."
    return Sheet(
        "Launch and resume",
        notes=(note,),
        code=(
            ("Launch", shlex.join(launch_words(card, resolved))),
            ("Resume", shlex.join(resume_words(card, resolved))),
        ),
    )


TABLES: dict[str, Callable[[View], Sheet]] = {
    "targets": targets,
    "data": data,
    "model": model,
    "training": training,
    "infrastructure": infrastructure,
    "logging": logging,
    "timing": timing,
    "prior-runs": prior_runs,
    "new": new,
    "commands": commands,
}
"""Every table, by the name of its marks."""
