"""Fewer nodes for the same numbers: what the exporter spells out and nobody needs.

Owns: three rewrites of a graph, each exact. Must not: change a value; parity is compared after it.

At batch 1 a small model costs about a microsecond per node, more in a browser, whatever the node does. Splitting a
frame into columns and stacking them again, as the transition does, is two nodes per column and one more to undo it.
"""

from __future__ import annotations

from typing import Any

from worldmodel.export.extra import need


def tidy(proto: Any) -> None:
    """Rewrite in place."""
    work = _Work(proto)
    work.drop_undone_squeezes()
    work.join_slices()
    work.leave_zeros_small()
    work.drop_unused()


_BATCH = "batch"


class _Work:
    """A graph with its makers, constants and shapes by name. Every value is made once, so rewiring is renaming."""

    def __init__(self, proto: Any) -> None:
        onnx = need("onnx")
        self._helper, self._arrays = onnx.helper, onnx.numpy_helper
        self.graph = proto.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        told = onnx.shape_inference.infer_shapes(proto).graph
        self.shapes = {
            # The one size that a graph leaves open is the batch.
            value.name: tuple(dim.dim_value or _BATCH for dim in value.type.tensor_type.shape.dim)
            for value in (*told.value_info, *told.input, *told.output)
        }
        self.outputs = {value.name for value in self.graph.output}

    def drop_undone_squeezes(self) -> None:
        """Unsqueeze(Squeeze(x)) on the same axes is x."""
        renamed = {}
        for node in self.graph.node:
            before = self.makers.get(node.input[0]) if node.op_type == "Unsqueeze" else None
            if before is None or before.op_type != "Squeeze" or node.output[0] in self.outputs:
                continue
            axes = [self._ints(part.input[1]) if len(part.input) > 1 else None for part in (node, before)]
            if axes[0] is not None and axes[0] == axes[1]:
                renamed[node.output[0]] = before.input[0]
        for node in self.graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)

    def join_slices(self) -> None:
        """A Concat of slices that lie beside each other in one tensor is a Concat of fewer, longer ones."""
        nodes = []
        for node in self.graph.node:
            if node.op_type == "Concat":
                parts = self._joined(node)
                made = [part for part in parts if not isinstance(part, str)]
                nodes += made
                names = [part if isinstance(part, str) else part.output[0] for part in parts]
                del node.input[:]
                node.input.extend(names)
            nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)

    def _joined(self, concat: Any) -> list[Any]:
        """Inputs of a Concat: names, or new Slice nodes that take the place of several."""
        runs: list[list[str]] = []
        for name in concat.input:
            if runs and self._follows(runs[-1][-1], name, concat):
                runs[-1].append(name)
            else:
                runs.append([name])
        return [run[0] if len(run) == 1 else self._slice_over(run) for run in runs]

    def _follows(self, one: str, other: str, concat: Any) -> bool:
        first, second = self._stretch(one), self._stretch(other)
        if first is None or second is None:
            return False
        rank = len(self.shapes.get(one, ()))
        along = self._helper.get_node_attr_value(concat, "axis")
        if not rank or not first[1] % rank == second[1] % rank == along % rank:
            return False
        return first[0] == second[0] and first[3] == second[2]

    def _stretch(self, name: str) -> tuple[str, int, int, int] | None:
        """(source, axis, start, end) of a plain slice along one axis."""
        node = self.makers.get(name)
        if node is None or node.op_type != "Slice" or len(node.input) < 4:
            return None
        starts, ends, axes = (self._ints(part) for part in node.input[1:4])
        steps = self._ints(node.input[4]) if len(node.input) > 4 else [1]
        if not (starts and ends and axes) or len(axes) != 1 or steps != [1] or starts[0] < 0 or ends[0] < 0:
            return None
        return node.input[0], axes[0], starts[0], ends[0]

    def _slice_over(self, run: list[str]) -> Any:
        first, last = self._stretch(run[0]), self._stretch(run[-1])
        assert first is not None
        assert last is not None
        name = f"{run[0]}_to_{run[-1]}"
        bounds = []
        for part, value in (("start", first[2]), ("end", last[3]), ("axis", first[1])):
            tensor = self._helper.make_tensor(f"{name}_{part}", need("onnx").TensorProto.INT64, [1], [value])
            self.constants[tensor.name] = tensor
            bounds.append(tensor.name)
        node = self._helper.make_node("Slice", [first[0], *bounds], [name], name=name)
        self.makers[name] = node
        return node

    def leave_zeros_small(self) -> None:
        """A constant that is spread to the shape of what it is chosen against: Where does that itself."""
        for node in self.graph.node:
            if node.op_type != "Where":
                continue
            for index in (1, 2):
                spread, other = self.makers.get(node.input[index]), node.input[3 - index]
                if spread is None or spread.op_type != "Expand" or spread.input[0] not in self.constants:
                    continue
                shape = self.makers.get(spread.input[1])
                is_one = len(self._array(spread.input[0]).flatten()) == 1
                if is_one and shape is not None and shape.op_type == "Shape" and self._is_whole(shape):
                    target, known = self.shapes.get(shape.input[0]), self.shapes.get(other)
                    if shape.input[0] == other or (target is not None and target == known):
                        node.input[index] = spread.input[0]

    def _is_whole(self, shape: Any) -> bool:
        """Whether a Shape node tells all axes: a part of them has a start or an end."""
        told = {part.name: self._helper.get_attribute_value(part) for part in shape.attribute}
        return told in ({}, {"start": 0})

    def drop_unused(self) -> None:
        """Nodes and constants that no output is made of."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.graph.node):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        del self.graph.node[:]
        self.graph.node.extend(reversed(kept))
        del self.graph.initializer[:]
        self.graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in needed)

    def _array(self, name: str) -> Any:
        return self._arrays.to_array(self.constants[name])

    def _ints(self, name: str) -> list[int] | None:
        return None if name not in self.constants else [int(value) for value in self._array(name).flatten()]
