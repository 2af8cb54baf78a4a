"""The door of training: from paths and words to a run folder, fresh or resumed, and its training.

Owns: how a run is named, begun, found again; threads. Must not: know what happens in a step.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout
from worldmodel.runs import atomic, strict
from worldmodel.runs.folder import CheckpointFolder, RunFolder
from worldmodel.runs.lock import hold
from worldmodel.runs.provenance import code_version, collect
from worldmodel.runs.rulebook import Rulebook, read_rules
from worldmodel.schema import LAYOUT
from worldmodel.tracking.jsonl import JsonlWriter
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.book import NAMES
from worldmodel.training.checkpoint import record_experiment, same_experiment
from worldmodel.training.config import Experiment, differences, find_experiment, load_experiment
from worldmodel.training.device import choose_device
from worldmodel.training.guard import check_rules
from worldmodel.training.loop import TrainResult, train
from worldmodel.training.plan import Say, make_plan
from worldmodel.training.publish import Publish
from worldmodel.training.stop import Deadline
from worldmodel.training.team import Team, join_team
from worldmodel.training.tracker import AS_BEFORE, Track, mirrored
from worldmodel.training.voice import Voice

RUNS = Path("runs")
FIXED = ("model.", "data.", "training.batch_size", "training.seed", "training.ema")
"""Keys that weights, order of samples and counts of steps on disk depend on: a resumed run keeps them."""


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
    time_limit_s: float | None = None,
    rules: Path | None = None,
    into: Path | None = None,
    prove: bool = False,
    track: Track = AS_BEFORE,
    publish: Publish | None = None,
    card: str | None = None,
    say: Say = say_on_stderr,
) -> TrainResult:
    """Train an experiment (a file, or the name of one that comes with the package) on a dataset, in a new run folder.

    overrides: "training.lr=3e-4" and the like. epochs: a total, over the file's. device: "cpu", "cuda", "cuda:1";
    default: CUDA if there is one. time_limit_s: seconds from now after which this process will be gone; it saves and
    leaves in time. rules: a file of kill rules, which is kept in the run. into: the folder that a launcher made for it.
    prove: that validation and checkpoints work, before the first step; with `into` always. track: whether a shared
    tracker mirrors it. publish: makes a checkpoint durable where it outlives this machine. card: hash of the run card
    that it was launched by. Under `torchrun` every process calls this alike. Raises WrongUse before anything is
    written.
    """
    deadline, say = Deadline(time_limit_s), Voice(say)
    path = find_experiment(config)
    experiment = load_experiment(path, overrides=overrides).with_epochs(epochs)
    rulebook = None if rules is None else read_rules(rules)
    dataset = open_dataset(data)
    target = choose_device(device)
    with join_team(target) as team:
        plan = make_plan(experiment, dataset, target, team)  # what cannot be trained is said before there is a folder
        if rulebook is not None:
            check_rules(rulebook, plan, (*NAMES, "lr"), _silence)
        folder = ""
        if team.is_lead:
            about = {"file": str(path), "overrides": list(overrides), "epochs": epochs, "card": card}
            run = RunFolder.take(into) if into is not None else RunFolder.create(runs, experiment=path.stem, name=name)
            with run.removed_if_no_room():
                if rulebook is not None:
                    atomic.write_text(run.rules, strict.dump(rulebook))
                _write_origin(run, experiment, dataset, Path(data), target, about, team)
            folder = str(run.path)
        run = RunFolder(Path(team.told(folder)))
        with hold(run, say=say) if team.is_lead else nullcontext():
            return _train(
                experiment,
                dataset,
                run,
                target,
                team,
                deadline,
                say,
                rules=rulebook,
                prove=prove or into is not None,
                track=track,
                publish=publish,
            )


def resume_training(
    run: str | Path,
    *,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    epochs: int | None = None,
    device: str | None = None,
    time_limit_s: float | None = None,
    rules: Path | None = None,
    track: Track = AS_BEFORE,
    publish: Publish | None = None,
    say: Say = say_on_stderr,
) -> TrainResult:
    """Go on with a run from its newest whole checkpoint, with the experiment that it was begun with.

    epochs: a new total; overrides: other changes. Both are recorded in the run; what the state on disk depends on
    cannot be changed. data: where the dataset lies now, if it has moved. rules: another file of kill rules than the
    run's own, to be its own from now on. track: another policy of the tracker than before. publish: see `run_training`.
    Raises WrongUse.
    """
    deadline, say = Deadline(time_limit_s), Voice(say)
    folder = RunFolder.open(Path(run))
    told = json.loads(folder.provenance.read_text(encoding="utf-8"))
    rulebook = read_rules(rules or folder.rules) if rules is not None or folder.rules.exists() else None
    experiment = load_experiment(folder.config, overrides=overrides).with_epochs(epochs)
    overridden = [override.partition("=")[0] for override in overrides]
    if epochs is not None:
        overridden.append("training.epochs")
    begun_with = same_experiment(folder, told, overridden=overridden)
    changes = differences(begun_with, experiment)
    for key in changes:
        if key.startswith(FIXED):
            raise WrongUse(
                f"{key} changed under {folder.id}",
                "a change that leaves model, data and order alone",
                "begin a new run",
            )
    dataset = open_dataset(data or told["dataset"]["path"])
    _same_data(dataset, told["dataset"], folder)
    target = choose_device(device)
    with join_team(target) as team, hold(folder, say=say) if team.is_lead else nullcontext():
        checkpoint, problems = folder.newest_checkpoint()
        plan = make_plan(experiment, dataset, target, team)
        if checkpoint.step > plan.num_steps:
            raise WrongUse(
                f"{folder.id} is at step {checkpoint.step}, {checkpoint.step / plan.steps_per_epoch:g} epochs",
                f"a total of at least that many epochs, not {experiment.training.epochs}",
                "epochs are totals: give a greater number",
            )
        if team.is_lead:
            now = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "step": checkpoint.step}
            with JsonlWriter(folder.events, durable=True) as events:
                for problem in problems:
                    say(f"DAMAGED checkpoint left out: {problem}")
                    events.write({"event": "damaged_checkpoint", **now, "problem": problem})
                for what, old, new in _moved(told, dataset, target, team):
                    say(f"{what}: {old} -> {new} (recorded)")
                    events.write({"event": "moved", **now, "what": what, "old": old, "new": new})
                for key, (old, new) in changes.items():
                    say(f"{key}: {old} -> {new} (recorded)")
                    events.write({"event": "override", **now, "key": key, "old": old, "new": new})
                if rules is not None and rulebook is not None:
                    labels = [rule.label for rule in rulebook.kill]
                    events.write({"event": "rules", **now, "rules": labels})
                    atomic.write_text(folder.rules, strict.dump(rulebook))
            if changes:
                record_experiment(folder, experiment)
        return _train(
            experiment,
            dataset,
            folder,
            target,
            team,
            deadline,
            say,
            resume_from=checkpoint,
            rules=rulebook,
            track=track,
            publish=publish,
        )


def _train(
    experiment: Experiment,
    dataset: Dataset,
    run: RunFolder,
    device: torch.device,
    team: Team,
    deadline: Deadline,
    say: Say,
    *,
    resume_from: CheckpointFolder | None = None,
    rules: Rulebook | None = None,
    prove: bool = False,
    track: Track,
    publish: Publish | None,
) -> TrainResult:
    if not team.is_lead:
        say = _silence
    say(f"run {run.path}")
    if device.type == "cpu":
        settle_allocator()
    if experiment.training.threads is not None:
        torch.set_num_threads(experiment.training.threads)
    with mirrored(run, track, say=say) if team.is_lead else nullcontext() as mirror:
        return train(
            experiment,
            dataset,
            run,
            device=device,
            resume_from=resume_from,
            say=say,
            team=team,
            deadline=deadline,
            rules=rules,
            prove=prove,
            mirror=mirror,
            publish=publish,
        )


def _write_origin(
    run: RunFolder,
    experiment: Experiment,
    dataset: Dataset,
    data: Path,
    device: torch.device,
    about: dict[str, Any],
    team: Team,
) -> None:
    """What a run was made from, beside it: the resolved experiment, code, data, machine."""
    code = code_version()
    atomic.write_text(run.config, strict.dump(experiment))
    if code.diff:
        atomic.write_text(run.code_diff, code.diff)
    told = collect(
        code=code,
        dataset={
            "path": str(data.resolve()),
            "content_hash": dataset.content_hash,
            "store_hash": LAYOUT.store_hash,
            "codec_hash": LAYOUT.codec_hash,
            "num_games": dataset.num_games,
            "num_frames": dataset.num_frames,
        },
        device=str(device),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        experiment=about,
        experiment_hash=strict.digest(experiment),
        world_size=team.world,
    )
    heldout.write_marks(run.games, dataset, dataset.rows(split="train"))
    atomic.write_json(run.provenance, told)


def _silence(text: str) -> None:
    pass


def _moved(told: dict[str, Any], dataset: Dataset, device: torch.device, team: Team) -> Iterator[tuple[str, str, str]]:
    """(what, as run.json has it, now) of what changes no number by itself, or should not: for the record."""
    data, here = str(told["dataset"].get("path")), str(dataset.path.resolve())
    if data != here:
        yield "data", data, here
    code, now = told["code"], code_version().as_json()
    if (code.get("git_sha"), code.get("diff_sha256")) != (now["git_sha"], now["diff_sha256"]):
        yield "code", _code_words(code), _code_words(now)
    was = told["machine"].get("device"), told.get("world_size", 1)
    if was != (str(device), team.world):
        yield "device", f"{was[1]} x {was[0]}", f"{team.world} x {device}"


def _code_words(code: Mapping[str, Any]) -> str:
    changes = f" with changes {code['diff_sha256'][:8]}" if code.get("diff_sha256") else ""
    return f"{(code.get('git_sha') or code.get('version') or 'unknown')[:10]}{changes}"


def _same_data(dataset: Dataset, told: dict[str, str], folder: RunFolder) -> None:
    if dataset.content_hash != told["content_hash"]:
        raise WrongUse(
            f"{dataset.path} has content {dataset.content_hash[:16]}",
            f"{told['content_hash'][:16]}, which {folder.id} was begun on",
            "give the dataset as it was, or begin a new run",
        )
