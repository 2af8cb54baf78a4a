"""The evaluation of a run: its newest weights, beside the naive baselines, on held-out games, written to its report.

Owns: what is put together, the settings, provenance, the files `report/result.json` and `report/index.html`.
Must not: define a metric or a verdict.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from worldmodel import models
from worldmodel.dataset.store import Dataset, Split
from worldmodel.errors import WrongUse
from worldmodel.evaluation import bootstrap, closed_loop, heldout, report, result, teacher_forced
from worldmodel.evaluation.heldout import HELD_OUT, Games, Tick
from worldmodel.evaluation.metrics import METRICS
from worldmodel.models import base
from worldmodel.models.base import NaiveModel, WorldModel, architectures, load_model, make_model
from worldmodel.runs import atomic
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.runs.provenance import code_version
from worldmodel.tracking.progress import progress

RESULT_FILE = "result.json"
REPORT_FILE = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to evaluate.

    length, burn_in: windows of `length` tokens, of which the first `burn_in` are not scored: those of the run.
    weights: of loss groups, those of the run. max_frames: how many held-out frames are scored one step ahead, a seeded
    choice; None for all. num_rollouts: start frames, spread over games. history: tokens before each (None: burn_in).
    """

    length: int
    burn_in: int
    weights: Mapping[str, float]
    max_frames: int | None = 200_000
    num_rollouts: int = 1_000
    horizon: int = closed_loop.HORIZON_FRAMES
    history: int | None = None
    seed: int = 0

    @property
    def max_windows(self) -> int | None:
        """Windows that hold `max_frames` scored frames."""
        return None if self.max_frames is None else -(-self.max_frames // (self.length - self.burn_in))


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
                | {key: row["models"][result.MODEL][key] for key in ("value", "low", "high")}
                | {"baselines": {name: e["value"] for name, e in row["models"].items() if name != result.MODEL}}
                for row in self.json["headlines"]
            ],
            "beats_baselines": self.beats_baselines,
            "warnings": self.json["warnings"],
            "canaries": self.json["canaries"],
            "result": str(self.folder / RESULT_FILE),
            "report": str(self.folder / REPORT_FILE),
        }


def baselines() -> dict[str, WorldModel]:
    """The naive models, one of each file in `models/` that is one."""
    kinds = {name: importlib.import_module(f"{models.__name__}.{name}").Model for name in architectures()}
    return {name: make_model({"arch": name}) for name, kind in kinds.items() if issubclass(kind, NaiveModel)}


