"""Training and ingest on Modal, at the path that run cards name.

    modal run --detach worldmodel/scripts/modal_train.py::train --encoded-file /encoded-22k.pt --epochs 3 --run-name RUN
    modal run --detach worldmodel/scripts/modal_train.py::train --resume RUN --encoded-file /encoded-22k.pt --epochs 3
    modal run --detach worldmodel/scripts/modal_train.py::ingest --source /replays --out games --containers 40

Owns: the declaration of these functions, and their arguments as plain words. Must not: train (`training.remote` does),
read replays (`dataset.spread`), check (`launch.modal_asks`). Imported by Modal under the file's own name, here and in
its containers: no torch at import.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modal

from worldmodel.errors import WrongUse
from worldmodel.launch.modal_asks import APP, DATA, PARTS, RUNS, STARTS_S, Declaration, pins
from worldmodel.runs.provenance import CODE, code_version

if TYPE_CHECKING:
    from worldmodel.dataset.spread import Part

CONFIG = "mamba2-medium-gpu"
"""The mission's; its card says nothing else on the command line."""
CARDS = "/cards"
INGEST_CORES, INGEST_MB = 8.0, 16_384
"""Of a container that reads replays: each core parses one at a time, none of which takes more than some 100 MB."""


def _everything_but_bytecode(path: Path) -> bool:
    """Whether a file of the package is left out over there. Experiments and tables go along."""
    return path.suffix == ".pyc"


def _image() -> modal.Image:
    """The pinned packages, the package at hand, and the cards."""
    image = modal.Image.debian_slim(python_version="3.11").uv_pip_install(*(pins() if modal.is_local() else ()))
    image = image.add_local_python_source("worldmodel", ignore=_everything_but_bytecode)
    if modal.is_local() and Path(ASKED.cards).is_dir():
        image = image.add_local_dir(ASKED.cards, CARDS)
    return image


try:
    ASKED = Declaration.of()
    app = modal.App(APP, image=_image(), tags={"project": "melee"})
except WrongUse as _error:
    raise SystemExit(f"worldmodel: {_error}") from None

_CODE = code_version().as_json() if modal.is_local() else {}
data_volume = modal.Volume.from_name(ASKED.data_volume, create_if_missing=True)
runs_volume = modal.Volume.from_name(ASKED.runs_volume, create_if_missing=True)
# Many write to it at once, each its own files, and all of it can be made again.
parts_volume = modal.Volume.from_name(ASKED.parts_volume, create_if_missing=True, version=2)


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
    config: str = "",
    overrides: str = "",
    rules: str = "",
    track: str = "",
    track_project: str = "",
    track_entity: str = "",
    data_hash: str = "",
    card: str = "",
    time_limit_s: float = 0.0,
) -> dict[str, Any]:
    """Train a world model. Epochs are a total. Stopped, preempted or out of time it has saved, and the next attempt
    goes on. A run with a card in cards/ is told by it what is not said here: experiment, rules, tracker; it must be
    signed. config: a name, or the text of an experiment; overrides: a JSON list of KEY=VALUE; rules: text of a rules
    file; time_limit_s: of all attempts."""
    from worldmodel.cards.orders import told_by
    from worldmodel.training.remote import GoOn, Place, Work, attempt
    from worldmodel.training.tracker import Track

    place = Place(
        _root("DATA", DATA),
        _root("RUNS", RUNS),
        commit=_nothing if modal.is_local() else runs_volume.commit,
        call=None if modal.is_local() else modal.current_function_call_id(),
        time_limit_s=None if modal.is_local() else ASKED.timeout_s - STARTS_S,
        no_more=_nothing if modal.is_local() else _no_more,
    )
    with tempfile.TemporaryDirectory() as aside:

        def told() -> Work:
            # A run that goes on was told when it began; one with a card's hash is told by its launcher.
            by_card = None if card or resume else told_by(run_name, _root("CARDS", CARDS))
            if by_card is not None:
                _say(f"card {by_card.name}, hash {by_card.hash}")
            tracked = Track(track or None, track_project or None, track_entity or None)
            return Work(
                encoded_file=encoded_file,
                config=_config(config, Path(aside), run_name) or (by_card.config if by_card else CONFIG),
                run_name=run_name,
                epochs=epochs,
                resume=resume,
                overrides=_list(overrides) or (by_card.overrides if by_card else ()),
                rules=rules or (by_card.rules if by_card else ""),
                track=tracked if track or not by_card else Track(by_card.policy, by_card.project, by_card.entity),
                data_hash=data_hash or (by_card.data_hash if by_card else ""),
                card=card or (by_card.hash if by_card else ""),
                time_limit_s=time_limit_s or None,
            )

        try:
            return attempt(place, told, say=_say)
        except GoOn as end:
            # Modal takes the place of a preempted container by itself: to be reported as failed would use up a retry.
            if end.reason == "SIGINT":
                raise KeyboardInterrupt(str(end)) from None
            if end.reason == "SIGUSR1":
                raise modal.exception.InputCancellation(str(end)) from None
            raise


