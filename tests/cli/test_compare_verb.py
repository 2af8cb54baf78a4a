"""`worldmodel compare` as a user runs it: evaluates what is missing, reads what is there, refuses what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from worldmodel.cli import main

SMALL = [
    "model.d_model=32", "model.n_layers=1", "model.d_state=8", "model.headdim=16", "data.length=32",
    "training.epochs=1", "training.batch_size=64", "training.val_windows=32",
]  # fmt: skip
FEW = ["--rollouts", "20", "--long", "5", "--per-event", "3", "--max-frames", "2000", "--counterfactuals", "6"]


@pytest.mark.slow
def test_compare_after_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replays, dataset, runs = (str(tmp_path / name) for name in ("replays", "dataset", "runs"))
    assert main(["synth", "--games", "15", "--out", replays, "--max-frames", "1850"]) == 0
    assert main(["ingest", replays, "--out", dataset, "--workers", "1"]) == 0
    for name in ("one", "two"):
        seed = {"one": "training.seed=1", "two": "training.seed=2"}[name]
        assert main(["train", "tiny", *SMALL, seed, "--data", dataset, "--runs", runs, "--name", name]) == 0
    one, two = f"{runs}/one", f"{runs}/two"

    def compared(*arguments: str) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = main(["compare", *arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else {}, said.err

    assert main(["eval", one, "--data", dataset, *FEW]) == 0
    code, found, _ = compared(one, two)
    assert code == 0, "what is missing is evaluated as the other was"
    assert not found["same_weights"]
    assert [Path(path).suffix for path in found["files"]] == [".json", ".html"]
    assert all(Path(path).is_file() for path in found["files"])
    stamp = (Path(two) / "report" / "result.json").stat().st_mtime_ns
    code, again, _ = compared(one, two)
    assert again == found
    assert (Path(two) / "report" / "result.json").stat().st_mtime_ns == stamp, "what is there is read"

    assert main(["eval", two, "--data", dataset, *FEW, "--seed", "1"]) == 0
    code, _, said = compared(one, two)
    assert code == 2
    assert "starts" in said
    assert "--data" in said
    code, third, _ = compared(one, two, "--data", dataset)
    assert code == 0
    assert third["headlines"] == found["headlines"]

    shutil.copytree(one, f"{runs}/same")
    code, same, _ = compared(one, f"{runs}/same")
    assert same["same_weights"]


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
