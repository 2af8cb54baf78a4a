"""A run gone on with under another name: its record and one checkpoint, copied; the first run stays as it is.

Owns: what belongs to the copy. Must not: train.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic
from worldmodel.runs.folder import CheckpointFolder, RunFolder


def find_checkpoint(name: str, runs: Path) -> tuple[RunFolder, CheckpointFolder]:
    """The run and the newest whole checkpoint that a name means: of a run in `runs`, of a run's folder, or of one
    checkpoint's. Raises WrongUse (nothing there, not whole)."""
    for path in (Path(name), runs / name):
        if path.parent.name == "checkpoints" and path.is_dir():
            run = RunFolder.open(path.parent.parent)
            found = next((one for one in run.all_checkpoints() if one.path.name == path.name), None)
            problem = "it is no checkpoint's folder" if found is None else found.problem()
            if found is None or problem is not None:
                raise WrongUse(f"{path}: {problem}", "a whole checkpoint", f"resume {run.id}, which finds its newest")
            return run, found
        if path.is_dir():
            run = RunFolder.open(path)
            return run, run.newest_checkpoint()[0]
    known = sorted(path.parent.name for path in runs.glob("*/run.json"))
    raise WrongUse(f"no run {name!r} in {runs}", f"one of {', '.join(known) or 'none'}", "check the name")


def branch(source: RunFolder, checkpoint: CheckpointFolder, target: Path) -> RunFolder:
    """Copy a run up to a checkpoint into `target`, which must not exist. Going on with it is exactly going on with the
    first. Raises WrongUse, OSError."""
    if target.exists():
        raise WrongUse(f"{target} exists", "a new name", "resume that run, or choose another name")
    told = json.loads(source.provenance.read_text(encoding="utf-8"))
    told["branched_from"] = {
        "run": source.id,
        "step": checkpoint.step,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with atomic.new_folder(target) as aside:
        run = RunFolder(aside)
        run.checkpoints.mkdir()
        for file in (source.config, source.code_diff, source.metrics, source.pace, source.events, source.rules):
            if file.exists():
                shutil.copy2(file, aside / file.name)
        shutil.copytree(checkpoint.path, run.checkpoints / checkpoint.path.name)
        atomic.write_json(run.provenance, told)
    return RunFolder.open(target)