def _config(config: str, aside: Path, name: str) -> str:
    """A name as it is; a text as a file of its own."""
    if "\n" not in config:
        return config
    path = aside / f"{name or 'run'}.yaml"
    path.write_text(config, encoding="utf-8")
    return str(path)


def _list(text: str) -> list[str]:
    """Of --overrides. Raises WrongUse."""
    try:
        value = json.loads(text or "[]")
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise WrongUse(f"--overrides {text}", "a JSON list of KEY=VALUE", """write '["training.lr=3e-4"]'""")
    return value


# ---- ingest ------------------------------------------------------------------------------------------------------


@app.function(
    cpu=INGEST_CORES,
    memory=INGEST_MB,
    timeout=ASKED.timeout_s,
    retries=modal.Retries(max_retries=3, initial_delay=1.0),
    volumes={DATA: data_volume.with_mount_options(read_only=True), PARTS: parts_volume},
)
def ingest_part(part: dict[str, Any]) -> dict[str, Any]:
    """One container's share of `ingest`."""
    from worldmodel.dataset.spread import Part, read_part

    done = read_part(Part(**part), workers=None if modal.is_local() else int(INGEST_CORES))
    if not modal.is_local():
        parts_volume.commit()
    if done["interrupted"]:
        raise KeyboardInterrupt  # preempted: what was read is kept, the next container goes on
    return done


@app.function(
    cpu=INGEST_CORES,
    memory=2 * INGEST_MB,
    timeout=ASKED.timeout_s,
    retries=modal.Retries(max_retries=3, initial_delay=1.0),
    volumes={DATA: data_volume, PARTS: parts_volume},
)
def ingest(
    source: str, out: str, containers: int = 20, off: str = "", on: str = "", keep_names: bool = False
) -> dict[str, Any]:
    """Read the replays in a folder of the data volume into a dataset beside it, on many containers at once. The same
    command again adds what is new, or goes on. source, off, on: one or more, separated by commas; the last two are
    names of filters. A reference-format .pt becomes a dataset by one container, which has no GPU to wait for it."""
    from dataclasses import asdict

    from worldmodel.dataset.encoded import LACKS, EncodedReport, convert
    from worldmodel.dataset.register import IngestReport
    from worldmodel.dataset.spread import ingest_spread
    from worldmodel.replays.filters import DEFAULT_FILTERS, check_names

    def map_parts(parts: Sequence[Part]) -> Iterable[dict[str, Any]]:
        given = [asdict(part) for part in parts]
        return map(ingest_part.local, given) if modal.is_local() else ingest_part.map(given)

    root, scratch = _root("DATA", DATA), _root("PARTS", PARTS)
    target = root / out.lstrip("/")
    report: IngestReport | EncodedReport
    if source.endswith(".pt"):
        _say(f"{source}: {LACKS}")
        report = convert(root / source.lstrip("/"), target)
    else:
        report = ingest_spread(
            [root / name.lstrip("/") for name in _words(source)],
            target,
            scratch,
            map_parts,
            num_parts=containers,
            filters=(DEFAULT_FILTERS | check_names(_words(on))) - check_names(_words(off)),
            keep_names=keep_names,
            before_reading=_nothing if modal.is_local() else parts_volume.reload,
            say=_say,
        )
    if not modal.is_local():
        data_volume.commit()
        parts_volume.commit()
    _say(f"{out}: {report.num_games:,} games, {report.num_frames:,} frames, content {report.content_hash[:16]}")
    return asdict(report)


# ---- both --------------------------------------------------------------------------------------------------------


def _root(name: str, there: str) -> Path:
    """A folder over there, or the one that stands for it here: WORLDMODEL_LOCAL_DATA and so on."""
    here = ASKED.cards if there == CARDS else there
    return Path(os.environ.get(f"WORLDMODEL_LOCAL_{name}", here) if modal.is_local() else there)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _no_more() -> None:
    """End this call without another attempt; Modal then stops this container too."""
    if (call := modal.current_function_call_id()) is not None:
        modal.FunctionCall.from_id(call).cancel()


def _nothing() -> None:
    """A folder needs no commit, and nobody tries again."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
