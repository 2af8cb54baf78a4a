"""The door of training: from paths and words to a run folder, fresh or resumed, and its training.

Owns: how a run is named, begun, found again; device and threads. Must not: know what happens in a step.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.errors import WrongUse
from worldmodel.runs import atomic, strict
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.provenance import code_version, collect
from worldmodel.schema import LAYOUT
from worldmodel.tracking.jsonl import JsonlWriter
from worldmodel.training.config import Experiment, differences, find_experiment, load_experiment
from worldmodel.training.loop import TrainResult, train
from worldmodel.training.plan import Say, make_plan

RUNS = Path("runs")


def say_on_stderr(text: str) -> None:
    """One line for people; results go to standard output."""
    print(text, file=sys.stderr, flush=True)


def run_training(
    config: str | Path,
    data: str | Path,
    *,
    overrides: Sequence[str] = (),
    epochs: int | None = None,
    runs: Path = RUNS,
    name: str | None = None,
    device: str | None = None,
    say: Say = say_on_stderr,
) -> TrainResult:
    """Train an experiment (a file, or the name of one that comes with the package) on a dataset, in a new run folder.

    overrides: "training.lr=3e-4" and the like. epochs: a total, over the file's. device: "cpu", "cuda", "cuda:1";
    default: CUDA if there is one. Raises WrongUse before anything is written.
    """
    path = find_experiment(config)
    experiment = load_experiment(path, overrides=overrides).with_epochs(epochs)
    dataset = open_dataset(data)
    target = choose_device(device)
    make_plan(experiment, dataset, target)  # what cannot be trained is said before there is a folder
    run = RunFolder.create(runs, experiment=path.stem, name=name)
    code = code_version()
    atomic.write_text(run.config, strict.dump(experiment))
    if code.diff:
        atomic.write_text(run.code_diff, code.diff)
    told = collect(
        code=code,
        dataset={
            "path": str(Path(data).resolve()),
            "content_hash": dataset.content_hash,
            "store_hash": LAYOUT.store_hash,
            "codec_hash": LAYOUT.codec_hash,
            "num_games": dataset.num_games,
            "num_frames": dataset.num_frames,
        },
        device=str(target),
        gpu=torch.cuda.get_device_name(target) if target.type == "cuda" else None,
        experiment={"file": str(path), "overrides": list(overrides), "epochs": epochs},
        experiment_hash=strict.digest(experiment),
    )
    atomic.write_json(run.provenance, told)
    say(f"run {run.path}")
    _set_threads(experiment)
    return train(experiment, dataset, run, device=target, say=say)


def resume_training(
    run: str | Path,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str | None = None,
    say: Say = say_on_stderr,
) -> TrainResult:
    """Go on with a run from its newest whole checkpoint, with the experiment that it was begun with.

    epochs: a new total; recorded in the run. data: where the dataset lies now, if it has moved. Raises WrongUse.
    """
    folder = RunFolder.open(Path(run))
    begun_with = load_experiment(folder.config)
    experiment = begun_with.with_epochs(epochs)
    checkpoint, problems = folder.newest_checkpoint()
    told = json.loads(folder.provenance.read_text(encoding="utf-8"))["dataset"]
    dataset = open_dataset(data or told["path"])
    _same_data(dataset, told, folder)
    target = choose_device(device)
    plan = make_plan(experiment, dataset, target)
    if checkpoint.step > plan.num_steps:
        raise WrongUse(
            f"{folder.id} is at step {checkpoint.step}, {checkpoint.step / plan.steps_per_epoch:g} epochs",
            f"a total of at least that many epochs, not {experiment.training.epochs}",
            "epochs are totals: give a greater number",
        )
    with JsonlWriter(folder.events, durable=True) as events:
        for problem in problems:
            say(f"DAMAGED checkpoint left out: {problem}")
            events.write({"event": "damaged_checkpoint", "problem": problem})
        for key, (old, new) in differences(begun_with, experiment).items():
            say(f"{key}: {old} -> {new} (recorded)")
            events.write({"event": "override", "key": key, "old": old, "new": new})
    if experiment != begun_with:
        atomic.write_text(folder.config, strict.dump(experiment))
    say(f"run {folder.path}")
    _set_threads(experiment)
    return train(experiment, dataset, folder, device=target, resume_from=checkpoint, say=say)


def choose_device(name: str | None) -> torch.device:
    """A device by name, or the best there is. Raises WrongUse."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise WrongUse(f"device {name!r}", "cpu, cuda or cuda:N", "leave it out to take the best there is") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = f"{torch.cuda.device_count()} CUDA devices"
        raise WrongUse(f"device {name!r}, with {have} here", "a device of this machine", "leave it out, or say cpu")
    return device


def _same_data(dataset: Dataset, told: dict[str, str], folder: RunFolder) -> None:
    if dataset.content_hash != told["content_hash"]:
        raise WrongUse(
            f"{dataset.path} has content {dataset.content_hash[:16]}",
            f"{told['content_hash'][:16]}, which {folder.id} was begun on",
            "give the dataset as it was, or begin a new run",
        )


def _set_threads(experiment: Experiment) -> None:
    if experiment.training.threads is not None:
        torch.set_num_threads(experiment.training.threads)
