"""`worldmodel rollout`: a clip in both forms and a table; wrong input is one line and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from worldmodel.cli import main
from worldmodel.clips.files import read_clip
from worldmodel.models.base import make_model, save_weights
from worldmodel.replays.synth.generate import write_games


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A weights file and a replay."""
    folder = tmp_path_factory.mktemp("rollout")
    write_games(folder / "synth", 1, seed=5)
    torch.manual_seed(0)
    model = make_model({"arch": "mamba2", "d_model": 32, "n_layers": 1, "d_state": 8, "headdim": 16})
    save_weights(model, folder / "weights.safetensors")
    return folder / "weights.safetensors", next((folder / "synth").rglob("*.slp"))


def test_it_writes_a_clip_and_says_how_far_off(given, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, replay = map(str, given)
    out = tmp_path / "clip"
    words = ["rollout", weights, "--replay", replay, "--start", "-100", "--frames", "70", "--out", str(out), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    result = json.loads(said.out.splitlines()[-1])
    assert [error["frames"] for error in result["errors"]] == [10, 30, 60, 70]
    assert all(error["position"] is not None for error in result["errors"])
    assert "position error" in said.err
    one, other = read_clip(out.with_suffix(".json")), read_clip(out.with_suffix(".arrow"))
    assert one.equals(other)
    assert (len(one), one.first_frame, one.meta.kind) == (70, -99, "dream")
    assert one.meta.weights_sha256 == result["meta"]["weights_sha256"]
    # Drawn with a seed, and under other pads, it is another clip, and the same one again.
    clips = []
    for _ in range(2):
        assert main([*words, "--temperature", "1", "--seed", "3", "--pads", "random"]) == 0
        clips.append(read_clip(out.with_suffix(".arrow")))
    assert clips[0].equals(clips[1])
    assert clips[0].meta.kind == "what-if"


@pytest.mark.parametrize(
    "words",
    [
        ["--start", "1000000"],
        ["--start", "-124"],
        ["--frames", "1000000"],
        ["--frames", "0"],
        ["--pads", "nobody"],
        ["--temperature", "0"],
        ["--temperature", "-1"],
        ["--history", "-1"],
        ["--ema"],
        ["--replay", "nothing.slp"],
        ["--out", "nowhere/clip"],
    ],
)
def test_wrong_use_is_one_line(given, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, replay = map(str, given)
    base = ["rollout", weights, "--replay", replay, "--frames", "5", "--out", str(tmp_path / "clip")]
    assert main(base + words) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert not list(tmp_path.iterdir())


def test_what_is_no_run_is_one_line(given, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no weights")
    for run in (tmp_path, tmp_path / "file", tmp_path / "nothing", given[1]):
        assert main(["rollout", str(run), "--replay", str(given[1]), "--out", str(tmp_path / "clip")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
