"""Kill rules inside the run: fed with the rows that the book writes, judged when rows are written.

Owns: which rows a rule is shown. Must not: stop anything (the loop does), or know what a rule means (`runs.rules`).

Only the lead has a record. Nothing of it is kept on disk besides the rows themselves: a resumed run reads them again.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from worldmodel.errors import WrongUse
from worldmodel.evaluation.metrics import METRICS
from worldmodel.runs.rulebook import OUTSIDE, Rulebook, RuleSpec, check_metrics
from worldmodel.runs.rules import VALIDATED, Record, Verdict
from worldmodel.training.plan import Plan, Say
from worldmodel.training.validation import PREFIX

_PACE = ("step", "elapsed_s", "memory_gb", "eta_low_s")
_ALWAYS = ("kind", "step", "epoch", "weights")


class Guard:
    """The rules of one run, and what they are judged by."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.record = Record()
        self.verdicts: list[Verdict] = []
        self._wanted = {str(rule.arguments["metric"]) for rule in rulebook.kill if "metric" in rule.arguments}

    def show_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of metrics.jsonl. Of long runs only what the rules ask for is kept."""
        for row in rows:
            bad = row.get("non_finite") or [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)]
            kept = {key: row[key] for key in (*_ALWAYS, *self._wanted) if key in row}
            self.record.metrics.append(kept | ({"non_finite": list(bad)} if bad else {}))

    def show_pace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of pace.jsonl."""
        self.record.pace += [{key: row[key] for key in _PACE if key in row} for row in rows]

    def show_event(self, row: Mapping[str, Any]) -> None:
        """A row of events.jsonl."""
        self.record.events.append(row)

    def judge(self, *, spent_s: float) -> int:
        """The place (from 1) of the first rule that fires now; 0 for none. Those of the watcher are left out."""
        self.record.status = {"spent_s": spent_s}
        self.verdicts = self.rulebook.judge(self.record)
        for place, (rule, verdict) in enumerate(zip(self.rulebook.kill, self.verdicts, strict=True), start=1):
            if verdict.state == "fires" and rule.rule not in OUTSIDE:
                return place
        return 0

    def shown(self) -> list[dict[str, Any]]:
        """The verdicts for status.json."""
        return [
            {"label": rule.label, **verdict.as_json()}
            for rule, verdict in zip(self.rulebook.kill, self.verdicts, strict=False)
        ]

    def find(self, name: str) -> RuleSpec | None:
        """The first rule of a name."""
        return self.rulebook.find(name)


def check_rules(rulebook: Rulebook, plan: Plan, train_names: Iterable[str], say: Say) -> None:
    """Say when each rule is judged. Raises WrongUse for one that would wait for ever."""
    check_metrics(rulebook.kill, [*train_names, *(PREFIX + metric.name for metric in METRICS)])
    for rule in rulebook.kill:
        metric = str(rule.arguments.get("metric", ""))
        note = " (by the outside watcher only)" if rule.rule in OUTSIDE else ""
        if metric.startswith(VALIDATED):
            if plan.validation is None:
                raise WrongUse(
                    f"rule {rule.label} while training.val_windows is 0",
                    "rules over what is measured",
                    "leave the rule out, or validate",
                )
            every = plan.experiment.training.val_every_fraction
            num = 2 if rule.rule == "not_decreasing" else 1
            if num * every > float(rule.arguments["after_epochs"]):
                note = f" (not before epoch {num * every:g}: validations come every {every:g})"
        if rule.arguments.get("weights") == "ema" and plan.experiment.training.ema is None:
            raise WrongUse(
                f"rule {rule.label} without training.ema",
                "a run that keeps the mean",
                "set training.ema, or weights: raw",
            )
        say(f"kill rule: {rule.label}{note}")


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that there was no room left to write."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on the device or on the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
