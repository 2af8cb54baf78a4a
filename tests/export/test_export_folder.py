"""The folder of an export: whole or not at all, what it says, and what is refused."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from frames_at_random import random_frames
from small_export import FRAMES, Exported

from worldmodel.cli import main
from worldmodel.export import extra, folder, parity
from worldmodel.export.starts import Stretches
from worldmodel.nn.frames import State
from worldmodel.schema import LAYOUT


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, exported: Exported, stretches: Stretches) -> None:
    """Without tracing: the graph is the one that was exported before."""
    import onnx

    graph = onnx.load(exported.path / "step.onnx")
    monkeypatch.setattr(folder, "make_graph", lambda model, **_: graph)
    monkeypatch.setattr(folder, "_stretches", lambda dataset, options: stretches)


def test_what_is_written(exported: Exported) -> None:
    told = json.loads((exported.path / folder.CODEC).read_text())
    report = json.loads((exported.path / folder.PARITY).read_text())
    names = {*folder.FILES.values(), folder.CODEC, folder.PARITY, folder.CARD}
    assert {file.name for file in exported.path.iterdir()} == names
    assert told["model"]["weights_sha256"] == hashlib.sha256(exported.weights.read_bytes()).hexdigest()
    for kind, file in told["files"].items():
        data = (exported.path / file["file"]).read_bytes()
        assert file["bytes"] == len(data)
        assert file["sha256"] == hashlib.sha256(data).hexdigest() == report["files"][kind]["sha256"]
    assert report == exported.report
    assert told["model"]["weights_sha256"] in (exported.path / folder.CARD).read_text()


def test_the_report_tells_all_that_was_compared(exported: Exported) -> None:
    report = exported.report
    assert report["data"]["kind"] == "synthetic matches"
    assert report["fed_with_truth"]["frames"] == FRAMES
    assert set(report["loop"]) == set(report["one_step"]) == {"float32", "int8", "half"}
    assert set(report["against_truth"]) == {"1", "10", "60"}
    assert set(report["against_truth"]["60"]["position_distance"]) == {"dynamics", "float32", "int8", "half"}
    assert set(report["milliseconds_per_frame"]) == {"1", "4"}
    loop = report["loop"]["float32"]
    assert loop["codes_equal"] > 0.9
    assert loop["same_codes_to_the_end"] == loop["first_other_code"].count(None)
    assert loop["same_numbers_to_the_end"] == loop["first_other_number"].count(None)
    assert any("on its own" in line for line in exported.said)


def test_a_half_is_smaller_and_int8_too(exported: Exported) -> None:
    sizes = {kind: file["bytes"] for kind, file in exported.report["files"].items()}
    assert sizes["int8"] < sizes["float32"]
    assert sizes["half"] < sizes["float32"]


@pytest.mark.usefixtures("quick")
def test_through_the_command_line(tmp_path: Path, exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(exported.weights), "--format", "onnx", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--no-report", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["fed_with_truth"]["ok"] == {"logits": True, "transition": True, "memory": True}
    assert "loop" not in said
    assert main([*arguments, "--no-report"]) == 0  # an earlier export is replaced
    assert not [file for file in tmp_path.iterdir() if file.name != "out"]


@pytest.mark.usefixtures("quick")
def test_a_graph_that_is_not_the_model_is_not_written(
    tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import onnx

    out = tmp_path / "out"
    arguments = ["export", str(exported.weights), "--out", str(out), "--no-report"]
    assert main(arguments) == 0
    before = content(out)

    wrong = onnx.load(exported.path / "step.onnx")
    (bias,) = (tensor for tensor in wrong.graph.initializer if tensor.name.endswith("heads.out.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
    monkeypatch.setattr(folder, "make_graph", lambda model, **_: wrong)
    capsys.readouterr()
    assert main(arguments) == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "logits" in said
    assert content(out) == before
    assert main([*arguments[:3], str(tmp_path / "other"), "--no-report"]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def _no_run(place: Path) -> list[str]:
    return [str(place / "nothing"), "--out", str(place / "out")]


def _empty_run(place: Path) -> list[str]:
    (place / "run").mkdir()
    return [str(place / "run"), "--out", str(place / "out")]


def _garbage(place: Path) -> list[str]:
    (place / "weights.safetensors").write_bytes(b"no weights at all")
    return [str(place / "weights.safetensors"), "--out", str(place / "out")]


def _foreign_out(place: Path) -> list[str]:
    (place / "notes").mkdir()
    (place / "notes" / "diary.txt").write_text("dear diary")
    return [str(place / "weights.safetensors"), "--out", str(place / "notes")]


def _mean_of_a_file(place: Path) -> list[str]:
    (place / "weights.safetensors").write_bytes(b"")
    return [str(place / "weights.safetensors"), "--out", str(place / "out"), "--ema"]


@pytest.mark.parametrize("prepare", [_no_run, _empty_run, _garbage, _foreign_out, _mean_of_a_file])
def test_wrong_use_is_one_line_and_leaves_nothing(
    prepare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "; expected " in said
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--format", "tflite", "--out", str(tmp_path / "out")]) == 2
    assert "onnx" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_no_dataset(tmp_path: Path, exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    code = main(["export", str(exported.weights), "--out", str(tmp_path / "out"), "--data", str(tmp_path / "notes")])
    assert code == 2
    assert "\n" not in capsys.readouterr().err.strip()


@pytest.mark.parametrize("package", extra.PACKAGES)
def test_a_missing_package_is_one_line(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.import_module

    def without(name: str, *more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *more)

    monkeypatch.setattr(extra.importlib, "import_module", without)
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "pip install 'worldmodel[export]'" in said


def test_a_package_that_is_there_and_broken_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'protobuf'", name="protobuf")

    monkeypatch.setattr(extra.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        extra.need("onnx")


def test_stepping_needs_no_torch(exported: Exported) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom worldmodel.export.runtime import Stepper\n"
        f"graph = Stepper(Path({str(exported.path / 'step.onnx')!r}))\n"
        "graph.run(graph.zeros(2))\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_where_rollouts_part() -> None:
    """Counted by hand: one world that never parts, one that says another code, one whose numbers drift."""
    states, _, _ = random_frames(3, 4, seed=1)
    made = [states[:, t] for t in range(4)]
    other = [State(state.numbers.clone(), state.categories.clone(), state.flags) for state in made]
    other[2].categories[1, 0, 0] += 1
    other[3].numbers[1, 0, 0] += 50.0
    other[1].numbers[2, 1, 2] += 0.5
    told = parity.apart(other, made)
    assert told["first_other_code"] == [None, 3, None]
    assert told["first_other_number"] == [None, 4, 2]
    assert (told["same_codes_to_the_end"], told["same_numbers_to_the_end"]) == (2, 1)
    assert told["earliest_other_code"] == 3
    assert told["codes_equal"] == 1 - 1 / (4 * states.categories[:, 0].numel())
    first, third = LAYOUT.numbers[0].name, LAYOUT.numbers[2].name
    assert told["numbers_before_the_first_other_code"][first]["largest_error"] == 0
    assert told["numbers"][first]["largest_error"] == pytest.approx(50, rel=1e-4)
    assert told["numbers_before_the_first_other_code"][third]["largest_error"] == pytest.approx(0.5, rel=1e-3)


def test_errors_against_the_truth_are_paired() -> None:
    """Moved by 3 and 4 units at every frame: 5 units away, in each rollout, so the difference has no spread."""
    states, pads, context = random_frames(4, parity.rows_needed(10), seed=2)
    stretches = Stretches(states, pads, context, {})
    true = [states[:, 1 + parity.HISTORY + t] for t in range(10)]
    moved = [State(state.numbers.double(), state.categories, state.flags) for state in true]
    for state in moved:
        state.numbers[..., LAYOUT.number("position_x")] += 3
        state.numbers[..., LAYOUT.number("position_y")] += 4
    told = parity.against_truth({"dynamics": true, "float32": moved}, stretches)
    assert set(told) == {"1", "10"}
    for measures in told.values():
        assert measures["position_distance"]["dynamics"]["mean"] == 0
        assert measures["position_distance"]["float32"]["mean"] == pytest.approx(5)
        assert measures["position_distance"]["float32"]["difference_95"] == pytest.approx(0, abs=1e-9)
        assert measures["action_state_wrong"]["float32"]["mean"] == 0
