"""What a Triton kernel of ours becomes on a device that is not here: compiled for it, and looked at.

Owns: compilation for a named device without one. Must not: run anything. The CUDA tools used come with Triton.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

H200 = 90
"""Compute capability 9.0, of the mission's kind of device; an A100 is 80."""
_TRITON_TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_STREAMED = ("projected", "gates", "gated", "grad", "d_projected", "d_gates")
"""Arguments in the precision of the projection; the other pointers are to float32."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Of one program: registers and bytes spilled per thread, bytes of shared memory, barriers in its code."""

    registers: int
    spilled: int
    shared: int
    barriers: int


def compile_kernel(kernel: Any, constants: dict[str, Any], dtype: torch.dtype, *, capability: int = H200) -> Compiled:
    """A kernel of `nn.mixer_kernels`, specialised by `mixer.constants`, for a device of this capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    options = {name: value for name, value in constants.items() if name.startswith("num_")}
    constants = {name: value for name, value in constants.items() if name not in options}
    kinds = dict.fromkeys(kernel.arg_names, "*fp32")
    kinds |= {name: f"*{_TRITON_TYPES[dtype]}" for name in _STREAMED if name in kinds}
    kinds |= {name: "i32" for name in kinds if name == "num_windows"} | dict.fromkeys(constants, "constexpr")
    # Tensors of torch begin at multiples of 16 bytes.
    aligned = {
        (index,): [["tt.divisibility", 16]] for index, name in enumerate(kernel.arg_names) if kinds[name][0] == "*"
    }
    source = ASTSource(kernel, kinds, constants, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernel.cubin"
        binary.write_bytes(made.asm["cubin"])
        tool = Path(os.path.dirname(triton.__file__)) / "backends" / "nvidia" / "bin" / "cuobjdump"
        told = subprocess.run([tool, "--dump-resource-usage", binary], capture_output=True, text=True, check=True)
    usage = {name: int(value) for name, value in re.findall(r"(REG|STACK):(\d+)", told.stdout)}
    return Compiled(usage["REG"], usage["STACK"], made.metadata.shared, made.asm["ptx"].count("bar.sync"))
