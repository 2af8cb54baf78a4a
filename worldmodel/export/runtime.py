"""A graph at work in ONNX Runtime, with NumPy on both sides: what a client without torch does.

Owns: a session, its inputs by name, and the hand-over from one frame to the next. Must not: import torch.

Letters: B worlds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.export.extra import need

Tensors = dict[str, NDArray[Any]]
"""Arrays (B,...) by the names of the graph."""

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_NEXT = "next_"


class Stepper:
    """One graph, loaded. threads: of one step."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {
            given.name: (tuple(given.shape[1:]), _DTYPES[given.type]) for given in self._session.get_inputs()
        }
        """Shape without the batch, and type, of each input."""
        self.outputs = [made.name for made in self._session.get_outputs()]
        self.followers = {name.removeprefix(_NEXT): name for name in self.outputs if name.startswith(_NEXT)}
        """Input that each `next_` output is for, in the frame after."""

    def zeros(self, batch: int) -> Tensors:
        """All inputs, empty: what is carried in before the first frame is this."""
        return {name: np.zeros((batch, *shape), dtype) for name, (shape, dtype) in self.inputs.items()}

    def run(self, inputs: Tensors, outputs: list[str] | None = None) -> Tensors:
        """One frame. Inputs that are not the graph's own are not looked at."""
        given = {name: inputs[name] for name in self.inputs}
        names = outputs or self.outputs
        return dict(zip(names, self._session.run(names, given), strict=True))

    def handed_on(self, inputs: Tensors, made: Tensors, *, only_memory: bool = False) -> Tensors:
        """Inputs of the next frame: what was made becomes what was before.

        only_memory: of the made frame nothing is taken, because the true one is known; that is how a history is
        consumed.
        """
        taken = {
            name: made[output]
            for name, output in self.followers.items()
            if not only_memory or name.startswith("carried_")
        }
        return inputs | taken
