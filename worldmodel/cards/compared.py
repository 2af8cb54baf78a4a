"""What a hand-written card says beside what is computed.

Owns: which of its numbers can be computed, and when two numbers agree. Must not: change either.

A whole number agrees if it is equal. A number with decimals agrees if it is the computed one, rounded as it is. One
with "~" agrees within `ABOUT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from worldmodel.cards.data import REFERENCE_BYTES
from worldmodel.cards.facts import count_examples
from worldmodel.cards.foreign import Foreign, Said, number
from worldmodel.cards.news import num_games_of
from worldmodel.cards.view import View
from worldmodel.schema import LAYOUT
from worldmodel.training.config import ScheduledSampling, WindowData
from worldmodel.training.disturbance import TOUCHED

ABOUT = 0.05
"""How far a number with "~" may be off, as a share of the computed one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity. agrees: "yes", "about", "NO", or with a reason."""

    quantity: str
    says: str
    computed: str
    agrees: str

    @property
    def is_good(self) -> bool:
        return not self.agrees.startswith("NO")


def compare(card: Foreign, view: View) -> list[Row]:
    """Every number of the card that can be computed, in the card's order."""
    return [
        *_data(card, view),
        *_model(card, view),
        *_training(card, view),
        *_logging(card, view),
        *_timing(card, view),
    ]


def judged(quantity: str, said: Said | None, computed: float, shown: str = "") -> Iterator[Row]:
    """A row; none if the card does not say it. said: in the unit of `computed`; shown: the number as people read it."""
    if said is None:
        return
    off = abs(said.value - computed)
    if off <= said.resolution + 1e-12 * abs(computed):
        agrees = "yes"
    elif said.is_about and off <= ABOUT * abs(computed):
        agrees = f"about: {off / abs(computed):.1%} off, '~' allows {ABOUT:.0%}"
    else:
        agrees = "NO" if not computed else f"NO: {(said.value - computed) / abs(computed):+.1%}"
    yield Row(quantity, said.text, shown or _shown(computed), agrees)


# ---- sections ----------------------------------------------------------------------------------------------------


def _data(card: Foreign, view: View) -> Iterator[Row]:
    fields, data = card.fields("data"), view.facts.data
    in_gb = data.num_frames * REFERENCE_BYTES / 1e9
    yield from judged(
        "File size", number(fields.get("File size", "")), in_gb, f"{in_gb:.2f} GB at {REFERENCE_BYTES} B/frame"
    )
    yield from judged("Games", number(fields.get("Games", "")), data.num_games)
    yield from judged("Total frames", number(fields.get("Total frames", "")), data.num_frames)
    examples = view.facts.examples
    by_list = count_examples(data, view.experiment, data.lengths.by_list_order()) if data.lengths else examples
    total = max(1, examples.train.value + examples.val.value)
    for name, ours, theirs in (
        ("Train examples", examples.train, by_list.train),
        ("Val examples", examples.val, by_list.val),
    ):
        text = fields.get(name, "")
        for row in judged(name, number(text), ours.value, str(ours)):
            said = number(text)
            if not row.is_good and said is not None and said.value == theirs.value:
                yield Row(name, text, f"{theirs} by list order, {ours} by match group", "yes, by the reference's split")
            else:
                yield row
        if (percent := re.search(r"\((\d+)%\)", text)) is not None:
            yield from judged(
                f"{name}, share", Said(f"{percent[1]}%", float(percent[1]), False, 0.5), 100 * ours.value / total
            )


def _model(card: Foreign, view: View) -> Iterator[Row]:
    fields, model, data = card.fields("model"), view.experiment.model, view.experiment.data
    if said := fields.get("Architecture"):
        agrees = re.sub(r"\W", "", said).lower().startswith(model.arch.lower())
        yield Row("Architecture", said, model.arch, "yes" if agrees else "NO")
    yield from judged("Parameters", number(fields.get("Parameters", "")), view.facts.num_parameters)
    values = model.model_dump(mode="json")
    if isinstance(data, WindowData):
        values["context_len"] = data.context_len
    for label, text in fields.items():
        name = label.split()[0]
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield from judged(label, number(text), value)


def _training(card: Foreign, view: View) -> Iterator[Row]:
    fields, training = card.fields("training"), view.experiment.training
    text = fields.get("Epochs", "")
    yield from judged("Epochs", number(text), training.epochs)
    if default := re.search(r"config default is (\d+)", text):
        shipped = view.resolved.as_shipped.training.epochs
        yield from judged("Epochs of the config", number(default[1]), shipped)
    yield from judged("Batch size", number(fields.get("Batch size", "")), training.batch_size)
    for label, value in (("Learning rate", training.lr), ("Weight decay", training.weight_decay)):
        if said := number(fields.get(label, "")):
            yield from judged(label, Said(said.text, said.value, said.is_about, 0.0), value)
    yield from _sampling(fields, view.experiment.scheduled_sampling)
    for name, text in re.findall(r"(\w+)=([\d.]+)", fields.get("Loss weights", "")):
        weight = view.experiment.weights.get(name)
        if weight is None:
            yield Row(f"Loss weight {name}", text, "no such group", "NO")
        else:
            yield from judged(f"Loss weight {name}", number(text), weight)


