"""Smaller forms of a graph: int8 weights, and float16 weights that are float32 again before anything is computed.

Owns: what may lose precision. Must not: judge what is lost (that is `parity`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.export.extra import need

SMALL = 4096
"""Constants of fewer numbers stay as they are: next to nothing is gained, and biases and tables are among them."""


def int8(proto: Any) -> Any:
    """Weights of the linear maps in 8 bits, one scale per output; inputs of these maps are rounded as they come.

    The maps of the embedder stay in float32: they are small, and all that is known of a frame comes in through them, in
    features of many sizes that would share 8 bits. Operators are of the ONNX standard.
    """
    onnx = need("onnx")
    quantization = need("onnxruntime.quantization")
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    _plain_products(plain)
    # The mark of a prepared graph; ours needs none of the preparation, which otherwise is asked for aloud.
    plain.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantization.quantize_dynamic(
            plain,
            path,
            per_channel=True,
            # Unsigned: products of signed weights overflow their 16 bits on x86 without VNNI, silently.
            weight_type=quantization.QuantType.QUInt8,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=_first_maps(plain),
        )
        small = onnx.load(path)
    small.producer_name = proto.producer_name
    del small.metadata_props[:]
    small.metadata_props.extend(proto.metadata_props)
    del small.graph.value_info[:]
    onnx.checker.check_model(small)
    return small


def half(proto: Any) -> Any:
    """Large weights in float16, made float32 when the graph is loaded: half the download, the same speed."""
    onnx = need("onnx")
    small = onnx.ModelProto()
    small.CopyFrom(proto)
    casts = []
    for tensor in small.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(small.graph.node)
    del small.graph.node[:]
    small.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(small)
    return small


def _plain_products(proto: Any) -> None:
    """Each Gemm with a constant weight as a MatMul and an Add, in place: the quantizer knows no Gemm."""
    onnx = need("onnx")
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes = []
    for node in proto.graph.node:
        options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        scaled = options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0
        if node.op_type != "Gemm" or node.input[1] not in constants or options.get("transA") or scaled:
            nodes.append(node)
            continue
        source, weight, bias = (*node.input, "")[:3]
        if options.get("transB"):
            turned = f"{weight}_turned"
            if turned not in constants:
                values = np.ascontiguousarray(onnx.numpy_helper.to_array(constants[weight]).T)
                constants[turned] = onnx.numpy_helper.from_array(values, turned)
            weight = turned
        product = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", [source, weight], [product], name=f"{node.name}_product"))
        if bias:
            nodes.append(onnx.helper.make_node("Add", [product, bias], [node.output[0]], name=f"{node.name}_bias"))
    used = {name for node in nodes for name in node.input}
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(tensor for tensor in constants.values() if tensor.name in used)


def _first_maps(proto: Any) -> list[str]:
    """Names of the products that make a token of a frame: those with weights of the embedder."""
    return [
        str(node.name)
        for node in proto.graph.node
        if node.op_type == "MatMul" and any(".embedder." in name for name in node.input)
    ]
