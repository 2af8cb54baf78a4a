"""Fewer nodes, the same numbers, bit for bit; and what only looks alike is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from worldmodel.export.graph import operators
from worldmodel.export.tidy import tidy

X = np.arange(24, dtype=np.float32).reshape(2, 2, 6) - 7


def graph_of(nodes: list[Any], shape: list[Any], **constants: Any) -> Any:
    """From x (batch,2,6) to y."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 6])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )


def run(proto: Any) -> Any:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def tidied(proto: Any) -> dict[str, int]:
    """The operators that are left; the result must be what it was."""
    onnx.checker.check_model(proto, full_check=True)
    before = run(proto)
    tidy(proto)
    onnx.checker.check_model(proto, full_check=True)
    after = run(proto)
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)
    return operators(proto)


def columns(order: list[int], changed: int | None = None, axis: int = -1) -> Any:
    """x taken to columns and stacked again in an order, one of them negated."""
    nodes, constants = [], {"last": [axis], "first": [1]}
    for k in range(6):
        constants |= {f"from{k}": [k], f"to{k}": [k + 1]}
        nodes.append(helper.make_node("Slice", ["x", f"from{k}", f"to{k}", "last"], [f"s{k}"]))
        nodes.append(helper.make_node("Squeeze", [f"s{k}", "last"], [f"c{k}"]))
        if k == changed:
            nodes.append(helper.make_node("Neg", [f"c{k}"], [f"n{k}"]))
        nodes.append(helper.make_node("Unsqueeze", [f"n{k}" if k == changed else f"c{k}", "last"], [f"u{k}"]))
    nodes.append(helper.make_node("Concat", [f"u{k}" for k in order], ["y"], axis=axis))
    return graph_of(nodes, ["batch", 2, len(order)], **constants)


@pytest.mark.parametrize("axis", [-1, 2])
def test_columns_that_are_stacked_again(axis: int) -> None:
    assert tidied(columns(list(range(6)), axis=axis)) == {"Concat": 1, "Slice": 1}
    assert tidied(columns(list(range(6)), changed=3, axis=axis)) == {
        "Slice": 3, "Concat": 1, "Neg": 1, "Squeeze": 1, "Unsqueeze": 1,
    }  # fmt: skip


def test_columns_in_another_order_stay_apart() -> None:
    assert tidied(columns([5, 4, 3, 2, 1, 0]))["Slice"] == 6
    assert tidied(columns([0, 1, 3, 4, 1, 2]))["Slice"] == 3


def test_an_unsqueeze_of_another_axis_is_no_undoing() -> None:
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "last"], ["s"]),
        helper.make_node("Squeeze", ["s", "last"], ["c"]),
        helper.make_node("Unsqueeze", ["c", "middle"], ["u"]),
        helper.make_node("Neg", ["u"], ["y"]),
    ]
    proto = graph_of(nodes, ["batch", 1, 2], zero=[0], one=[1], last=[-1], middle=[1])
    assert tidied(proto) == {"Neg": 1, "Slice": 1, "Squeeze": 1, "Unsqueeze": 1}


def chosen(shape_of: str, condition: list[str]) -> Any:
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "last"], ["narrow"]),
        helper.make_node("Shape", [shape_of], ["shape"]),
        helper.make_node("Expand", ["nothing", "shape"], ["spread"]),
        helper.make_node("Greater", condition, ["is_more"]),
        helper.make_node("Where", ["is_more", "spread", "narrow" if shape_of == "x" else "x"], ["y"]),
    ]
    return graph_of(nodes, ["batch", 2, 6], zero=[0], one=[1], last=[-1], nothing=np.float32(0.5), limit=np.float32(2))


def test_a_constant_is_spread_by_where_itself() -> None:
    proto = graph_of(
        [
            helper.make_node("Shape", ["x"], ["shape"], start=0),
            helper.make_node("Expand", ["nothing", "shape"], ["spread"]),
            helper.make_node("Greater", ["x", "limit"], ["is_more"]),
            helper.make_node("Where", ["is_more", "spread", "x"], ["y"]),
        ],
        ["batch", 2, 6],
        nothing=np.float32(0.5),
        limit=np.float32(2),
    )
    assert tidied(proto) == {"Greater": 1, "Where": 1}


def test_a_constant_that_gives_the_result_its_shape_stays() -> None:
    assert tidied(chosen("x", ["narrow", "limit"]))["Expand"] == 1
