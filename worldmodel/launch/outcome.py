"""How a run ended, from its artefacts alone: what its card is told.

Owns: which file says what, and the shape of closeout.json. Must not: write (`closeout`), word anything for people
(`results`), or take a value of training for one of held-out games.

Durations are those that the processes measured themselves, by clocks that nobody sets. Stamps are shown, never counted
with, but for gaps between two lives, which nobody was there to measure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import Field

from worldmodel.errors import WrongUse
from worldmodel.launch.base import Order, read_order
from worldmodel.launch.record import LiveRecord
from worldmodel.launch.watcher import kind_of
from worldmodel.runs.card import Card, CardFile, Target
from worldmodel.runs.card_rules import rulebook_of
from worldmodel.runs.document import Document
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.runs.planned import Told, told_of
from worldmodel.runs.rulebook import REASON
from worldmodel.runs.rules import VALIDATED, Record
from worldmodel.runs.strict import Strict
from worldmodel.tracking import jsonl

FORMAT = 1
NOT_ENDED = "not ended"
TOTAL = f"{VALIDATED}loss/total"
WEIGHTS = "weights.safetensors"
JUMP_S, JUMP_SHARE = 60.0, 0.05
"""A clock of the wall that is off by more than both has jumped."""


class Reached(Strict):
    """A target, and what was reached of it. value: of held-out games at the best step, or None; last: at the last one.

    low, high: the interval, if somebody measured one. source: who says so. is_met: None if nothing was measured.
    """

    metric: str
    better: str
    target: float
    baseline: float | None = None
    value: float | None = None
    last: float | None = None
    low: float | None = None
    high: float | None = None
    source: str = ""
    is_met: bool | None = None


class Compared(Strict):
    """An estimate and what it was. unit: "s", "usd", "steps"."""

    what: str
    unit: str
    estimated: float | None = None
    actual: float | None = None


class Kept(Strict):
    """A checkpoint on the disk. total: val_loss/total at its step; sha256: of its weights; problem: what is damaged."""

    what: str
    name: str
    step: int
    total: float | None = None
    sha256: str | None = None
    problem: str | None = None


class Life(Strict):
    """One process (or team of them). began_at, ended_at: stamps. lived_s: by the supervisor's clock, if there was one.

    gap_s: from the end of the life before, by stamps; lost_steps: that were done before and had to be done again.
    """

    began_at: str | None = None
    ended_at: str | None = None
    from_step: int = 0
    to_step: int = 0
    reason: str | None = None
    lived_s: float | None = None
    gap_s: float | None = None
    lost_steps: int = 0


class Outcome(Strict):
    """Content of closeout.json. state: a kind of `watcher.kind_of`, or NOT_ENDED; why: what a rule said, or an error.

    seen: sizes of the files that this was read from: with the same sizes it need not be read again. on_card: whether
    the card says so.
    """

    format: int = FORMAT
    run: str
    card_hash: str | None = None
    launched_at: str = ""
    state: str
    reason: str = ""
    why: str = ""
    by: str = ""
    ended_at: str | None = None
    step: int = 0
    num_steps: int | None = None
    steps_per_epoch: float | None = None
    device: str = ""
    spent_s: float = 0.0
    usd: float | None = None
    usd_per_hour: float | None = None
    budget_usd: float | None = None
    num_checkpoints: int = 0
    memory_gb: float | None = None
    targets: list[Reached] = Field(default_factory=list)
    compared: list[Compared] = Field(default_factory=list)
    checkpoints: list[Kept] = Field(default_factory=list)
    lives: list[Life] = Field(default_factory=list)
    deviations: list[str] = Field(default_factory=list)
    fallback: str = ""
    instead_of: str = ""
    has_curves: bool = False
    seen: dict[str, int] = Field(default_factory=dict)
    on_card: bool = False

    @property
    def is_over(self) -> bool:
        """Whether an end is written."""
        return self.state != NOT_ENDED


def sizes(run: RunFolder) -> dict[str, int]:
    """Of the files whose growth makes another outcome."""
    files = (run.events, run.metrics, run.pace, run.launch, run.tracker, run.report / "result.json")
    return {path.name: _size(path) for path in files}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def launched_card(run: RunFolder) -> Card | None:
    """The card as it was launched; None if the run was launched by none. Raises WrongUse if the copy is damaged."""
    if not run.card.is_file():
        return None
    return Document.parse(run.card.read_text(encoding="utf-8"), run.card).load(Card)


def outcome_of(run: RunFolder, *, card: Card | None = None, cards: Path | None = None) -> Outcome:
    """Read it. card: if the run has no copy of its own; cards: folder whose own prices and cards count.

    Raises WrongUse if the run was launched by no card and none is given, OSError.
    """
    seen = sizes(run)
    launched = launched_card(run)
    if (of := launched or card) is None:
        raise WrongUse(f"{run.path} was launched by no card", "the run of a card", "worldmodel card launch NAME")
    record, order = LiveRecord(run).look(), read_order(run)
    told = _json(run.provenance)
    lives = lives_of(record.events)
    end = next((row for row in reversed(record.events) if row["event"] in _TURNS), {"event": ""})
    reason = str(end["reason"]) if end["event"] == "ended" else ""
    spent_s = max(record.spent_s, sum(life.lived_s or 0.0 for life in lives))
    launched_at = (order.submitted_at if order else "") or str(told.get("started_at", ""))
    price = rulebook_of(of, cards=cards, on=_day(launched_at)).usd_per_hour
    num_steps = next((int(row["num_steps"]) for row in reversed(record.events) if row.get("num_steps")), None)
    step = min(max([record.step, *(life.to_step for life in lives)]), num_steps or 2**62)
    outcome = Outcome(
        run=run.id,
        card_hash=order.card_hash if order else None,
        launched_at=launched_at,
        state=kind_of(reason) if reason else NOT_ENDED,
        reason=reason,
        why=_why(record, reason),
        by=_who(record.events),
        ended_at=str(end["at"]) if reason else None,
        step=step,
        num_steps=num_steps,
        steps_per_epoch=record.steps_per_epoch,
        device=_device(told, order),
        spent_s=round(spent_s, 1),
        usd=None if price is None else spent_s / 3600 * price,
        usd_per_hour=price,
        budget_usd=of.budget.usd,
        num_checkpoints=sum(row["event"] == "checkpoint" for row in record.events),
        memory_gb=max((float(row["memory_gb"]) for row in record.pace if "memory_gb" in row), default=None),
        targets=[_reached(target, record, run) for target in of.targets],
        checkpoints=_kept(run, record),
        lives=lives,
        deviations=_deviations(run, record, told, lives),
        fallback=_fallback(of, record, reason),
        instead_of=(order.instead_of or "") if order else "",
        has_curves=any(row["kind"] in ("train", "val") for row in record.metrics),
        seen=seen,
    )
    planned = told_of(cards, run.id, launched_at)
    return outcome.model_copy(update={"compared": _compared(of, planned, outcome, record)})


# ---- lives -------------------------------------------------------------------------------------------------------

_BEGINS = ("started", "resumed")
_AGAIN = ("restarted", "relaunched")
_TURNS = (*_BEGINS, *_AGAIN, "ended")


def lives_of(events: list[Mapping[str, Any]]) -> list[Life]:
    """The lives of a run by its events, in order. A life that went without a word ends where the next begins; one that
    never came so far as to say that it began has an end alone."""
    lives: list[dict[str, Any]] = []
    is_open, is_due = False, True
    for row in events:
        event, step, at = row["event"], int(row.get("step") or 0), row.get("at")
        is_due = is_due or event in _AGAIN
        is_orphan = event in ("exited", "ended") and not is_open and is_due
        if event in _BEGINS or is_orphan:
            before = lives[-1] if lives else {}
            lives.append({"from_step": step, "to_step": step})
            if event in _BEGINS:
                lives[-1] |= {"began_at": at, "gap_s": _between(before.get("ended_at"), at)}
            if event == "resumed" and before:
                lives[-1]["lost_steps"] = max(0, before["to_step"] - step)
            is_open, is_due = event != "ended", False
        if not lives:
            continue
        lives[-1]["to_step"] = max(lives[-1]["to_step"], step, int(row.get("of_step") or 0))
        if event in ("exited", "vanished") and row.get("lived_s") is not None:
            lives[-1]["lived_s"] = row["lived_s"]
        elif event == "ended":
            lives[-1] |= {"ended_at": at, "reason": str(row.get("reason"))}
            is_open = False
    return [Life(**life) for life in lives]


def _between(before: str | None, after: str | None) -> float | None:
    if before is None or after is None:
        return None
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


# ---- why ---------------------------------------------------------------------------------------------------------


def _why(record: Record, reason: str) -> str:
    """What a rule said when it fired, or an error's own words, of the last life."""
    for row in reversed(record.events):
        if row["event"] == "rule" and reason.startswith(REASON):
            return f"{row.get('label', row.get('rule', ''))}: {row.get('reason', '')}"
        if row["event"] == "non_finite" and reason == "non-finite loss":
            return str(row.get("message", ""))
        if row["event"] in _BEGINS:
            break
    return ""


