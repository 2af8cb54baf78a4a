"""A short causal convolution of each channel with itself over time, as shifted multiply-adds.

Owns: that one operation and its gradient. On CPUs it is two to four times quicker than the library's grouped
convolution at the widths used here, and three times lighter than letting autograd differentiate the shifts, which
fills a zero gradient of full size for each of them.

Letters: B sequences, T rows, W taps, C channels.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def causal_conv(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y_t = bias + sum_k weight_k * padded_{t+k}: padded (B,T+W-1,C), weight (W,C), bias (C) -> (B,T,C).

    The W-1 rows in front are the past; the last tap is the row itself.
    """
    if torch.compiler.is_compiling():  # a compiler fuses the shifts and their gradients by itself
        return plain(padded, weight, bias)
    return cast(Tensor, _CausalConv.apply(padded, weight, bias))  # type: ignore[no-untyped-call]


def plain(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same, differentiated by autograd."""
    num_t = padded.shape[1] - weight.shape[0] + 1
    y = torch.addcmul(bias, padded[:, :num_t], weight[0])
    for k in range(1, weight.shape[0]):
        y = torch.addcmul(y, padded[:, k : k + num_t], weight[k])
    return y


class _CausalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(padded, weight)
        return plain(padded, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        padded, weight = ctx.saved_tensors
        num_t = grad.shape[1]
        grad_padded = torch.zeros_like(padded)
        grad_weight = []
        for k in range(weight.shape[0]):
            grad_padded[:, k : k + num_t].addcmul_(grad, weight[k])
            grad_weight.append((padded[:, k : k + num_t] * grad).sum((0, 1)))
        return grad_padded, torch.stack(grad_weight).to(weight.dtype), grad.sum((0, 1)).to(weight.dtype)
