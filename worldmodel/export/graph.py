"""A model as one ONNX graph of one whole frame: state, pads and what is carried in; the next frame, and that, out.

Owns: the names and the order of inputs and outputs, and the export itself. Must not: decode anything: the transition
in the graph is `dynamics.step.advance`, traced, so that a client needs none of its own.

Chance: drawing a code at temperature T is taking the likeliest after T times Gumbel noise is added to the logits; for
flags and gates, logistic noise. So a graph with `sampling` takes noise, and noise of zero is the likeliest frame.

Letters: B worlds, N numbers, NG gated ones, C categories, V logits of all predicted ones, NF flags, A pad numbers,
NB buttons.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from worldmodel.dynamics.rollout import nothing_seen, own_and_count
from worldmodel.dynamics.step import advance
from worldmodel.export.extra import need
from worldmodel.export.tidy import tidy
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.nn.codec import VOCABS
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS, PLAYERS, Buttons

OPSET = 18
"""Of 2022: every ONNX Runtime since 1.14 has it, the browser's too."""

STATE = ("numbers", "categories", "flags")
PADS = ("pad_numbers", "pad_buttons")
CONTEXT = ("stage", "present_numbers", "present_categories", "present_flags")
CARRIED, NEXT, SAID, NOISE = "carried_", "next_", "said_", "noise_"
"""Prefixes: what is carried from frame to frame; the next frame; logits and steps, undecoded; noise for the logits."""

Example = dict[str, Tensor]


class Frame(nn.Module):
    """One frame of one closed loop, as a function from tensors to tensors. The orders are `input_names`' and
    `output_names`'."""

    def __init__(self, model: WorldModel, *, sampling: bool) -> None:
        super().__init__()
        self.model, self.sampling = model, sampling
        leaves, self.structure = tree_flatten(nothing_seen(model, 1))
        self.num_carried = len(leaves)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        previous = State(*(next(given) for _ in STATE))
        pads = Pads(*(next(given) for _ in PADS))
        context = Context(*(next(given) for _ in CONTEXT))
        carried: ModelState = tree_unflatten([next(given) for _ in range(self.num_carried)], self.structure)
        model_state, dead_rows = own_and_count(carried)
        dead_rows = self.model.rules.laws.mortality.count(dead_rows, previous)
        said, model_state = self.model.step(previous, pads, context, model_state)
        heard = said
        if self.sampling:
            heard = replace(
                said,
                gates=None if said.gates is None else said.gates + next(given),
                categories=said.categories + next(given),
                flags=said.flags + next(given),
            )
        following = advance(previous, heard, context, self.model.rules, dead_rows=dead_rows)
        spoken = (said.numbers, said.gates, said.categories, said.flags)
        return (
            following.numbers,
            following.categories,
            following.flags,
            *tree_flatten((model_state, dead_rows))[0],
            *(tensor for tensor in spoken if tensor is not None),
        )


def num_carried(model: WorldModel) -> int:
    return len(tree_flatten(nothing_seen(model, 1))[0])


def input_names(model: WorldModel, *, sampling: bool = False) -> list[str]:
    """In the order of the graph."""
    carried = [f"{CARRIED}{index}" for index in range(num_carried(model))]
    noise = [f"{NOISE}{name}" for name in _said(model) if name != "numbers"] if sampling else []
    return [*STATE, *PADS, *CONTEXT, *carried, *noise]


def output_names(model: WorldModel) -> list[str]:
    """In the order of the graph."""
    carried = [f"{CARRIED}{index}" for index in range(num_carried(model))]
    return [*(f"{NEXT}{name}" for name in chain(STATE, carried)), *(f"{SAID}{name}" for name in _said(model))]


def _said(model: WorldModel) -> list[str]:
    return ["numbers", *(["gates"] if model.rules.gated else []), "categories", "flags"]