def evaluate_run(
    run: RunFolder | Path,
    dataset: Dataset,
    settings: Settings,
    *,
    split: Split = HELD_OUT,
    allow_train: bool = False,
    ema: bool = False,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> Evaluation:
    """Evaluate the newest whole checkpoint of a run and write its report. `ema`: the running mean of its weights.

    Raises WrongUse for a folder that is no run, a run without a checkpoint, a dataset of another schema, a split that
    was trained on (unless `allow_train`), a split without games or with none that is long enough.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    checkpoint, problems = folder.newest_checkpoint()
    weights = checkpoint.weights_ema if ema else checkpoint.weights
    if ema and not weights.is_file():
        raise WrongUse(
            f"{folder.id} keeps no running mean of its weights", "training.ema in its experiment", "leave --ema out"
        )
    about = base.describe_weights(weights)
    if about["store_hash"] != dataset.manifest.store_hash:
        raise WrongUse(
            f"{dataset.path} is stored by schema {dataset.manifest.store_hash}",
            f"{about['store_hash']}, by which {folder.id} was trained",
            "ingest the replays again with this version, or train again",
        )
    model = load_model(weights, device=device)
    games = heldout.choose_games(dataset, split=split, allow_train=allow_train)
    started = time.monotonic()
    found = evaluate_model(model, dataset, games, settings, device=device, quiet=quiet)
    warnings = [f"a newer checkpoint was damaged: {problem}" for problem in problems]
    if split != HELD_OUT:
        warnings.insert(
            0, f"TRAINING GAMES: split {split!r} holds games that models learn from; no claim rests on this"
        )
    told = _trained_on(folder)
    same = None if told is None else told == dataset.content_hash
    json_value: dict[str, Any] = {
        "result_version": result.RESULT_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "run": folder.id,
        "weights": _weights(checkpoint, weights, about, model),
        "data": {
            "name": dataset.path.name,
            "content_hash": dataset.content_hash,
            "is_the_training_dataset": same,
            "split": split,
            "held_out": split == HELD_OUT,
            "num_games": len(games),
            "num_frames": int(games.num_frames.sum()),
        },
        "code": code_version().as_json(),
        "settings": asdict(settings)
        | {"weights": dict(settings.weights), "num_resamples": bootstrap.NUM_RESAMPLES, "level": bootstrap.LEVEL},
        "warnings": warnings,
        "canaries": result.canaries(
            found["teacher_forced"],
            found["closed_loop"],
            _earlier(folder.report / RESULT_FILE),
            sha256=checkpoint.meta["files"][weights.name],
        ),
        "metrics": [asdict(metric) for metric in METRICS],
        **found,
    }
    write(json_value, folder.report)
    return Evaluation(json_value, folder.report)


def evaluate_model(
    model: WorldModel,
    dataset: Dataset,
    games: Games,
    settings: Settings,
    *,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> dict[str, Any]:
    """Both halves of the evaluation and the headlines: the keys "headlines", "teacher_forced", "closed_loop"."""
    contestants = {result.MODEL: model} | {name: naive.to(device) for name, naive in baselines().items()}
    history = settings.burn_in if settings.history is None else settings.history
    starts = heldout.starts(
        games, num_starts=settings.num_rollouts, history=history, horizon=settings.horizon, seed=settings.seed
    )
    windows = heldout.windows(games.num_frames, length=settings.length, burn_in=settings.burn_in)
    if not len(windows):
        raise WrongUse(
            f"the longest of {len(games)} games has {int(games.num_frames.max())} frames",
            f"at least {settings.length + 1}",
            "evaluate on longer games",
        )
    num_windows = len(windows) if settings.max_windows is None else min(len(windows), settings.max_windows)
    with progress("one step ahead", num_windows * len(contestants), unit="windows") as bar:
        step = teacher_forced.evaluate(
            contestants,
            dataset,
            games,
            length=settings.length,
            burn_in=settings.burn_in,
            weights=settings.weights,
            max_windows=settings.max_windows,
            seed=settings.seed,
            device=device,
            tick=_tick(bar.advance, quiet),
        )
    loop = None
    if len(starts):
        with progress("rollouts", len(starts) * len(contestants), unit="rollouts") as bar:
            loop = closed_loop.evaluate(
                contestants,
                dataset,
                games,
                starts,
                history=history,
                horizon=settings.horizon,
                device=device,
                tick=_tick(bar.advance, quiet),
            )
    step_json = result.one_step(step, games, seed=settings.seed, comparable_losses=model.rules.kind == "residual")
    loop_json = None if loop is None else result.rollouts(loop, games, seed=settings.seed)
    return {
        "headlines": result.headlines(step_json, loop_json),
        "teacher_forced": step_json,
        "closed_loop": loop_json,
    }


def write(json_value: Mapping[str, Any], folder: Path) -> None:
    """Write result.json and the page to a run's report folder, each whole or not at all."""
    folder.mkdir(exist_ok=True)
    atomic.write_json(folder / RESULT_FILE, json_value)
    atomic.write_text(folder / REPORT_FILE, report.render(json_value))


def _tick(advance: Any, quiet: bool) -> Tick | None:
    return None if quiet else lambda amount: advance(amount)


def _weights(
    checkpoint: CheckpointFolder, weights: Path, about: Mapping[str, Any], model: WorldModel
) -> dict[str, Any]:
    return {
        "sha256": checkpoint.meta["files"][weights.name],
        "step": checkpoint.step,
        "ema": weights == checkpoint.weights_ema,
        "arch": model.config.arch,
        "heads": model.config.heads,
        "num_parameters": model.num_parameters(),
        **{key: about[key] for key in ("codec_hash", "store_hash", "code_version")},
    }


def _trained_on(folder: RunFolder) -> str | None:
    """Content hash of the dataset that the run was trained on, if it says so."""
    dataset = json.loads(folder.provenance.read_text(encoding="utf-8")).get("dataset") or {}
    told = dataset.get("content_hash")
    return None if told is None else str(told)


def _earlier(path: Path) -> dict[str, Any] | None:
    """The result of an earlier evaluation, to notice numbers that did not move with the weights."""
    if not path.is_file():
        return None
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
