"""The export of a run as one folder, there whole or not at all.

    step.onnx         one frame in float32: the reference of the other two
    step_int8.onnx    if asked for
    step_half.onnx    if asked for: float16 at rest, float32 at work
    codec.json        what a client must know
    parity.json       what was compared, and how far apart it was
    MODEL_CARD.md     what this is, in a page
    weights.safetensors, result.json, games.txt    if asked for: what makes it a release, which anyone can measure
                      again; its weights are in float16, and so is its only graph, step_half.onnx

Owns: these names, the order of work, and that nothing is written which is not the model. Must not: parse a flag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.evaluation.result_file import RESULT_FILE, Json, read_result
from worldmodel.evaluation.subject import WEIGHTS_FILE, Subject, of_run
from worldmodel.export import client, parity, release, shrink, speed, starts
from worldmodel.export.extra import need, need_all
from worldmodel.export.graph import make_graph, operators
from worldmodel.export.model_card import model_card
from worldmodel.export.runtime import Stepper
from worldmodel.models.base import WorldModel, describe_weights, load_model
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder, sha256_of

FILES = {"float32": "step.onnx", "int8": "step_int8.onnx", "half": "step_half.onnx"}
CODEC, PARITY, CARD = "codec.json", "parity.json", "MODEL_CARD.md"

SHORT_FRAMES, SHORT_ROLLOUTS = 60, 4
"""What is compared where no report is wanted."""

Say = Callable[[str], None]


class Broken(WorldModelError):
    """The graph is not the model."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to make, and how long to compare it. device: where a release is measured."""

    int8: bool = False
    half: bool = False
    sampling: bool = False
    ema: bool = False
    release: bool = False
    report: bool = True
    rollouts: int = 16
    frames: int = parity.FRAMES
    seed: int = 0
    device: str = "cpu"


def export(run: Path, out: Path, data: Path | None = None, options: Options | None = None, *, say: Say = print) -> Any:
    """Export the newest whole checkpoint of a run folder, or a weights file, and return the parity report.

    data: dataset whose held-out games it is compared on; None: matches generated on the spot. Raises WrongUse, and
    Broken if the float32 graph is not the model; in neither case is `out` touched.
    """
    options = options or Options()
    need_all()
    atomic.refuse_foreign(out, ours=CODEC, of="an export")
    folder = _run_folder(run, options)
    subject = None if folder is None else of_run(folder, ema=options.ema)
    for warning in () if subject is None else subject.warnings:
        say(f"WARNING {warning}")
    weights = run if subject is None else subject.weights
    about = _about(weights, subject)
    dataset = None if data is None else open_dataset(data)
    stretches = _stretches(dataset, options)
    before = None
    if options.release and folder is not None:
        before = release.asked(folder, dataset, about["weights_sha256"])
    with atomic.new_folder(out) as aside:
        if before is not None:
            release.round_weights(weights, aside / WEIGHTS_FILE)
            weights = aside / WEIGHTS_FILE
            about["weights_sha256"] = sha256_of(weights)
        model = load_model(weights)
        files = write_graphs(model, aside, about, options)
        graphs = {kind: Stepper(aside / told["file"]) for kind, told in files.items()}
        report = judge(model, graphs, stretches, options)
        result = _result(folder)
        if before is not None and folder is not None and subject is not None and dataset is not None:
            say(f"measuring {folder.id} in float16, as it will ship ...")
            result, moved = release.measure(folder, subject, aside, dataset, before, device=options.device)
            say(f"{moved.num_reproduced} of {moved.num} headlines are those of float32 to four digits")
            (aside / files.pop("float32")["file"]).unlink()  # the reference has served
        report["files"] = {
            kind: {key: told[key] for key in ("file", "bytes", "sha256")} for kind, told in files.items()
        }
        report["model"] = about
        told = client.describe(model, about, files, sampling=options.sampling)
        atomic.write_text(aside / CODEC, client.dump(told))
        atomic.write_json(aside / PARITY, report)
        atomic.write_text(aside / CARD, model_card(about, report, lines(report), folder, result))
    for line in lines(report):
        say(line)
    return report


def _result(folder: RunFolder | None) -> Json | None:
    """The evaluation of a run, if it has one. Raises WrongUse for a damaged one."""
    if folder is None or not (folder.report / RESULT_FILE).is_file():
        return None
    return read_result(folder.report / RESULT_FILE)


def _run_folder(run: Path, options: Options) -> RunFolder | None:
    """None for a weights file, which is of no run. Raises WrongUse for one with what only runs have."""
    if not run.is_file():
        return RunFolder.open(run)
    for flag, is_given in (("--ema", options.ema), ("--release", options.release)):
        if is_given:
            raise WrongUse(f"{flag} with the weights file {run.name}", "a run folder", "give the run that it is of")
    return None