def _who(events: list[Mapping[str, Any]]) -> str:
    """Who asked the last life to stop; "" if nobody did."""
    for row in reversed(events):
        if row["event"] == "stop_asked":
            return str(row.get("who", ""))
        if row["event"] in _BEGINS:
            break
    return ""


def _fallback(card: Card, record: Record, reason: str) -> str:
    """What became of the card's fallback, or "" if it was not asked for."""
    tried = next((row for row in reversed(record.events) if row["event"] == "fallback"), None)
    if tried is not None:
        return str(tried["message"])
    fired = next((row for row in reversed(record.events) if row["event"] == "rule"), None)
    if card.fallback and fired and fired.get("fallback") and reason.startswith(REASON):
        return f"{card.fallback.card} was NOT launched: nobody was there; worldmodel card launch {card.fallback.card}"
    return ""


# ---- numbers -----------------------------------------------------------------------------------------------------


def best_step(record: Record) -> int | None:
    """The step with the lowest held-out loss of the raw weights; None if there was no validation."""
    points = [point for point in record.series(TOTAL) if math.isfinite(point.value)]
    return min(points, key=lambda point: point.value).step if points else None


def _reached(target: Target, record: Record, run: RunFolder) -> Reached:
    """Of evaluation, which has an interval, if there was one; else of the run's own validation."""
    about: dict[str, Any] = {
        "metric": target.metric,
        "better": target.better,
        "target": target.target,
        "baseline": target.baseline,
    }
    points = record.series(target.metric) if target.metric.startswith(VALIDATED) else []
    finite = [point for point in points if math.isfinite(point.value)]
    best = best_step(record)
    at_best = next((point for point in reversed(finite) if point.step == best), finite[-1] if finite else None)
    last = finite[-1].value if finite else None
    found = _evaluated(run, target.metric)
    if found is not None:
        value, low, high, source = found
    elif at_best is not None:
        value, low, high, source = at_best.value, None, None, f"validation of the run, step {at_best.step:,}"
    else:
        return Reached(**about, source="no validation of it")
    is_met = value >= target.target if target.better == "higher" else value <= target.target
    return Reached(**about, value=value, last=last, low=low, high=high, source=source, is_met=is_met)