def example(model: WorldModel, batch: int, *, sampling: bool = False) -> Example:
    """Zeros of the graph's types and shapes, by name: a world that nothing is known of, at rest."""
    sizes = {
        "numbers": (len(PLAYERS), len(NUMBERS)),
        "gates": (len(PLAYERS), len(model.rules.gated)),
        "categories": (len(PLAYERS), len(CATEGORIES)),
        "flags": (len(PLAYERS), len(LAYOUT.flag_bits)),
    }
    buttons = LAYOUT.pad_buttons.codec
    assert isinstance(buttons, Buttons)
    out: Example = {
        "numbers": torch.zeros(batch, *sizes["numbers"]),
        "categories": torch.zeros(batch, *sizes["categories"], dtype=torch.int64),
        "flags": torch.zeros(batch, *sizes["flags"], dtype=torch.bool),
        "pad_numbers": torch.zeros(batch, len(PLAYERS), len(LAYOUT.pad_numbers)),
        "pad_buttons": torch.zeros(batch, len(PLAYERS), len(buttons.masks), dtype=torch.bool),
        "stage": torch.zeros(batch, dtype=torch.int64),
        **{f"present_{name}": torch.ones(batch, sizes[name][-1], dtype=torch.bool) for name in STATE},
    }
    leaves = tree_flatten(nothing_seen(model, batch))[0]
    out |= {f"{CARRIED}{index}": leaf for index, leaf in enumerate(leaves)}
    if sampling:
        sizes["categories"] = (len(PLAYERS), sum(VOCABS))
        out |= {f"{NOISE}{name}": torch.zeros(batch, *sizes[name]) for name in _said(model) if name != "numbers"}
    return {name: out[name] for name in input_names(model, sampling=sampling)}


def make_graph(model: WorldModel, *, sampling: bool = False, about: Mapping[str, str] | None = None) -> Any:
    """The graph as an `onnx.ModelProto` in float32, weights inside, of any batch size.

    The model must be on the CPU, in float32. about: what the file says of itself. Raises WrongUse without the extra.
    """
    onnx = need("onnx")
    need("onnxscript")
    given = tuple(example(model, 2, sampling=sampling).values())  # two: a batch of one would be taken for a constant
    batch = torch.export.Dim("batch", min=1)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            Frame(model, sampling=sampling).eval(),
            given,
            dynamo=True,
            opset_version=OPSET,
            input_names=input_names(model, sampling=sampling),
            output_names=output_names(model),
            dynamic_shapes=(tuple({0: batch} for _ in given),),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    tidy(proto)
    onnx.helper.set_model_props(proto, dict(about or {}))
    onnx.checker.check_model(proto)
    return proto


def _strip(proto: Any) -> None:
    """Drop what the exporter tells of the code and the machine it ran on: it is half of a small file."""
    del proto.metadata_props[:]
    del proto.functions[:]
    proto.doc_string = ""
    proto.producer_name = "worldmodel"
    proto.graph.name = "frame"
    del proto.graph.metadata_props[:]
    del proto.graph.value_info[:]
    for part in chain(proto.graph.node, proto.graph.input, proto.graph.output, proto.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


_EXPORTERS_OWN = (
    r"# The axis name: batch will not be used",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)
"""Warnings of the exporter about itself."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's talk of packages that we do not use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _EXPORTERS_OWN:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        log.setLevel(level)


def weights_in(proto: Any) -> int:
    """Numbers in the graph's constants."""
    return sum(_count(tensor.dims) for tensor in proto.graph.initializer)


def _count(dims: Any) -> int:
    total = 1
    for dim in dims:
        total *= int(dim)
    return total


def operators(proto: Any) -> dict[str, int]:
    """How many nodes of each operator, most frequent first; those outside of the ONNX standard with their domain."""
    counts: dict[str, int] = {}
    for node in proto.graph.node:
        name = re.sub(r"^\.", "", f"{node.domain}.{node.op_type}")
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
