"""Runs: `/api/runs`, `/api/runs/ID`, `/api/runs/ID/metrics`, `/api/compare`.

Owns: what a page is told of runs. Must not: judge a run or compare two by itself (`runs.rules`, `evaluation.compare`).

    GET /api/runs                 {folder, runs: [row]} (see `sights`), the last changed first
    GET /api/runs/ID              {row, config, provenance, health, rules, checkpoints, events, card, outcome, result};
                                   what is not there is null, what cannot be read is named in `problems`
    GET /api/runs/ID/metrics      ?names=A,B &since=CURSOR &points=N: {cursor, whole, steps_per_epoch, names, constants,
                                   series: {name: {step, value[, low, high]}}} (see `curves`)
    GET /api/compare              ?a=ID&b=ID: the comparison as `worldmodel compare` writes it: b minus a
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from worldmodel.launch import outcome
from worldmodel.launch.closeout import is_current, read_closed
from worldmodel.launch.record import LiveRecord
from worldmodel.runs.rulebook import read_rules
from worldmodel.tracking import jsonl
from worldmodel.web.answers import Refused, answer, encode, whole
from worldmodel.web.curves import Curves
from worldmodel.web.places import Glance, Runs, text_of
from worldmodel.web.sights import BROKEN, Sights

MAX_NAMES = 64
MAX_POINTS = 4000
NUM_POINTS = 600
"""Of a curve, if the page does not say: more than a screen has columns for."""
NUM_EVENTS = 60
FIRST_SHOWN = 6
"""Runs whose curves the page of all runs asks for by itself, or one more."""
MAX_RULED_BYTES = 64 << 20
"""Of rows. Larger records are not judged anew for a page; the run's own last verdicts are shown."""
OUTCOME_EVERY_S = 20.0
"""Of a run that goes on: it reads checkpoints, which may be large."""


