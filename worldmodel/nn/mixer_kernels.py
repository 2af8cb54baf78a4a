"""The Triton half of `mixer`: a forward and a backward kernel, and what they share.

Owns: the arithmetic of one window in registers. Must not: be called but by `mixer`, which says what it is given.

One program does several windows, one after the other, and of each all heads, so that what heads share (b, c, their
scores, and the gradients of these) is made once. What a program adds to the gradients of the weights goes to a place of
its own; the places are summed afterwards, always in one order: the same inputs give the same bits.

Letters are those of `mixer`. raw_*: before an activation; d_*: gradient of.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _convolved(mixed, weight, bias, rows, columns, T, stride, M, W: tl.constexpr):
    """Rows of [x b c] before their silu: (rows, columns)."""
    total = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32) + tl.load(bias + columns)[None, :]
    for tap in tl.static_range(W):
        at = rows + (tap - (W - 1))
        value = tl.load(
            mixed + at[:, None] * stride + columns[None, :], mask=((at >= 0) & (at < T))[:, None], other=0.0
        )
        total += tl.load(weight + tap * M + columns)[None, :] * value.to(tl.float32)
    return total


@triton.jit
def _unconvolved(
    d_before, mixed, weight, d_mixed, d_conv, rows, columns, T, stride, M, ROWS: tl.constexpr, W: tl.constexpr
):  # fmt: skip
    """From the gradient before the silu: write that of the rows, add that of the taps and of the bias."""
    total = tl.zeros(d_before.shape, tl.float32)
    for tap in tl.static_range(W):
        ahead = W - 1 - tap
        at = rows + ahead
        later = tl.gather(d_before, tl.broadcast_to(tl.minimum(at, ROWS - 1)[:, None], d_before.shape), 0)
        later = tl.where((at < T)[:, None], later, 0.0)
        total += tl.load(weight + tap * M + columns)[None, :] * later
        back = rows - ahead
        value = tl.load(
            mixed + back[:, None] * stride + columns[None, :], mask=((back >= 0) & (back < T))[:, None], other=0.0
        )
        place = d_conv + tap * M + columns
        tl.store(place, tl.load(place) + tl.sum(d_before * value.to(tl.float32), 0))
    place = d_conv + W * M + columns
    tl.store(place, tl.load(place) + tl.sum(d_before, 0))
    tl.store(d_mixed + rows[:, None] * stride + columns[None, :], total, mask=(rows < T)[:, None])


@triton.jit
def _silu_slope(value):
    share = tl.sigmoid(value)
    return share * (1 + value * (1 - share))


@triton.jit
def _softplus(value):
    """log(1 + exp(value)). Step sizes are a thousandth: 1 + exp(value) has lost four of their digits, which the ratio
    of what was meant to what was added gives back."""
    small = tl.exp(-tl.abs(value))
    one_more = 1.0 + small
    lost = tl.where(one_more == 1.0, 1.0, small / tl.where(one_more == 1.0, 1.0, one_more - 1.0))
    return tl.maximum(value, 0.0) + tl.where(one_more == 1.0, small, tl.log(one_more) * lost)


@triton.jit
def _decay(cumulated, rows, is_row):
    """exp(a_t - a_s) for s <= t, else 0. The choice comes before exp: above the diagonal it could overflow."""
    past = (rows[None, :] <= rows[:, None]) & is_row[:, None] & is_row[None, :]
    return tl.where(past, tl.exp(tl.where(past, cumulated[:, None] - cumulated[None, :], 0.0)), 0.0)


@triton.jit
def forward_kernel(
    projected, gates, weight, bias, dt_bias, A_log, D, gated,
    T: tl.constexpr, R: tl.constexpr, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, W: tl.constexpr,
    ROWS: tl.constexpr, PRODUCTS: tl.constexpr, HAS_Z: tl.constexpr,
):  # fmt: skip
    INNER: tl.constexpr = H * P
    M: tl.constexpr = INNER + 2 * N
    STRIDE: tl.constexpr = M + H if HAS_Z else INNER + M + H
    GATE_STRIDE: tl.constexpr = INNER if HAS_Z else STRIDE
    window = tl.program_id(0).to(tl.int64)
    mixed = projected + window * T * STRIDE + (STRIDE - M - H)
    # Row t of the window is row t - (T - R) of what was asked for.
    gates += window * (R if HAS_Z else T) * GATE_STRIDE - ((T - R) * GATE_STRIDE if HAS_Z else 0)
    gated += window * R * INNER - (T - R) * INNER
    rows, states, parts = tl.arange(0, ROWS), tl.arange(0, N), tl.arange(0, P)
    is_row, is_asked = rows < T, (rows < T) & (rows >= T - R)

    b = _convolved(mixed, weight, bias, rows, INNER + states, T, STRIDE, M, W)
    c = _convolved(mixed, weight, bias, rows, INNER + N + states, T, STRIDE, M, W)
    scores = tl.dot(c * tl.sigmoid(c), tl.trans(b * tl.sigmoid(b)), input_precision=PRODUCTS)
    for head in range(H):
        columns = head * P + parts
        raw = tl.load(mixed + rows * STRIDE + M + head, mask=is_row, other=0.0).to(tl.float32)
        dt = tl.where(is_row, _softplus(raw + tl.load(dt_bias + head)), 0.0)
        cumulated = tl.cumsum(dt * -tl.exp(tl.load(A_log + head)), 0)
        x = _convolved(mixed, weight, bias, rows, columns, T, STRIDE, M, W)
        x = x * tl.sigmoid(x)
        y = tl.dot(_decay(cumulated, rows, is_row) * scores * dt[None, :], x, input_precision=PRODUCTS)
        y += x * tl.load(D + head)
        z = tl.load(gates + rows[:, None] * GATE_STRIDE + columns[None, :], mask=is_asked[:, None], other=0.0)
        z = z.to(tl.float32)
        tl.store(gated + rows[:, None] * INNER + columns[None, :], y * z * tl.sigmoid(z), mask=is_asked[:, None])


@triton.jit
def backward_kernel(
    projected, gates, weight, bias, dt_bias, A_log, D, grad, d_projected, d_gates, d_conv, d_heads, num_windows,
    T: tl.constexpr, R: tl.constexpr, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, W: tl.constexpr,
    ROWS: tl.constexpr, PRODUCTS: tl.constexpr, HAS_Z: tl.constexpr,
):  # fmt: skip
    INNER: tl.constexpr = H * P
    M: tl.constexpr = INNER + 2 * N
    STRIDE: tl.constexpr = M + H if HAS_Z else INNER + M + H
    GATE_STRIDE: tl.constexpr = INNER if HAS_Z else STRIDE
    rows, states, parts = tl.arange(0, ROWS), tl.arange(0, N), tl.arange(0, P)
    is_row, is_asked = rows < T, (rows < T) & (rows >= T - R)
    d_conv += tl.program_id(0) * (W + 1) * M
    d_heads += tl.program_id(0) * 3 * H
    window = tl.program_id(0)
    while window < num_windows:
        start = window.to(tl.int64) * T * STRIDE + (STRIDE - M - H)
        mixed, d_mixed = projected + start, d_projected + start
        at_gates = window.to(tl.int64) * (R if HAS_Z else T) * GATE_STRIDE - ((T - R) * GATE_STRIDE if HAS_Z else 0)
        at_grad = window.to(tl.int64) * R * INNER - (T - R) * INNER

        raw_b = _convolved(mixed, weight, bias, rows, INNER + states, T, STRIDE, M, W)
        raw_c = _convolved(mixed, weight, bias, rows, INNER + N + states, T, STRIDE, M, W)
        b, c = raw_b * tl.sigmoid(raw_b), raw_c * tl.sigmoid(raw_c)
        scores = tl.dot(c, tl.trans(b), input_precision=PRODUCTS)
        d_scores = tl.zeros((ROWS, ROWS), tl.float32)
        for head in range(H):
            columns = head * P + parts
            raw_dt = tl.load(mixed + rows * STRIDE + M + head, mask=is_row, other=0.0).to(tl.float32)
            raw_dt += tl.load(dt_bias + head)
            dt = tl.where(is_row, _softplus(raw_dt), 0.0)
            A = -tl.exp(tl.load(A_log + head))
            decay = _decay(tl.cumsum(dt * A, 0), rows, is_row)
            raw_x = _convolved(mixed, weight, bias, rows, columns, T, STRIDE, M, W)
            x = raw_x * tl.sigmoid(raw_x)
            skip = tl.load(D + head)
            decayed = decay * scores
            within = decayed * dt[None, :]
            y = tl.dot(within, x, input_precision=PRODUCTS) + skip * x

            tile = rows[:, None] * GATE_STRIDE + columns[None, :]
            z = tl.load(gates + at_gates + tile, mask=is_asked[:, None], other=0.0).to(tl.float32)
            out = tl.load(
                grad + at_grad + rows[:, None] * INNER + columns[None, :], mask=is_asked[:, None], other=0.0
            ).to(tl.float32)
            # Rows that were not asked for have no z of their own, or one that nothing depends on.
            is_written = is_asked if HAS_Z else is_row
            tl.store(d_gates + at_gates + tile, out * y * _silu_slope(z), mask=is_written[:, None])

            d_y = out * z * tl.sigmoid(z)
            d_within = tl.dot(d_y, tl.trans(x), input_precision=PRODUCTS)
            d_x = tl.dot(tl.trans(within), d_y, input_precision=PRODUCTS) + skip * d_y
            _unconvolved(
                d_x * _silu_slope(raw_x), mixed, weight, d_mixed, d_conv, rows, columns, T, STRIDE, M, ROWS, W
            )  # fmt: skip
            d_scores += d_within * decay * dt[None, :]
            # By cumulated_t, within's slope is within; by cumulated_s, -within: nothing on the diagonal. What a row
            # decays by is in the sums of all rows after it.
            flow = tl.where(rows[None, :] < rows[:, None], d_within * within, 0.0)
            d_log_decay = tl.cumsum(tl.sum(flow, 1) - tl.sum(flow, 0), 0, reverse=True)
            d_dt = tl.sum(d_within * decayed, 0) + A * d_log_decay
            d_raw_dt = tl.where(is_row, d_dt * tl.sigmoid(raw_dt), 0.0)
            tl.store(d_mixed + rows * STRIDE + M + head, d_raw_dt, mask=is_row)
            # exp(A_log) is its own slope: dA / dA_log = A.
            _add(d_heads + head, tl.sum(d_raw_dt, 0))
            _add(d_heads + H + head, tl.sum(tl.where(is_row, dt * d_log_decay, 0.0), 0) * A)
            _add(d_heads + 2 * H + head, tl.sum(tl.sum(d_y * x, 1), 0))
        d_b = tl.dot(tl.trans(d_scores), c, input_precision=PRODUCTS) * _silu_slope(raw_b)
        d_c = tl.dot(d_scores, b, input_precision=PRODUCTS) * _silu_slope(raw_c)
        _unconvolved(d_b, mixed, weight, d_mixed, d_conv, rows, INNER + states, T, STRIDE, M, ROWS, W)
        _unconvolved(d_c, mixed, weight, d_mixed, d_conv, rows, INNER + N + states, T, STRIDE, M, ROWS, W)
        # The next window adds to the same places, maybe from other threads of this program.
        tl.debug_barrier()
        window += tl.num_programs(0)


@triton.jit
def _add(place, value):
    tl.store(place, tl.load(place) + value)
