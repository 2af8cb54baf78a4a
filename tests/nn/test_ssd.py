"""All forms of the scan are one recurrence."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.nn import ssd
from worldmodel.nn.conv import causal_conv, plain

H, P, N = 3, 4, 5


def inputs(num_t: int, *, num_b: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    dt = F.softplus(normal(num_b, num_t, H))
    return normal(num_b, num_t, H, P), dt, -normal(H).exp(), normal(num_b, num_t, N), normal(num_b, num_t, N)


def by_hand(x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The definition with indices, independent of the module."""
    y, state = torch.zeros_like(x), state.clone()
    for t in range(x.shape[1]):
        for h in range(H):
            outer = x[:, t, h, :, None] * b[:, t, None, :] * dt[:, t, h, None, None]
            state[:, h] = (dt[:, t, h] * A[h]).exp()[:, None, None] * state[:, h] + outer
            y[:, t, h] = torch.einsum("bpn,bn->bp", state[:, h], c[:, t])
    return y, state


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("chunk", [1, 10, 16, 64])
@pytest.mark.parametrize("num_t", [1, 7, 10, 37, 60, 257])
def test_scan_is_the_recurrence(num_t: int, chunk: int, with_state: bool) -> None:
    args = inputs(num_t)
    start = torch.randn(2, H, P, N, dtype=torch.float64) if with_state else None
    y_slow, end_slow = ssd.sequential(*args, start)
    y, end = ssd.scan(*args, chunk=chunk, state=start, last_state=True)
    assert end is not None
    assert y.shape == y_slow.shape
    assert end.shape == end_slow.shape
    assert (y - y_slow).abs().max() < 1e-12 * max(1.0, float(y_slow.abs().max()))
    assert (end - end_slow).abs().max() < 1e-12 * max(1.0, float(end_slow.abs().max()))


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("num_t", "chunk", "first"), [(10, 10, 9), (10, 64, 4), (37, 10, 36), (37, 10, 1)])
def test_first_row_only_leaves_rows_out(num_t: int, chunk: int, first: int, with_state: bool) -> None:
    args = inputs(num_t)
    start = torch.randn(2, H, P, N, dtype=torch.float64) if with_state else None
    y, end = ssd.scan(*args, chunk=chunk, state=start, last_state=True)
    part, end_of_part = ssd.scan(*args, chunk=chunk, state=start, last_state=True, first_row=first)
    torch.testing.assert_close(part, y[:, first:], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(end_of_part, end, rtol=0, atol=0)


def test_sequential_is_the_definition() -> None:
    args, start = inputs(9), torch.randn(2, H, P, N, dtype=torch.float64)
    for one, other in zip(ssd.sequential(*args, start), by_hand(*args, start), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("chunk", [4, 64])
def test_gradient_of_scan_is_that_of_the_recurrence(chunk: int) -> None:
    """Also: no NaN comes from above the diagonal, where decays would overflow without the mask."""
    x, dt, A, b, c = inputs(11)
    leaves = [t.clone().requires_grad_() for t in (x, dt * 50, A * 10, b, c)]
    slow = torch.autograd.grad(ssd.sequential(*leaves)[0].sin().sum(), leaves)
    fast = torch.autograd.grad(ssd.scan(*leaves, chunk=chunk)[0].sin().sum(), leaves)
    for one, other in zip(fast, slow, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-9)


def test_step_makes_a_new_state() -> None:
    x, dt, A, b, c = inputs(1)
    state = torch.ones(2, H, P, N, dtype=torch.float64)
    ssd.step(x[:, 0], dt[:, 0], A, b[:, 0], c[:, 0], state)
    assert (state == 1).all()


@pytest.mark.parametrize("taps", [1, 2, 4])
def test_causal_conv_is_the_librarys(taps: int) -> None:
    padded = torch.randn(2, 6 + taps, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(taps, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    expected = F.conv1d(padded.transpose(1, 2), weight.t()[:, None], bias, groups=3).transpose(1, 2)
    torch.testing.assert_close(causal_conv(padded, weight, bias), expected)
    torch.testing.assert_close(plain(padded, weight, bias), expected)
    assert torch.autograd.gradcheck(causal_conv, (padded, weight, bias))


def test_step_in_one_pass_is_the_step() -> None:
    """What a compiler is given, and what a compiled step gives."""
    x, dt, A, b, c = inputs(1)
    state = torch.randn(2, H, P, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    row = (x[:, 0], dt[:, 0], A, b[:, 0], c[:, 0], state)
    expected = ssd.step(*row)
    for found in (ssd._step_in_one_pass(*row), torch.compile(ssd.step, backend="eager", fullgraph=True)(*row)):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
