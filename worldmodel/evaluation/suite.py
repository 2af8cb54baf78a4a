"""The evaluation of weights, beside the naive baselines, on held-out games, written to a report.

Owns: provenance, what makes two results comparable, the files of `report/`. Must not: choose frames, define a metric.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation import bootstrap, heldout, report, result, sums
from worldmodel.evaluation.closed_loop import CURVE_METRICS
from worldmodel.evaluation.heldout import HELD_OUT, NOT_LEARNED, Judged
from worldmodel.evaluation.metrics import METRICS
from worldmodel.evaluation.protocol import Found, Settings, evaluate_model
from worldmodel.evaluation.protocol import baselines as baselines
from worldmodel.evaluation.result_file import RESULT_FILE, RESULT_VERSION
from worldmodel.evaluation.subject import Subject
from worldmodel.evaluation.sums import MODEL
from worldmodel.models import base
from worldmodel.models.base import WorldModel, load_model
from worldmodel.runs import atomic
from worldmodel.runs.provenance import code_version

REPORT_FILE = "index.html"
SUMS_FILE = "sums.arrow"
FORKS_FILE = "forks.arrow"
"""Sums per game of every number, and per counterfactual: what `compare` pairs."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation. `json`: the content of result.json; `folder`: where it was written."""

    json: dict[str, Any]
    folder: Path

    @property
    def beats_baselines(self) -> bool:
        """Whether every headline number beats every baseline with its whole interval."""
        return all(row["verdict"] == "beats" for row in self.json["headlines"])

    @property
    def tier(self) -> dict[str, Any] | None:
        """Which tier is reached, and which numbers keep the model from the next."""
        found = self.json["tiers"]
        if found is None:
            return None
        rows = [] if found["next"] is None else [row for row in found["limits"] if not row["kept"][found["next"]]]
        return {"reached": found["reached"], "missed": [f"{row['curve']}@{row['frames']}" for row in rows]}

    @property
    def summary(self) -> dict[str, Any]:
        """The headlines in a few lines, and where the rest is: for `--json` and for a table on a terminal."""
        return {
            "run": self.json["run"],
            "weights_sha256": self.json["weights"]["sha256"],
            "content_hash": self.json["data"]["content_hash"],
            "split": self.json["data"]["split"],
            "held_out": self.json["data"]["held_out"],
            "num_games": self.json["data"]["num_games"],
            "headlines": [
                {key: row[key] for key in ("name", "unit", "better", "verdict")}
                | {key: row["models"][MODEL][key] for key in ("value", "low", "high")}
                | {"baselines": {name: e["value"] for name, e in row["models"].items() if name != MODEL}}
                for row in self.json["headlines"]
            ],
            "beats_baselines": self.beats_baselines,
            "tier": self.tier,
            "warnings": self.json["warnings"],
            "canaries": self.json["canaries"],
            "result": str(self.folder / RESULT_FILE),
            "report": str(self.folder / REPORT_FILE),
        }


def evaluate(
    subject: Subject,
    dataset: Dataset,
    settings: Settings,
    *,
    split: Judged = HELD_OUT,
    allow_train: bool = False,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> Evaluation:
    """Evaluate weights and write their report.

    Raises WrongUse for a dataset of another schema, for games as `heldout.choose_games` does, and if none is long
    enough.
    """
    about = base.describe_weights(subject.weights)
    if about["store_hash"] != dataset.manifest.store_hash:
        raise WrongUse(
            f"{dataset.path} is stored by schema {dataset.manifest.store_hash}",
            f"{about['store_hash']}, by which {subject.name} was trained",
            "ingest the replays again with this version, or train again",
        )
    model = load_model(subject.weights, device=device)
    games = heldout.choose_games(dataset, split=split, allow_train=allow_train, learned=subject.learned)
    started = time.monotonic()
    found = evaluate_model(model, dataset, games, settings, device=device, quiet=quiet)
    warnings = list(subject.warnings)
    if split not in NOT_LEARNED:
        warnings.insert(
            0, f"TRAINING GAMES: split {split!r} holds games that models learn from; no claim rests on this"
        )
    same = None if subject.trained_on is None else subject.trained_on == dataset.content_hash
    json_value: dict[str, Any] = {
        "result_version": RESULT_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "run": subject.name,
        "weights": _weights(subject, about, model),
        "data": {
            "name": dataset.path.name,
            "content_hash": dataset.content_hash,
            "is_the_training_dataset": same,
            "split": split,
            "held_out": split in NOT_LEARNED,
            "num_games": len(games),
            "num_frames": int(games.num_frames.sum()),
        },
        "code": code_version().as_json(),
        "settings": asdict(settings)
        | {"weights": dict(settings.weights), "num_resamples": bootstrap.NUM_RESAMPLES, "level": bootstrap.LEVEL},
        "warnings": warnings,
        "canaries": result.canaries(
            found.json["teacher_forced"],
            found.json["closed_loop"],
            _earlier(subject.report / RESULT_FILE),
            sha256=subject.sha256,
        ),
        "metrics": [asdict(metric) for metric in METRICS],
        "curves": [asdict(metric) for metric in CURVE_METRICS],
        **found.json,
    }
    write(json_value, found, subject.report)
    return Evaluation(json_value, subject.report)


def write(json_value: dict[str, Any], found: Found, folder: Path) -> None:
    """Write sums, result.json and the page to a report folder, each whole or not at all.

    The result names its sums by their hashes (key "files"), so that files of two evaluations are never taken for one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledgers = {SUMS_FILE: found.ledger} | ({} if found.forks is None else {FORKS_FILE: found.forks})
    json_value["files"] = {name: sums.write(ledger, folder / name) for name, ledger in ledgers.items()}
    atomic.write_json(folder / RESULT_FILE, json_value)
    atomic.write_text(folder / REPORT_FILE, report.render(json_value))


def _weights(subject: Subject, about: Mapping[str, Any], model: WorldModel) -> dict[str, Any]:
    return {
        "sha256": subject.sha256,
        "step": subject.step,
        "ema": subject.is_mean,
        "arch": model.config.arch,
        "heads": model.config.heads,
        "num_parameters": model.num_parameters(),
        **{key: about[key] for key in ("codec_hash", "store_hash", "code_version")},
    }


def _earlier(path: Path) -> dict[str, Any] | None:
    """The result of an earlier evaluation, to notice numbers that did not move with the weights."""
    if not path.is_file():
        return None
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
