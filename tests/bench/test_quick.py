"""The quick set: real steps on legal frames, ceilings that hold, results in the form that is filed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from worldmodel.bench import quick
from worldmodel.bench.ceilings import Ceilings, copy_bandwidth, gemm_flops
from worldmodel.bench.clock import interleave, machine, median_ratio
from worldmodel.bench.filed import as_json, read_filed
from worldmodel.bench.rollouts import Walk, begin, floor_bytes
from worldmodel.bench.training import GAME_FRAMES, Training, resident
from worldmodel.cli import main
from worldmodel.dynamics.world import World
from worldmodel.models.base import make_model
from worldmodel.nn.codec import VOCABS
from worldmodel.training.config import find_experiment, load_experiment

CPU = torch.device("cpu")
EXPERIMENT = load_experiment(find_experiment("tiny"), overrides=["model={arch: mamba2, d_model: 32, n_layers: 1}"])


def test_cases_take_turns() -> None:
    order: list[str] = []
    timings = interleave({name: lambda name=name: order.append(name) for name in "ab"}, rounds=3)  # type: ignore[misc]
    assert "".join(order) == "ab" * 4, "one untimed round before"
    assert len(timings["a"].wall_s) == 3
    assert median_ratio([2.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == 3.0


def test_frames_are_legal_and_tiled() -> None:
    block = resident(3 * GAME_FRAMES, CPU)
    assert len(block.words) == 3 * GAME_FRAMES
    assert block.offsets.tolist() == [0, GAME_FRAMES, 2 * GAME_FRAMES, 3 * GAME_FRAMES]
    states, _, context = block.gather(torch.tensor([[2, 5]]), 40)
    assert states.numbers.isfinite().all()
    assert (states.categories.flatten(0, -2).amax(0) < torch.tensor([*VOCABS, 99])[: states.categories.shape[-1]]).all()
    assert context.present_numbers.all()


def test_a_step_moves_the_weights_and_its_work_is_counted() -> None:
    training = Training(EXPERIMENT, resident(GAME_FRAMES, CPU), CPU)
    before = [parameter.detach().clone() for parameter in training.state.model.parameters()]
    training.run(2)
    after = list(training.state.model.parameters())
    assert training.state.step == 2
    assert all(one.isfinite().all() for one in after)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    # Forward and backward are at least six operations a weight of the trunk and a frame.
    trunk = sum(p.numel() for p in training.state.model.trunk.parameters() if p.ndim == 2)  # type: ignore[union-attr]
    assert training.flops_per_target() > 6 * trunk


def test_a_walk_goes_on_and_its_floor_grows_with_the_worlds() -> None:
    model = make_model(EXPERIMENT.model).eval()
    world = World(model)
    walk = Walk(world, *begin(world, model, 8))
    first = walk.moment
    walk()
    assert int(walk.moment.frames[0]) == int(first.frames[0]) + 1
    one, two, three = (floor_bytes(model, streams) for streams in (1, 2, 3))
    assert three - two == two - one > 0
    assert one > two - one, "the weights are read once"


def test_ceilings_are_rates() -> None:
    assert gemm_flops(CPU, rounds=1) > 1e8
    assert copy_bandwidth(CPU, rounds=1) > 1e7


def test_the_filed_form_and_what_is_filed(tmp_path: Path) -> None:
    rows = [quick.Row("a", "frames", 50.0, 100.0, 1.1)]
    told = as_json("cpu", compiled=False, ceilings=Ceilings(1e9, 1e9), rows=rows, about=machine())
    (tmp_path / "here_20260101.json").write_text(json.dumps(told))
    (found,) = read_filed(tmp_path)
    assert (found.name, found.per_s, told["cases"]["a"]["share"]) == ("here_20260101", {"a": 50.0}, 0.5)
    assert read_filed(), "results come with the package"


@pytest.mark.slow
def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.json"
    assert main(["bench", "--device", "cpu", "--rounds", "1", "--threads", "1", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads(out.read_text())
    for filed in read_filed():
        assert set(filed.per_s) == set(told["cases"]), "a filed result has the cases of today"
    for case, row in told["cases"].items():
        assert 0 < row["share"] < 1.5, case


def test_a_place_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--out", str(tmp_path / "no" / "mine.json")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(["bench", "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
