"""The inside of a Mamba-2 block over short windows as one GPU kernel: convolution, scan, skip and gate.

    gated_t = (y_t + D x_t) * silu(z_t),    y = scan(x, softplus(dt + dt_bias), -exp(A_log), b, c),
    [x b c]_t = silu(conv_bias + sum_k conv_weight_k * mixed_{t-W+1+k}),    no rows before the first

Owns: that function as an operator with a gradient; `mixer_kernels` computes both. Must not: be the only form.
`models.mamba2` has the plain one, made of `conv` and `ssd`; a test holds this one to it in float64.

Why: a window of 10 is one tile of 16 rows. Between a block's two projections the plain form writes and reads a dozen
intermediates, which weigh as much as the projections; here a window is read once and its result written once. Nothing
but the inputs is kept for the gradient: making the rest again is cheaper than reading it.

Letters: B windows, T rows, R rows asked for (the last ones), I inner width, N state width, H heads, P head width,
W taps, M = I + 2N.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldmodel.nn.mixer_kernels import backward_kernel, forward_kernel

MAX_ROWS = 16
"""Rows of the one tile. Larger ones do not fit into registers; longer windows want chunks, as `ssd.scan` makes them."""
WIDTHS = (16, 32, 64, 128)
"""Of a head and of the state: what a product of tiles takes."""
PRODUCTS = "ieee"
"""How tiles are multiplied: in float32. With tensor cores ("tf32") the compiler rearranges operands between threads so
often that the gradient's kernel has twice the barriers and does not fit into registers (`benchmarks/kernels.py`)."""
NUM_WARPS = 8
MAX_PROGRAMS = 1024
"""Places for gradients of the weights: several programs on each of a large device's processors, in its cache."""


def fits(num_rows: int, d_state: int, headdim: int) -> bool:
    """Whether a window fits into the tile."""
    return num_rows <= MAX_ROWS and d_state in WIDTHS and headdim in WIDTHS


def mix(
    projected: Tensor, z: Tensor | None, conv_weight: Tensor, conv_bias: Tensor, dt_bias: Tensor, A_log: Tensor,
    D: Tensor, d_state: int,
) -> Tensor:  # fmt: skip
    """Gated rows (B,R,I) in the precision of the projection; inside, everything is float32.

    projected: (B,T,I+M+H), [z mixed dt] of each row. If only the last R rows are asked for: z (B,R,I), and projected
    (B,T,M+H) without it. Weights: conv (W,M) and (M), the others (H).
    """
    gated: Tensor = _mix(projected, z, conv_weight, conv_bias, dt_bias, A_log, D, d_state)
    return gated


# Opaque operators: a compiler takes each as it is, and a captured graph records its launch.


@torch.library.custom_op("worldmodel::mix", mutates_args=())
def _mix(
    projected: Tensor, z: Tensor | None, conv_weight: Tensor, conv_bias: Tensor, dt_bias: Tensor, A_log: Tensor,
    D: Tensor, d_state: int,
) -> Tensor:  # fmt: skip
    projected, z = projected.contiguous(), None if z is None else z.contiguous()
    gated = _like_gated(projected, z, conv_weight, d_state)
    gates = projected if z is None else z
    forward_kernel[(len(projected),)](
        projected, gates, conv_weight, conv_bias, dt_bias, A_log, D, gated,
        **_constants(projected, gated, conv_weight, D, d_state),
    )  # fmt: skip
    return gated


@torch.library.custom_op("worldmodel::mix_grad", mutates_args=())
def _mix_grad(
    grad: Tensor, projected: Tensor, z: Tensor | None, conv_weight: Tensor, conv_bias: Tensor, dt_bias: Tensor,
    A_log: Tensor, D: Tensor, d_state: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of projected, of z (empty without one), of the convolution (W+1,M), its bias last, and of
    [dt_bias, A_log, D] (3,H)."""
    grad, projected, z = grad.contiguous(), projected.contiguous(), None if z is None else z.contiguous()
    d_projected = torch.empty_like(projected)
    d_z = projected.new_empty(0) if z is None else torch.empty_like(z)
    num_programs = min(len(projected), MAX_PROGRAMS)
    num_taps, channels = conv_weight.shape
    d_conv = torch.zeros(num_programs, num_taps + 1, channels, device=grad.device)
    d_heads = torch.zeros(num_programs, 3, len(D), device=grad.device)
    gates, d_gates = (projected, d_projected) if z is None else (z, d_z)
    backward_kernel[(num_programs,)](
        projected, gates, conv_weight, conv_bias, dt_bias, A_log, D, grad, d_projected, d_gates, d_conv, d_heads,
        len(projected), **_constants(projected, grad, conv_weight, D, d_state),
    )  # fmt: skip
    return d_projected, d_z, d_conv.sum(0), d_heads.sum(0)


def _like_gated(projected: Tensor, z: Tensor | None, conv_weight: Tensor, d_state: int) -> Tensor:
    num_rows = projected.shape[1] if z is None else z.shape[1]
    return projected.new_empty(len(projected), num_rows, conv_weight.shape[1] - 2 * d_state)


def constants(
    num_rows: int, num_asked: int, num_heads: int, headdim: int, d_state: int, num_taps: int
) -> dict[str, int | str]:
    """What both kernels are specialised by, and how a program of theirs runs. Raises ValueError if it does not fit."""
    if not fits(num_rows, d_state, headdim):
        raise ValueError(f"no tile of {num_rows} rows, a state of {d_state} and heads of {headdim}")
    return {
        "T": num_rows, "R": num_asked, "H": num_heads, "P": headdim, "N": d_state, "W": num_taps,
        "ROWS": MAX_ROWS, "PRODUCTS": PRODUCTS, "HAS_Z": num_asked < num_rows,
        "num_warps": NUM_WARPS, "num_stages": 1,
    }  # fmt: skip


def _constants(projected: Tensor, gated: Tensor, conv_weight: Tensor, D: Tensor, d_state: int) -> dict[str, int | str]:
    return constants(projected.shape[1], gated.shape[1], len(D), gated.shape[2] // len(D), d_state, len(conv_weight))


@_mix.register_fake
def _fake_mix(
    projected: Tensor, z: Tensor | None, conv_weight: Tensor, conv_bias: Tensor, dt_bias: Tensor, A_log: Tensor,
    D: Tensor, d_state: int,
) -> Tensor:  # fmt: skip
    return _like_gated(projected, z, conv_weight, d_state)


@_mix_grad.register_fake
def _fake_mix_grad(
    grad: Tensor, projected: Tensor, z: Tensor | None, conv_weight: Tensor, conv_bias: Tensor, dt_bias: Tensor,
    A_log: Tensor, D: Tensor, d_state: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    num_taps, channels = conv_weight.shape
    d_conv, d_heads = conv_weight.new_empty(num_taps + 1, channels), conv_weight.new_empty(3, len(D))
    d_z = projected.new_empty(0) if z is None else torch.empty_like(z)
    return torch.empty_like(projected), d_z, d_conv, d_heads


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.d_state = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    projected, z, *weights = ctx.saved_tensors
    d_projected, d_z, d_conv, d_heads = _mix_grad(grad, projected, z, *weights, ctx.d_state)
    of_weights = (d_conv[:-1], d_conv[-1], *d_heads)
    return d_projected, None if z is None else d_z, *of_weights, None


_mix.register_autograd(_gradients, setup_context=_keep)
