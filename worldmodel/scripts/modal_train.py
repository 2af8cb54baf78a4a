"""Training on Modal, at the path that run cards name.

    modal run --detach worldmodel/scripts/modal_train.py::train --encoded-file /encoded-22k.pt --epochs 3 --run-name RUN
    modal run --detach worldmodel/scripts/modal_train.py::train --resume RUN --encoded-file /encoded-22k.pt --epochs 3

Owns: the declaration of one function, and its arguments as plain words. Must not: train (`training.remote` does), check
(`launch.modal` does). Imported by Modal under the file's own name, here and in its containers: no torch at import.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import modal

from worldmodel.errors import WrongUse
from worldmodel.launch.modal import APP, DATA, RUNS, STARTS_S, Declaration, pins
from worldmodel.runs.provenance import CODE, code_version

CONFIG = "mamba2-medium-gpu"
"""The mission's; its card says nothing else on the command line."""


def _everything_but_bytecode(path: Path) -> bool:
    """Whether a file of the package is left out over there. Experiments and tables go along."""
    return path.suffix == ".pyc"


try:
    ASKED = Declaration.of_environment()
    _IMAGE = modal.Image.debian_slim(python_version="3.11").uv_pip_install(*(pins() if modal.is_local() else ()))
except WrongUse as _error:
    raise SystemExit(f"worldmodel: {_error}") from None

_CODE = code_version().as_json() if modal.is_local() else {}
app = modal.App(
    APP, image=_IMAGE.add_local_python_source("worldmodel", ignore=_everything_but_bytecode), tags={"project": "melee"}
)
data_volume = modal.Volume.from_name(ASKED.data_volume, create_if_missing=True)
runs_volume = modal.Volume.from_name(ASKED.runs_volume, create_if_missing=True)


@app.function(
    gpu=ASKED.gpus,
    cpu=ASKED.cpu,
    memory=ASKED.memory_mb,
    timeout=ASKED.timeout_s,
    startup_timeout=1800,
    retries=modal.Retries(max_retries=ASKED.retries, initial_delay=1.0),
    single_use_containers=True,
    volumes={DATA: data_volume.with_mount_options(read_only=True), RUNS: runs_volume},
    secrets=[modal.Secret.from_name(ASKED.secret, required_keys=["WANDB_API_KEY"])] if ASKED.secret else [],
    env={
        CODE: json.dumps(_CODE),
        **ASKED.as_environment(),
        # Compiled once, not once an attempt.
        "TORCHINDUCTOR_CACHE_DIR": f"{RUNS}/.cache/inductor",
        "TRITON_CACHE_DIR": f"{RUNS}/.cache/triton",
    },
)
def train(
    encoded_file: str,
    epochs: int | None = None,
    run_name: str = "",
    resume: str = "",
    config: str = CONFIG,
    overrides: str = "",
    rules: str = "",
    track: str = "",
    track_project: str = "",
    track_entity: str = "",
) -> dict[str, Any]:
    """Train a world model. Epochs are a total. Stopped, preempted or out of time it has saved, and the next attempt
    goes on. config: a name, or the text of an experiment; overrides: a JSON list of KEY=VALUE; rules: text of a rules
    file."""
    from worldmodel.training.remote import Place, attempt
    from worldmodel.training.tracker import Track

    is_here = modal.is_local()
    roots = (os.environ.get("WORLDMODEL_LOCAL_DATA", DATA), os.environ.get("WORLDMODEL_LOCAL_RUNS", RUNS))
    place = Place(
        Path(roots[0] if is_here else DATA),
        Path(roots[1] if is_here else RUNS),
        commit=_nothing if is_here else runs_volume.commit,
        call=None if is_here else modal.current_function_call_id(),
        time_limit_s=None if is_here else ASKED.timeout_s - STARTS_S,
    )
    with tempfile.TemporaryDirectory() as aside:
        if "\n" in config:
            path = Path(aside) / f"{run_name or 'run'}.yaml"
            path.write_text(config, encoding="utf-8")
            config = str(path)
        return attempt(
            place,
            encoded_file=encoded_file,
            config=config,
            run_name=run_name or Path(resume).name,
            epochs=epochs,
            resume=resume,
            overrides=json.loads(overrides) if overrides else (),
            rules=rules,
            track=Track(track or None, track_project or None, track_entity or None),
            say=_say,
        )


def _nothing() -> None:
    """A folder needs no commit."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
