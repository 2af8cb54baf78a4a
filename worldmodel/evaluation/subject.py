"""Weights that are measured: a run's newest, or those of a release, which anyone can measure again.

Owns: what is known of weights before they are loaded, and where their report goes. Must not: load or measure them.

A release is the folder of an export that has the weights themselves and the evaluation that was made of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import worldmodel
from worldmodel.errors import WrongUse
from worldmodel.evaluation.heldout import HELD_OUT, Judged, read_marks
from worldmodel.evaluation.protocol import Settings
from worldmodel.evaluation.result_file import RESULT_FILE, Json, read_result
from worldmodel.runs.folder import RunFolder, sha256_of

WEIGHTS_FILE = "weights.safetensors"
"""Of a release."""
GAMES_FILE = "games.txt"
"""Of a release: the games that it learned from."""
RELEASED = Path(worldmodel.__file__).parent / "released"
"""The release that ships in the package."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Weights. name: of their run; trained_on: content hash of the dataset, if known; learned: marks of the games
    (`heldout.marks`), if known; report: where results go; warnings: what a reader of any result must know first."""

    name: str
    weights: Path
    sha256: str
    step: int | None
    is_mean: bool
    trained_on: str | None
    learned: frozenset[str] | None
    report: Path
    warnings: tuple[str, ...] = ()


def of_run(run: RunFolder | Path, *, ema: bool = False, split: Judged = HELD_OUT) -> Subject:
    """The newest whole checkpoint of a run; ema: the running mean of its weights. Raises WrongUse.

    split: what it will be judged on. The held-out games have the run's `report/`, which cards, comparisons and releases
    read; others have a folder of their own, so that nobody takes one for the other.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    newest = folder.newest_weights(ema=ema)
    dataset = json.loads(folder.provenance.read_text(encoding="utf-8")).get("dataset") or {}
    told = dataset.get("content_hash")
    return Subject(
        name=folder.id,
        weights=newest.path,
        sha256=newest.sha256,
        step=newest.step,
        is_mean=ema,
        trained_on=None if told is None else str(told),
        learned=_learned(folder.games),
        report=report_of(folder, split),
        warnings=newest.problems,
    )


def report_of(folder: RunFolder, split: Judged) -> Path:
    """Where a run's results on these games are."""
    return folder.report if split == HELD_OUT else folder.path / f"{folder.report.name}-{split}"


def of_release(folder: Path, report: Path) -> tuple[Subject, Json]:
    """The weights of a release, and the result that goes with them. Raises WrongUse for a folder that has not both."""
    weights, file = folder / WEIGHTS_FILE, folder / RESULT_FILE
    for path in (weights, file):
        if not path.is_file():
            raise WrongUse(
                f"no {path.name} in {folder}", "a release: an export with its weights and their evaluation",
                "worldmodel export RUN --release --out FOLDER, after worldmodel eval RUN",
            )  # fmt: skip
    result = read_result(file)
    sha256 = sha256_of(weights)
    told, data = result["weights"], result["data"]
    if told["sha256"] != sha256:
        raise WrongUse(
            f"{file} is of weights {told['sha256'][:16]}", f"of those beside it, {sha256[:16]}", "export them again"
        )
    subject = Subject(
        name=result["run"],
        weights=weights,
        sha256=sha256,
        step=told["step"],
        is_mean=told["ema"],
        trained_on=data["content_hash"] if data["is_the_training_dataset"] else None,
        learned=_learned(folder / GAMES_FILE),
        report=report,
    )
    return subject, result


def _learned(file: Path) -> frozenset[str] | None:
    return read_marks(file) if file.is_file() else None


def settings_of(result: Json) -> Settings:
    """How a result was measured. Raises WrongUse if it does not say all of it, or says what cannot be."""
    told = result["settings"]
    names = [field.name for field in fields(Settings)]
    wrong = [f"no {name}" for name in names if name not in told]
    if not wrong:
        try:
            return TypeAdapter(Settings).validate_python({name: told[name] for name in names})
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    raise WrongUse(
        f"settings in a result of {result['run']}: {', '.join(wrong)}",
        "all that it was measured by", "evaluate again: worldmodel eval RUN",
    )  # fmt: skip


def released() -> Path:
    """The folder of the released weights. Raises WrongUse while there are none."""
    if not (RELEASED / WEIGHTS_FILE).is_file():
        raise WrongUse("no released weights in this package", "a run", "train one")
    return RELEASED
