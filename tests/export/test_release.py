"""A release from end to end: trained, measured, exported, and measured again by somebody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from small_export import restless

from worldmodel.cli import main
from worldmodel.errors import WrongUse
from worldmodel.export import release
from worldmodel.models.base import load_model, save_weights

SMALL = [
    "model.d_model=32", "model.n_layers=1", "model.d_state=8", "model.headdim=16", "data.length=32",
    "training.epochs=1", "training.batch_size=64", "training.val_windows=32", "training.ema=0.9",
]  # fmt: skip
FEW = ["--rollouts", "20", "--long", "0", "--per-event", "3", "--max-frames", "2000", "--counterfactuals", "0"]


@pytest.mark.slow
def test_what_ships_is_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replays, dataset, out = (str(tmp_path / name) for name in ("replays", "dataset", "release"))
    run = str(tmp_path / "runs" / "one")
    assert main(["synth", "--games", "15", "--out", replays, "--max-frames", "1850"]) == 0
    assert main(["ingest", replays, "--out", dataset, "--workers", "1"]) == 0
    assert main(["train", "tiny", *SMALL, "--data", dataset, "--runs", str(tmp_path / "runs"), "--name", "one"]) == 0

    def refused(*more: str) -> str:
        capsys.readouterr()
        assert main(["export", run, "--release", "--no-report", "--out", out, *more]) == 2
        assert not Path(out).exists()
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        return told

    assert "result.json" in refused("--ema", "--data", dataset)
    assert main(["eval", run, "--ema", *FEW]) == 0
    assert "is of weights" in refused("--data", dataset), "the evaluation is of the mean"
    assert "--release without --data" in refused("--ema")
    assert main(["export", run, "--release", "--ema", "--no-report", "--out", out, "--data", dataset]) == 0
    names = {"weights.safetensors", "result.json", "games.txt", "step_half.onnx", "codec.json", "parity.json"}
    assert {path.name for path in Path(out).iterdir()} == names | {"MODEL_CARD.md"}
    with safe_open(str(Path(out) / "weights.safetensors"), framework="pt") as file:
        dtypes = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert torch.float16 in dtypes

    capsys.readouterr()
    assert main(["eval", out, "--data", dataset, "--out", str(tmp_path / "again"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["same_data"]
    assert told["moved"] == []
    assert told["num_reproduced"] > 10
    assert told["weights_sha256"] in (Path(out) / "MODEL_CARD.md").read_text()


def test_rounding_keeps_the_model_and_what_cannot_be_rounded_is_refused(tmp_path: Path) -> None:
    model, weights, out = restless("mamba2", "residual"), tmp_path / "weights", tmp_path / "rounded"
    save_weights(model, weights)
    release.round_weights(weights, out)
    rounded, parameters = load_model(out).state_dict(), model.state_dict()
    for name, tensor in rounded.items():
        assert tensor.dtype == parameters[name].dtype, "float16 at rest, as ever at work"
        torch.testing.assert_close(tensor, parameters[name], rtol=1e-3, atol=1e-5)
    assert out.stat().st_size < weights.stat().st_size
    with torch.no_grad():
        next(p for p in model.parameters() if p.numel() >= 4096).mul_(1e9)
    save_weights(model, weights)
    with pytest.raises(WrongUse, match="past the range of float16"):
        release.round_weights(weights, tmp_path / "no")
    assert not (tmp_path / "no").exists()
