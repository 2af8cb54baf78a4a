"""The files of rows of an open run: metrics.jsonl, pace.jsonl, events.jsonl.

Owns: what of them stands when a run goes on from an earlier step. Must not: know when a row is due.
"""

from __future__ import annotations

import contextlib
from typing import Any

from worldmodel.runs.folder import RunFolder
from worldmodel.tracking import jsonl
from worldmodel.tracking.jsonl import JsonlWriter
from worldmodel.training.validation import PREFIX

Values = dict[str, float | None]
"""Metrics of one validation, by name."""


class Rows:
    """The rows of a run, cut to the step that it goes on from.

    num_cut: rows of metrics that went. lost_s: time that the rows of pace which went had taken. earlier, earlier_pace:
    the rows that stay. naive, values, ema_values: of those, each naive model's metrics and the last validation's, of
    the weights and of their running mean.
    """

    def __init__(self, run: RunFolder, step: int) -> None:
        self.num_cut = jsonl.cut_from(run.metrics, lambda row: row["step"] > step)
        self.earlier_pace = [row for row in jsonl.read(run.pace).rows if row["step"] <= step]
        self.lost_s = sum(float(row["elapsed_s"]) for row in jsonl.read(run.pace).rows if row["step"] > step)
        jsonl.cut_from(run.pace, lambda row: row["step"] > step)
        self.earlier = earlier = jsonl.read(run.metrics).rows
        self.naive = {row["model"]: _metrics_of(row) for row in earlier if row["kind"] == "naive"}
        last = {row.get("weights", "raw"): _metrics_of(row) for row in earlier if row["kind"] == "val"}
        self.values, self.ema_values = last.get("raw", {}), last.get("ema", {})
        self.metrics = JsonlWriter(run.metrics)
        self.pace = JsonlWriter(run.pace)
        self.events = JsonlWriter(run.events, durable=True)

    def close(self) -> None:
        with contextlib.ExitStack() as all_of:
            for file in (self.events, self.pace, self.metrics):
                all_of.callback(file.close)


def _metrics_of(row: dict[str, Any]) -> Values:
    return {name: value for name, value in row.items() if name.startswith(PREFIX)}