class RunsApi:
    """The addresses under a folder of runs."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.sights = Sights(runs)
        self.curves = Curves()
        # Of the last pair asked for: whoever looks at two reads them more than once.
        self._compared: dict[tuple[Any, ...], bytes] = {}
        self._outcomes: dict[str, tuple[float, dict[str, int], dict[str, Any]]] = {}

    def all(self, request: Request) -> Response:
        """/api/runs"""
        return answer(request, encode({"folder": self.runs.root.name, "runs": self.sights.rows()}))

    def warm(self) -> None:
        """Read what the first page will ask for."""
        shown = [glance for glance in self.runs.all() if not glance.problem][:FIRST_SHOWN]
        self.sights.rows()
        for glance in shown:
            self.curves.whole(glance.run, (), NUM_POINTS)

    def one(self, request: Request) -> Response:
        """/api/runs/ID"""
        glance = self.runs.find(request.path_params["id"])
        return answer(request, encode(self._told(glance)))

    def metrics(self, request: Request) -> Response:
        """/api/runs/ID/metrics"""
        glance = self._readable(request.path_params["id"])
        names = [name for name in request.query_params.get("names", "").split(",") if name][:MAX_NAMES]
        num_points = whole(request, "points", low=2, high=MAX_POINTS, default=NUM_POINTS)
        cursor = request.query_params.get("since", "0-0-0")
        if cursor == "0-0-0":
            found = self.curves.whole(glance.run, names, num_points)
        else:
            found = self.curves.since(glance.run, names, cursor, num_points)
        return answer(request, encode(found))

    def compare(self, request: Request) -> Response:
        """/api/compare"""
        glances = [self._readable(request.query_params.get(side, "")) for side in ("a", "b")]
        reports = [glance.run.report for glance in glances]
        for report in reports:
            if report.is_symlink() or not report.is_dir() or any(file.is_symlink() for file in report.iterdir()):
                run = report.parent.name
                raise Refused(409, f"{run} has no evaluation yet: worldmodel eval {run}")
        stamps = [(file.name, file.stat().st_mtime_ns) for report in reports for file in sorted(report.iterdir())]
        key = (*(glance.run.id for glance in glances), *stamps)
        if key not in self._compared:
            from worldmodel.evaluation.compare import compare, read_side

            a, b = (read_side(report) for report in reports)
            self._compared = {key: encode(compare(a, b))}
        return answer(request, self._compared[key])

    def _readable(self, name: str) -> Glance:
        glance = self.runs.find(name)
        if glance.problem:
            raise Refused(409, f"{glance.run.id}: {glance.problem}")
        return glance

    # ---- one run -----------------------------------------------------------------------------------------------

    def _told(self, glance: Glance) -> dict[str, Any]:
        run, problems = glance.run, list[str]()
        told: dict[str, Any] = {"row": self.sights.row(glance), "problems": problems}
        parts: dict[str, Callable[[Glance], Any]] = {
            "config": lambda one: text_of(one.run.config, self.runs.root),
            "provenance": self._provenance,
            "health": _health,
            "rules": _rules,
            "checkpoints": self._checkpoints,
            "events": lambda one: jsonl.tail(one.run.events)[-NUM_EVENTS:],
            "card": lambda one: text_of(one.run.card, self.runs.root),
            "outcome": self._outcome,
            "result": self._result,
        }
        for name, part in parts.items():
            told[name] = None
            if glance.problem:
                continue
            try:
                told[name] = part(glance)
            except BROKEN as error:
                problems.append(f"{name}: {' '.join(str(error).split())[:200]}".replace(str(run.path), run.id))
        return told

    def _provenance(self, glance: Glance) -> Any:
        told = _json(text_of(glance.run.provenance, self.runs.root))
        if isinstance(told, dict):
            told.pop("argv", None)  # paths of the machine, of no use to a page
        return told

    def _checkpoints(self, glance: Glance) -> list[dict[str, Any]]:
        reasons = {
            row.get("name"): row for row in jsonl.tail(glance.run.events, 1 << 20) if row.get("event") == "checkpoint"
        }
        rows = []
        for checkpoint in glance.run.all_checkpoints():
            written = reasons.get(checkpoint.path.name, {})
            files = [file for file in checkpoint.path.iterdir() if not file.is_symlink()]
            rows.append(
                {
                    "step": checkpoint.step,
                    "name": checkpoint.path.name,
                    "num_bytes": sum(file.stat().st_size for file in files),
                    "is_complete": (checkpoint.path / "meta.json").is_file(),
                    "at": written.get("at"),
                    "reason": written.get("reason"),
                    "seconds": written.get("seconds"),
                }
            )
        return rows

    def _result(self, glance: Glance) -> Any:
        """The headlines of its evaluation, with intervals."""
        told = _json(text_of(glance.run.report / "result.json", self.runs.root, max_bytes=32 << 20))
        if not isinstance(told, dict):
            return None
        return {key: told.get(key) for key in ("result_version", "headlines", "weights", "data")}

    def _outcome(self, glance: Glance) -> dict[str, Any] | None:
        """What a run that a card launched has come to so far, by the card's own measure (`launch.outcome`)."""
        run = glance.run
        if text_of(run.card, self.runs.root) is None:
            return None
        if (closed := read_closed(run)) is not None and is_current(run):
            return closed.model_dump(mode="json")
        at, sizes, found = self._outcomes.get(run.id, (0.0, {}, {}))
        now = time.monotonic()
        if not found or (sizes != outcome.sizes(run) and now - at > OUTCOME_EVERY_S):
            found = outcome.outcome_of(run).model_dump(mode="json")
            self._outcomes[run.id] = (now, outcome.sizes(run), found)
        return found


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _health(glance: Glance) -> dict[str, Any]:
    """Speed, memory and the mirror, as last told."""
    status = _json(text_of(glance.run.status, glance.run.path.parent)) or {}
    pace = jsonl.tail(glance.run.pace, 65_536)
    rows = [row for row in pace if isinstance(row, dict)]
    keys = ("phase", "reason", "heartbeat", "tracker", "last_checkpoint", "eta_s", "eta_low_s", "eta_high_s", "spent_s")
    return {key: status.get(key) for key in keys} | {"pace": rows[-1] if rows else None}


def _rules(glance: Glance) -> list[dict[str, Any]]:
    """Every kill rule and how near it is: {label, state, value, threshold, nearness, reason, at_step}."""
    run = glance.run
    if not run.rules.is_file():
        return []
    if sum(path.stat().st_size for path in (run.metrics, run.pace, run.events) if path.is_file()) > MAX_RULED_BYTES:
        status = _json(text_of(run.status, run.path.parent)) or {}
        return list(status.get("rules") or ())
    book = read_rules(run.rules)
    verdicts = book.judge(LiveRecord(run).look())
    return [{"label": rule.label} | verdict.as_json() for rule, verdict in zip(book.kill, verdicts, strict=True)]