def _sampling(fields: dict[str, str], sampling: ScheduledSampling | None) -> Iterator[Row]:
    text = fields.get("Scheduled sampling", "")
    if not text:
        return
    if sampling is None:
        yield Row("Scheduled sampling", text, "off", "NO")
        return
    yield from judged("Scheduled sampling, rate", number(text), sampling.rate)
    for label, value in (
        ("noise", sampling.noise),
        ("anneal", sampling.anneal_epochs),
        ("corrupt", sampling.corrupt_frames),
    ):
        if match := re.search(rf"{label}=([\d.]+)", text):
            yield from judged(f"Scheduled sampling, {label}", number(match[1]), value)
    mask = next((value for key, value in fields.items() if "mask" in key.lower()), "")
    if (never := re.search(r"NOT ([\w/]+)", mask)) is not None:
        touched = [LAYOUT.numbers[index].name for index in TOUCHED]
        wrong = [name for name in touched if name.startswith(tuple(never[1].split("/")))]
        words = f"touches {', '.join(touched)}"
        yield Row("Noise mask", f"not {never[1]}", words, f"NO: {', '.join(wrong)}" if wrong else "yes")


def _logging(card: Foreign, view: View) -> Iterator[Row]:
    fields, facts, timing = card.fields("logging"), view.facts, view.timing
    batches = facts.batches_per_epoch
    text = fields.get("Batches per epoch", "")
    by_list = facts.data.lengths.by_list_order() if facts.data.lengths else None
    if by_list is not None:
        train = count_examples(facts.data, view.experiment, by_list).train.value
        theirs = -(-train // view.experiment.training.batch_size)
        said = number(text)
        if said is not None and said.value != batches.value and said.value == theirs:
            computed = f"{theirs:,} by list order, {batches} by match group"
            yield Row("Batches per epoch", text, computed, "yes, by the reference's split")
            text = ""
    yield from judged("Batches per epoch", number(text), batches.value, str(batches))
    yield from judged("log_interval", number(fields.get("log_interval", "")), view.experiment.training.log_every_steps)
    yield from judged("Logs per epoch", number(fields.get("Logs per epoch", "")), facts.rows_per_epoch)
    if timing:
        yield from judged("Time between logs, s", number(fields.get("Time between logs", "")), timing.between_rows_s)


def _timing(card: Foreign, view: View) -> Iterator[Row]:
    fields, timing = card.fields("timing"), view.timing
    if timing is None:
        return
    hours = timing.epoch_s / 3600
    text = fields.get("Est. epoch time", "")
    yield from judged("Epoch, h", number(text), hours)
    if minutes := re.search(r"\(([\d.]+) min\)", text):
        yield from judged("Epoch, min", _about(minutes[1]), timing.epoch_s / 60)
    yield from judged("Training, h", number(fields.get("Est. total training", "")), timing.training_s / 3600)
    yield from judged("Wall time, h", number(fields.get("Est. total wall time", "")), timing.total_s / 3600)
    if timing.usd is not None:
        yield from judged("Cost, $", number(fields.get("Est. cost", "")), timing.usd)
    limit = view.file.card.backend.timeout_s
    if limit and (margin := re.search(r"safety margin: ([\d.]+)x", fields.get("Timeout", ""))):
        yield from judged("Margin of the time limit", number(margin[1]), limit / timing.total_s)
    yield from _prose(card, view)


def _prose(card: Foreign, view: View) -> Iterator[Row]:
    """Numbers in sentences: the pessimistic range, the batches of a kill rule, how much more data."""
    timing, text = view.timing, "\n".join(section.text for section in card.sections)
    assert timing is not None, "its caller has looked"
    factors = re.search(r"off by (\d+)\s*[-–]\s*(\d+)x", text)
    worst = re.search(r"Pessimistic estimate: ~(\d+)[-–](\d+)h, ~\$(\d+)[-–](\d+)", text)
    if factors and worst and timing.usd is not None:
        for place, factor in enumerate(map(float, factors.groups())):
            yield from judged(f"Pessimistic {factor:g}x, h", _about(worst[1 + place]), factor * timing.total_s / 3600)
            yield from judged(f"Pessimistic {factor:g}x, $", _about(worst[3 + place]), factor * timing.usd)
    if part := re.search(r"after ~(\d+)K batches \((\d+)% of epoch 1, ~(\d+) min\)", text):
        share = float(part[2]) / 100
        batches = share * view.facts.batches_per_epoch.value
        yield from judged(f"Batches in {share:.0%} of an epoch", _about(f"{part[1]}K"), batches)
        yield from judged(f"Minutes in {share:.0%} of an epoch", _about(part[3]), share * timing.epoch_s / 60)
    if (times := re.search(r"\b(\d+)x data scale", text)) and view.news:
        games = num_games_of(view.news[0].entry.data)
        if games:
            yield from judged("Times more games", number(times[1]), view.facts.data.num_games / games)


def _about(text: str) -> Said | None:
    said = number(text)
    return said and Said(f"~{text}", said.value, True, max(said.resolution, 0.5))


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"