def _about(weights: Path, subject: Subject | None) -> dict[str, Any]:
    """What is known of weights before they are loaded. subject: of which run, if of one."""
    told = describe_weights(weights)
    return {
        "run": None if subject is None else subject.name,
        "step": None if subject is None else subject.step,
        "ema": subject is not None and subject.is_mean,
        "dataset": None if subject is None else subject.trained_on,
        "arch": told["config"]["arch"],
        "heads": told["config"].get("heads"),
        "config": told["config"],
        "weights_sha256": sha256_of(weights) if subject is None else subject.sha256,
        "codec_hash": told["codec_hash"],
        "code_version": told["code_version"],
    }


def _stretches(dataset: Dataset | None, options: Options) -> starts.Stretches:
    frames, num = (options.frames, options.rollouts) if options.report else (SHORT_FRAMES, SHORT_ROLLOUTS)
    rows = parity.rows_needed(frames)
    if dataset is None:
        return starts.synthetic(num=num, rows=rows, seed=options.seed)
    return starts.held_out(dataset, num=num, rows=rows, seed=options.seed)


def write_graphs(model: WorldModel, folder: Path, about: dict[str, Any], options: Options) -> dict[str, dict[str, Any]]:
    """Write the graphs that are asked for; what each file is, by kind."""
    onnx = need("onnx")
    about["num_parameters"] = model.num_parameters()
    marks = {key: str(about[key]) for key in ("codec_hash", "weights_sha256", "code_version")}
    protos = {"float32": make_graph(model, sampling=options.sampling, about=marks)}
    if options.int8:
        protos["int8"] = shrink.int8(protos["float32"])
    if options.half or options.release:
        protos["half"] = shrink.half(protos["float32"])
    files = {}
    for kind, proto in protos.items():
        path = folder / FILES[kind]
        onnx.save(proto, str(path))
        files[kind] = {
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "operators": operators(proto),
        }
    return files


def judge(
    model: WorldModel, graphs: dict[str, Stepper], stretches: starts.Stretches, options: Options
) -> dict[str, Any]:
    """The parity report. Raises Broken if the float32 graph is not the model."""
    frames = stretches.states.numbers.shape[1] - parity.rows_needed(0)
    graph = graphs["float32"]
    fed = parity.fed_with_truth(model, graph, stretches, frames)
    report: dict[str, Any] = {
        "format": 1,
        "data": stretches.about | {"rollouts": len(stretches), "frames": frames, "history": parity.HISTORY},
        "fed_with_truth": fed,
    }
    if not all(fed["ok"].values()):
        wrong = ", ".join(name for name, holds in fed["ok"].items() if not holds)
        raise Broken(
            f"the graph is not the model: {wrong} ({_worst(fed):.2g} over {frames} frames; expected at most "
            f"{parity.TOLERANCE:g}); nothing was written; report it with these versions: torch {torch.__version__}, "
            f"onnx {need('onnx').__version__}, onnxruntime {need('onnxruntime').__version__}"
        )
    if not options.report:
        return report
    # First: hundreds of megabytes of dreams make every step slower.
    report["milliseconds_per_frame"] = speed.measure(model, graphs)
    dreams = {"dynamics": parity.dream(model, stretches, frames)}
    dreams |= {kind: parity.dream_of_graph(each, stretches, frames) for kind, each in graphs.items()}
    report["loop"] = {kind: parity.apart(dreams[kind], dreams["dynamics"]) for kind in graphs}
    report["against_truth"] = parity.against_truth(dreams, stretches)
    report["one_step"] = {kind: parity.one_step(each, stretches, frames) for kind, each in graphs.items()}
    return report


# ---- in words ------------------------------------------------------------------------------------------------------


def _worst(fed: dict[str, Any]) -> float:
    return max(float(value) for name in ("graph_step", "graph_rows") for value in fed["logits"][name].values())


def lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    data, fed = report["data"], report["fed_with_truth"]
    out = [
        f"compared on {data['rollouts']} stretches of {data['kind']}, {data['frames']} frames each",
        f"fed with the truth: logits within {_worst(fed):.1e} of the model's (limit {fed['tolerance']:g}), "
        f"codes and flags of the transition equal, memory within {fed['memory']:.1e}",
    ]
    for kind, loop in report.get("loop", {}).items():
        first = loop["earliest_other_code"]
        until = "none parts" if first is None else f"the first parts in frame {first}"
        out.append(
            f"{kind} on its own: {loop['same_codes_to_the_end']} of {loop['rollouts']} rollouts have the model's codes "
            f"and flags to the end, {until}; of all codes {loop['codes_equal']:.2%} are equal"
        )
    for kind, file in report["files"].items():
        parts = [f"{kind}: {file['bytes']:,} bytes"]
        for batch, times in report.get("milliseconds_per_frame", {}).items():
            parts.append(f"{times[kind]:.3g} ms at batch {batch} (torch {times[speed.EAGER]:.3g})")
        out.append(", ".join(parts))
    truth = report.get("against_truth", {})
    for horizon, measures in truth.items():
        told = measures["position_distance"]
        out.append(
            f"distance to the truth after {horizon}: "
            + ", ".join(f"{name} {value['mean']:.4g}" for name, value in told.items())
        )
    return out
