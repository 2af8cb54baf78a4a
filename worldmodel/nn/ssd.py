"""The state-space scan of Mamba-2 (state-space duality), in plain torch: four forms of one recurrence.

    S_t = exp(dt_t * A) * S_{t-1} + dt_t * x_t B_t^T        y_t = S_t C_t

Owns: `scan` (parallel, any length), `step` (one frame, new state), `sequential` (the definition, for tests).
Must not: hold parameters. Source of the forms: Dao and Gu 2024, "Transformers are SSMs", sections 5 and 6.

Letters: B sequences, T rows, H heads, P head width, N state width, K chunks, L rows of a chunk. One group: heads share
B_t and C_t. Shapes: x (B,T,H,P), dt (B,T,H) > 0, A (H) < 0, b and c (B,T,N), state (B,H,P,N).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sequential(
    x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The recurrence, row by row: (y (B,T,H,P), last state). Slow; the other forms are tested against it."""
    num_b, num_t, num_h, num_p = x.shape
    state = x.new_zeros(num_b, num_h, num_p, b.shape[-1]) if state is None else state
    rows = []
    for t in range(num_t):
        y, state = step(x[:, t], dt[:, t], A, b[:, t], c[:, t], state)
        rows.append(y)
    return torch.stack(rows, 1), state


def step(x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One row: x (B,H,P), dt (B,H), b and c (B,N) -> (y (B,H,P), new state). The given state is left as it was."""
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        return _step_in_one_pass(x, dt, A, b, c, state)
    decay = (dt * A).exp()[..., None, None]
    # One pass over the state, which is most of the memory that a step moves.
    state = torch.addcmul(state * decay, (x * dt[..., None])[..., None], b[:, None, None, :])
    return (state @ c[:, None, :, None]).squeeze(-1), state


def _step_in_one_pass(x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """`step` in the form that a compiler fuses: one loop over rows (H*P) and columns makes the state and sums it."""
    rows = x.shape[1:].numel()
    decay = (dt * A).exp()[..., None].expand(x.shape).reshape(-1, rows, 1)
    made = state.reshape(-1, rows, state.shape[-1]) * decay + (x * dt[..., None]).reshape(-1, rows, 1) * b[:, None]
    return (made * c[:, None]).sum(-1).reshape(x.shape), made.reshape(state.shape)


def scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    b: Tensor,
    c: Tensor,
    *,
    chunk: int,
    state: Tensor | None = None,
    last_state: bool = False,
    first_row: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """All rows at once: (y (B,T,H,P), last state or None if not asked for). Any T >= 1, whatever `chunk` is.

    Within a chunk the quadratic form; between chunks, only if there are several, decayed sums of chunk states.
    first_row: y has only the rows from there on.
    """
    num_t = x.shape[1]
    if num_t <= chunk:
        a = (dt * A).cumsum(1).transpose(1, 2)
        x_dt = (x * dt[..., None]).transpose(1, 2)
        c = c[:, first_row:]
        y = _within(x_dt, a, b, c)
        if state is not None:
            y = y + _from_state(state, a[..., first_row:], c)
        end = None
        if last_state:
            end = _to_state(x_dt, a, b)
            if state is not None:
                end = end + state * a[..., -1].exp()[..., None, None]
        return y.transpose(1, 2), end

    # A ragged end is filled with rows of dt = 0, which neither decay a state nor add to it.
    fill = -num_t % chunk
    if fill:
        x, dt, b, c = F.pad(x, (0, 0, 0, 0, 0, fill)), F.pad(dt, (0, 0, 0, fill)), *_pad_rows(fill, b, c)
    num_k = x.shape[1] // chunk
    x, dt, b, c = (torch.unflatten(rows, 1, (num_k, chunk)).flatten(0, 1) for rows in (x, dt, b, c))
    a = (dt * A).cumsum(1).transpose(1, 2)
    x_dt = (x * dt[..., None]).transpose(1, 2)
    y = _within(x_dt, a, b, c)
    sums, total = _to_state(x_dt, a, b), a[..., -1]
    before, end = _between(torch.unflatten(sums, 0, (-1, num_k)), torch.unflatten(total, 0, (-1, num_k)), state)
    y = y + _from_state(before.flatten(0, 1), a, c)
    y = torch.unflatten(y.transpose(1, 2), 0, (-1, num_k)).flatten(1, 2)[:, first_row:num_t]
    return y, end if last_state else None


def _pad_rows(fill: int, *rows: Tensor) -> tuple[Tensor, ...]:
    return tuple(F.pad(row, (0, 0, 0, fill)) for row in rows)


def _decay(a: Tensor, first_row: int = 0) -> Tensor:
    """From cumulated log-decays (...,T): (...,T,S) = exp(a_t - a_s) for s <= t, else 0; the rows from `first_row` on.

    The -inf goes in before exp: above the diagonal the difference is positive and could overflow.
    """
    rows = torch.arange(a.shape[-1], device=a.device)
    later = rows > rows[first_row:, None]
    return (a[..., first_row:, None] - a[..., None, :]).masked_fill(later, float("-inf")).exp()


def _within(x_dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The quadratic form: x_dt (B,H,T,P), a (B,H,T), b (B,T,N), c (B,R,N) of the last R rows -> (B,H,R,P)."""
    scores = c @ b.transpose(1, 2)
    return (_decay(a, b.shape[1] - c.shape[1]) * scores[:, None]) @ x_dt


def _from_state(state: Tensor, a: Tensor, c: Tensor) -> Tensor:
    """What a state (B,H,P,N) before the first row adds to each row: (B,H,T,P)."""
    num_h = state.shape[1]
    y = c @ state.flatten(1, 2).transpose(1, 2)
    return torch.unflatten(y, -1, (num_h, -1)).transpose(1, 2) * a.exp()[..., None]


def _to_state(x_dt: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """What the rows leave in the state after the last one: (B,H,P,N)."""
    weighted = x_dt * (a[..., -1:] - a).exp()[..., None]
    return torch.unflatten(weighted.transpose(2, 3).flatten(1, 2) @ b, 1, (x_dt.shape[1], -1))


def _between(sums: Tensor, total: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Chunk sums (B,K,H,P,N) and total log-decays (B,K,H) -> (states before each chunk (B,K,H,P,N), after the last)."""
    first = torch.zeros_like(sums[:, :1]) if state is None else state[:, None].to(sums.dtype)
    states = torch.cat([first, sums], 1)
    decay = _decay(F.pad(total, (0, 0, 1, 0)).cumsum(1).transpose(1, 2))
    num_b, num_k, num_h, num_p, num_n = states.shape
    flat = states.transpose(1, 2).reshape(num_b, num_h, num_k, num_p * num_n)
    out = (decay @ flat).view(num_b, num_h, num_k, num_p, num_n).transpose(1, 2)
    # A copy: a view would keep the states of all chunks alive as long as the last one is.
    return out[:, :-1], out[:, -1].clone()
