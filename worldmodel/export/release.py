"""What makes an export a release: weights in float16, as they ship, and an evaluation of just these.

Owns: what is rounded, and that the numbers of a release are those of its own weights. Must not: choose how to measure
(the run's evaluation says that).
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation.result_file import RESULT_FILE, Json, Reproduction, read_result, reproduction
from worldmodel.evaluation.subject import GAMES_FILE, WEIGHTS_FILE, Subject, settings_of
from worldmodel.evaluation.suite import evaluate
from worldmodel.export.shrink import SMALL
from worldmodel.models.base import describe_weights, load_model, save_weights
from worldmodel.runs.folder import RunFolder, sha256_of


def asked(run: RunFolder, dataset: Dataset | None, sha256: str) -> Json:
    """The evaluation of a run, as its release will be measured. sha256: of the run's weights.

    Raises WrongUse if there is none of these weights on held-out games of this dataset.
    """
    result = read_result(run.report / RESULT_FILE)
    of, data = result["weights"]["sha256"], result["data"]
    if of != sha256 or not data["held_out"]:
        raise WrongUse(
            f"the evaluation in {run.path} is of weights {of[:16]} on {data['split']} games",
            f"of {sha256[:16]} on held-out ones",
            "worldmodel eval RUN, with --ema as here",
        )
    if dataset is None or dataset.content_hash != data["content_hash"]:
        raise WrongUse(
            "--release without --data" if dataset is None else f"{dataset.path} of content {dataset.content_hash[:16]}",
            f"the dataset of the run's evaluation, {data['content_hash'][:16]}",
            "give it with --data: what ships is measured again",
        )
    return result


def round_weights(weights: Path, out: Path) -> None:
    """Write weights with their large tensors in float16, as a graph in half keeps them.

    Raises WrongUse for a number past its range.
    """
    model = load_model(weights)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        small = tensor.half() if tensor.is_floating_point() and tensor.numel() >= SMALL else tensor
        if not small.isfinite().all():
            raise WrongUse(f"{weights}: {name} past the range of float16", "numbers below 65,504", "train again")
        state[name] = small
    save_weights(model, out, weights=state, code_version=describe_weights(weights)["code_version"])


def measure(
    run: RunFolder, subject: Subject, folder: Path, dataset: Dataset, before: Json, *, device: str
) -> tuple[Json, Reproduction]:
    """Evaluate the weights in a release's folder, and put the result and the games beside them.

    subject: the run's own weights, of which these are the rounded ones; before: their evaluation.
    """
    weights = folder / WEIGHTS_FILE
    with tempfile.TemporaryDirectory(prefix="worldmodel-release-") as aside:
        report = Path(aside)
        rounded = replace(subject, weights=weights, sha256=sha256_of(weights), report=report)
        result = evaluate(rounded, dataset, settings_of(before), device=device, quiet=True).json
        shutil.copyfile(report / RESULT_FILE, folder / RESULT_FILE)
    if run.games.is_file():
        shutil.copyfile(run.games, folder / GAMES_FILE)
    return result, reproduction(before, result)