def _evaluated(run: RunFolder, metric: str) -> tuple[float, float | None, float | None, str] | None:
    """(value, low, high, source) of a metric one step ahead, if the run was evaluated on held-out games."""
    result = _json(run.report / "result.json")
    try:
        if not metric.startswith(VALIDATED) or not result["data"]["held_out"]:
            return None
        found = result["teacher_forced"]["models"]["model"][metric.removeprefix(VALIDATED)]
        if found["value"] is None:
            return None
        of = "mean of weights, " if result["weights"]["ema"] else ""
        source = f"evaluation, {of}step {result['weights']['step']:,}, {result['data']['num_games']} held-out games"
        return float(found["value"]), found["low"], found["high"], source
    except (KeyError, TypeError, ValueError):
        return None


def _compared(card: Card, planned: Told | None, outcome: Outcome, record: Record) -> list[Compared]:
    """What the run's measured plan said, else the card as it was launched, beside what was measured."""
    estimate, rows = card.estimate, []
    step_s = median(float(row["step_ms"]) for row in record.pace) / 1000 if record.pace else None
    batch_s, load_s = (estimate.batch_s, estimate.load_s) if estimate else (None, 0.0)
    if planned is not None:
        batch_s = planned.step_s

    def total(steps: int | None) -> float | None:
        if planned is not None and steps is not None:
            return planned.part_s(steps)
        return None if steps is None or batch_s is None else steps * batch_s + load_s

    rows.append(Compared(what="a step", unit="s", estimated=batch_s, actual=step_s))
    if outcome.steps_per_epoch:
        epoch_s = None if step_s is None else step_s * outcome.steps_per_epoch
        estimated = None if batch_s is None else batch_s * outcome.steps_per_epoch
        rows.append(Compared(what="an epoch, without validations", unit="s", estimated=estimated, actual=epoch_s))
    is_done = outcome.state == "finished"
    if not is_done:
        what = "all up to where it ended"
        rows.append(Compared(what=what, unit="s", estimated=total(outcome.step), actual=outcome.spent_s))
    whole = total(outcome.num_steps)
    rows.append(Compared(what="the whole run", unit="s", estimated=whole, actual=outcome.spent_s if is_done else None))
    if outcome.usd_per_hour is not None:
        of, what = (whole, "cost") if is_done else (total(outcome.step), "cost, up to where it ended")
        cost = None if of is None else of / 3600 * outcome.usd_per_hour
        rows.append(Compared(what=what, unit="usd", estimated=cost, actual=outcome.usd))
    return rows


def _kept(run: RunFolder, record: Record) -> list[Kept]:
    """Best by held-out loss, of those that are still there, and newest."""
    totals = {point.step: point.value for point in record.series(TOTAL) if math.isfinite(point.value)}
    there = run.all_checkpoints()
    judged = [checkpoint for checkpoint in there if checkpoint.step in totals]
    out = []
    if judged:
        out.append(_one("best", min(judged, key=lambda checkpoint: totals[checkpoint.step]), totals))
    for checkpoint in reversed(there):
        out.append(_one("newest", checkpoint, totals))
        if out[-1].problem is None:
            break
    return out


