"""The graph is the model: frame by frame, for any batch, with noise, and from a history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from frames_at_random import random_frames
from small_export import FRAMES, Exported, restless
from torch.utils._pytree import tree_leaves

from worldmodel.dynamics.rollout import burn_in
from worldmodel.dynamics.step import advance
from worldmodel.export import graph as graphs
from worldmodel.export import parity
from worldmodel.export.runtime import Stepper
from worldmodel.export.starts import Stretches
from worldmodel.models.base import make_model

WEB_RUNTIME_OPSET = 20


def at_random(num: int, frames: int, *, seed: int = 5, missing: bool = True) -> Stretches:
    states, pads, context = random_frames(num, parity.rows_needed(frames), seed=seed, missing=missing)
    return Stretches(states, pads, context, {})


def inputs_of(graph: Stepper, stretches: Stretches, row: int) -> dict:
    return graph.zeros(len(stretches)) | parity.tensors_of(
        stretches.states[:, row - 1], stretches.pads[:, row], stretches.context
    )


def test_logits_transition_and_memory_hold_on_true_frames(exported: Exported, stretches: Stretches) -> None:
    fed = parity.fed_with_truth(exported.model, exported.graph(), stretches, FRAMES)
    assert fed["ok"] == {"logits": True, "transition": True, "memory": True}
    assert fed["transition"]["codes_equal"] == fed["transition"]["flags_equal"] == 1


def test_they_hold_where_fields_are_missing_and_everything_jumps(exported: Exported) -> None:
    fed = parity.fed_with_truth(exported.model, exported.graph(), at_random(6, 20), 20)
    assert fed["ok"] == {"logits": True, "transition": True, "memory": True}


def test_the_comparison_sees_a_graph_that_is_not_the_model(exported: Exported, stretches: Stretches) -> None:
    other = restless("mamba2", "residual")
    with torch.no_grad():
        other.get_submodule("heads").out.bias[0] += 1e-3
    fed = parity.fed_with_truth(other, exported.graph(), stretches, 20)
    assert fed["ok"] == {"logits": False, "transition": True, "memory": True}
    with torch.no_grad():
        other.get_submodule("trunk").blocks[0].in_proj.weight.mul_(1.01)
    assert not parity.fed_with_truth(other, exported.graph(), stretches, 20)["ok"]["memory"]


def test_what_is_no_number_is_never_within_a_limit(exported: Exported, stretches: Stretches) -> None:
    other = restless("mamba2", "residual")
    with torch.no_grad():
        other.get_submodule("heads").out.bias[-1] = float("nan")
    fed = parity.fed_with_truth(other, exported.graph(), stretches, 5)
    assert not fed["ok"]["logits"]
    assert fed["logits"]["graph_step"]["flags"] == 1e30


def test_the_comparison_sees_another_transition(exported: Exported, stretches: Stretches) -> None:
    other = restless("mamba2", "residual")
    other.rules.steps.mul_(1.01)
    assert not parity.fed_with_truth(other, exported.graph(), stretches, 20)["ok"]["transition"]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch(exported: Exported, batch: int) -> None:
    """World by world as all at once."""
    graph, some = exported.graph(), at_random(batch, 1)
    together = graph.run(inputs_of(graph, some, 1))
    for b in range(batch):
        alone = graph.run({name: value[b : b + 1] for name, value in inputs_of(graph, some, 1).items()})
        for name, value in alone.items():
            assert value.shape == (1, *together[name].shape[1:])
            np.testing.assert_allclose(value[0], together[name][b], rtol=1e-5, atol=1e-5)


def test_true_frames_leave_the_memory_of_burn_in(exported: Exported, stretches: Stretches) -> None:
    graph, inputs = exported.graph(), {}
    for row in range(1, 31):
        inputs = inputs_of(graph, stretches, row) | {k: v for k, v in inputs.items() if k.startswith(graphs.CARRIED)}
        inputs = graph.handed_on(inputs, graph.run(inputs), only_memory=True)
    carried, last = burn_in(exported.model, stretches.states[:, :31], stretches.pads[:, :31], stretches.context)
    for index, leaf in enumerate(tree_leaves(carried)):
        np.testing.assert_allclose(inputs[f"{graphs.CARRIED}{index}"], leaf.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(stretches.states.numbers[:, 30], last.numbers)


def test_noise_draws_what_the_model_draws(exported: Exported) -> None:
    """The same chances, by way of the noise that a client adds, give the frames that a temperature gives."""
    temperature, graph, some = 0.7, exported.graph(), at_random(40, 1, missing=False)
    inputs = inputs_of(graph, some, 1)
    silent = graph.run(inputs)
    said = parity.prediction_of(silent)
    drawn = advance(
        some.states[:, 0], said, some.context, exported.model.rules,
        temperature=temperature, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    chance = torch.Generator().manual_seed(1)  # the order of draws is that of `advance`
    gumbel = [
        -(-(1 - torch.rand(logits.shape, generator=chance)).log()).clamp(min=1e-30).log()
        for logits in said.split_categories()
    ]
    assert said.gates is not None
    gates, flags = (torch.rand(part.shape, generator=chance) for part in (said.gates, said.flags))
    noise = {
        "noise_categories": temperature * torch.cat(gumbel, -1),
        "noise_gates": -temperature * torch.logit(gates),
        "noise_flags": -temperature * torch.logit(flags),
    }
    noisy = parity.state_of(graph.run(inputs | {name: value.numpy() for name, value in noise.items()}))
    assert (noisy.categories != parity.state_of(silent).categories).any()
    assert (noisy.categories == drawn.categories).float().mean() > 0.999  # but for ties that rounding decides
    assert (noisy.flags == drawn.flags).float().mean() > 0.999
    assert ((noisy.numbers - drawn.numbers).abs() < 1e-3).float().mean() > 0.999


def test_only_standard_operators_of_an_opset_that_browsers_have(exported: Exported) -> None:
    for file in sorted(exported.path.glob("*.onnx")):
        proto = onnx.load(file)
        assert {node.domain for node in proto.graph.node} <= {""}, file.name
        assert all(part.version <= WEB_RUNTIME_OPSET for part in proto.opset_import if not part.domain), file.name
        types = {tensor.type.tensor_type.elem_type for tensor in (*proto.graph.input, *proto.graph.output)}
        assert types == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL}
        assert proto.ir_version <= 10


def test_nothing_of_the_machine_is_in_the_files(exported: Exported) -> None:
    for file in sorted(exported.path.iterdir()):
        content = file.read_bytes()
        for trace in (b".py", b"site-packages", b"/tmp", str(Path.home()).encode() + b"/"):
            assert trace not in content, (file.name, trace)


def test_int8_and_half_are_near(exported: Exported) -> None:
    some = at_random(8, 1)
    made = {
        kind: exported.graph(kind).run(inputs_of(exported.graph(kind), some, 1)) for kind in ("float32", "int8", "half")
    }
    for kind, limit in (("int8", 0.2), ("half", 0.01)):
        gap = np.abs(made[kind]["said_categories"] - made["float32"]["said_categories"]).mean()
        size = np.abs(made["float32"]["said_categories"]).mean()
        assert 0 <= gap < limit * size, kind
    assert np.abs(made["int8"]["said_categories"] - made["float32"]["said_categories"]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [False, True])
@pytest.mark.parametrize(("arch", "heads"), [("mlp", "card"), ("mlp", "residual"), ("mamba2", "card")])
def test_every_architecture_and_kind_of_head(tmp_path: Path, arch: str, heads: str, sampling: bool) -> None:
    model = restless(arch, heads)
    onnx.save(graphs.make_graph(model, sampling=sampling), str(tmp_path / "step.onnx"))
    graph = Stepper(tmp_path / "step.onnx")
    assert list(graph.inputs) == graphs.input_names(model, sampling=sampling)
    assert graph.outputs == graphs.output_names(model)
    fed = parity.fed_with_truth(model, graph, at_random(4, parity.FRAMES), parity.FRAMES)
    assert fed["ok"] == {"logits": True, "transition": True, "memory": True}


@pytest.mark.slow
def test_the_cards_model_at_its_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make_model({"arch": "mamba2", "heads": "card", "chunk_size": 10}).eval()
    onnx.save(graphs.make_graph(model), str(tmp_path / "step.onnx"))
    fed = parity.fed_with_truth(model, Stepper(tmp_path / "step.onnx"), at_random(2, 200, missing=False), 200)
    assert fed["ok"] == {"logits": True, "transition": True, "memory": True}