def _one(what: str, checkpoint: CheckpointFolder, totals: Mapping[int, float]) -> Kept:
    problem, sha = checkpoint.problem(), None
    if problem is None:
        sha = checkpoint.meta["files"].get(WEIGHTS)
    return Kept(what=what, name=checkpoint.path.name, step=checkpoint.step, total=totals.get(checkpoint.step),
                sha256=sha, problem=problem)  # fmt: skip


# ---- deviations --------------------------------------------------------------------------------------------------


def _deviations(run: RunFolder, record: Record, told: Mapping[str, Any], lives: list[Life]) -> list[str]:
    """What was otherwise than the card as launched says, or than it should have been."""
    out = []
    if (told.get("code") or {}).get("dirty"):
        out.append(f"the code had changes that were not committed ({run.code_diff.name} in the run folder has them)")
    for row in record.events:
        at = f"from step {int(row.get('step') or 0):,} on"
        if row["event"] == "override":
            out.append(f"{row['key']}: {row['old']} -> {row['new']}, {at}")
        elif row["event"] == "moved":
            out.append(f"{row['what']}: {row['old']} -> {row['new']}, {at}")
        elif row["event"] == "rules":
            out.append(f"other kill rules {at}: {', '.join(row['rules']) or 'none'}")
        elif row["event"] == "damaged_checkpoint":
            out.append(f"a damaged checkpoint was left out: {row['problem']}")
    if len(lives) > 1:
        lost = sum(life.lost_steps for life in lives)
        out.append(f"it took {len(lives)} lives; {lost:,} step{'' if lost == 1 else 's'} had to be done again")
    for number, life in enumerate(lives, start=1):
        if life.gap_s is not None and life.gap_s > JUMP_S:
            out.append(f"nobody trained for {_minutes(life.gap_s)} before life {number}, by the clock on the wall")
    out += _clock_jumps(record.events, lives)
    failed = [row for row in record.events if row["event"] == "publish_failed"]
    if failed:
        out.append(f"publishing a checkpoint failed {len(failed)} times, last: {failed[-1].get('message', '')}")
    # Its own record, not the status: the mirror has the last word after the run's.
    rows = jsonl.tail(run.tracker)
    tracker = rows[-1] if rows else record.status.get("tracker") or {}
    if tracker.get("failures") or tracker.get("state") == "offline":
        out.append(
            f"the tracker has not got all of it, {tracker.get('failures') or 0} failures "
            f"({tracker.get('message') or tracker.get('state')}): the record on the disk is whole; "
            f"`worldmodel track sync {run.id}` sends it"
        )
    if any(row["event"] == "output_lost" for row in record.events):
        out.append("lines for the screen were lost: nobody could read them")
    return out


def _clock_jumps(events: list[Mapping[str, Any]], lives: list[Life]) -> list[str]:
    """Lives in which the clock on the wall went otherwise than the one that nobody sets."""
    stamps = [(str(row["at"]), str(row["event"])) for row in events if row.get("at")]
    back_s = min((_between(before, now) or 0.0 for (before, _), (now, _) in pairwise(stamps)), default=0.0)
    out = [f"the clock on the wall was set back by {-back_s:,.0f} s"] if back_s < -JUMP_S else []
    for number, life in enumerate(lives, start=1):
        stamped = _between(life.began_at, life.ended_at)
        if stamped is None or life.lived_s is None:
            continue
        # A process begins before its first event, so by its own clock it lived longer than its stamps say.
        ahead_s = stamped - life.lived_s
        if ahead_s > JUMP_S + JUMP_SHARE * life.lived_s:
            out.append(f"the clock on the wall jumped ahead by {ahead_s:,.0f} s in life {number}")
    return [f"{jump}: stamps are not to be trusted, durations are" for jump in out]


def changed_since(run: RunFolder, card: CardFile) -> list[str]:
    """Keys of the front matter that say something else than when the run was launched."""
    launched = launched_card(run)
    if launched is None:
        return []
    before, now = (one.model_dump(mode="json", exclude={"reviews"}) for one in (launched, card.card))
    return [key for key in now if now[key] != before.get(key)]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min"


def _device(told: Mapping[str, Any], order: Order | None) -> str:
    machine = told.get("machine") or {}
    kind = str(machine.get("gpu") or machine.get("device") or "")
    num = int(told.get("world_size") or 1)
    team = f"{num} x {kind}" if num > 1 else kind
    return ", ".join(part for part in (team, order.backend if order else "") if part)


def _day(stamp: str) -> Any:
    try:
        return datetime.fromisoformat(stamp).date()
    except ValueError:
        return None


def _json(path: Path) -> dict[str, Any]:
    """A file's object; empty if there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
