"""What every architecture of `models/` must do. A new file is tested by being there.

Letters: B sequences, T rows.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from frames_at_random import random_frames
from torch.utils._pytree import tree_leaves, tree_map

from worldmodel.dynamics.objective import GROUPS, loss
from worldmodel.dynamics.rollout import advance_model, nothing_seen
from worldmodel.models.base import NaiveModel, WorldModel, architectures, load_model, make_model, save_weights
from worldmodel.nn.codec import Prediction
from worldmodel.nn.frames import Pads, State, aligned

SMALL = {
    "mamba2": {"d_model": 32, "n_layers": 2, "d_state": 8, "headdim": 16, "chunk_size": 16, "frame_hidden": 24},
    "mlp": {"context_len": 5, "d_token": 16, "hidden_dim": 32, "trunk_dim": 24, "relative": True, "move_table": 50},
}
"""Sizes that keep the suite quick; an architecture that is not named here is tested with its defaults."""

ODD_LENGTHS = (1, 7, 37)
WEIGHTS = dict.fromkeys(GROUPS, 1.0)


def kinds(arch: str) -> tuple[str, ...]:
    return ("residual",) if issubclass(type(make_model({"arch": arch})), NaiveModel) else ("residual", "card")


ALL = [(arch, kind) for arch in architectures() for kind in kinds(arch)]
LEARNING = [(arch, kind) for arch, kind in ALL if not isinstance(make_model({"arch": arch}), NaiveModel)]


def build(arch: str, kind: str, *, double: bool = True) -> WorldModel:
    torch.manual_seed(1)
    model = make_model({"arch": arch, "heads": kind, **SMALL.get(arch, {})})
    return model.double().eval() if double else model


def tensors(prediction: Prediction) -> list[torch.Tensor]:
    found = [prediction.numbers, prediction.gates, prediction.categories, prediction.flags]
    return [tensor.detach() for tensor in found if tensor is not None]


def assert_same(one: Prediction, other: Prediction, tolerance: float = 1e-12) -> None:
    for a, b in zip(tensors(one), tensors(other), strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize(("arch", "kind"), ALL)
@pytest.mark.parametrize("num_t", ODD_LENGTHS)
def test_step_equals_forward_equals_scan(arch: str, kind: str, num_t: int) -> None:
    model = build(arch, kind)
    states, pads, context = random_frames(3, num_t + 1, dtype=torch.float64, missing=True)
    previous, now, _ = aligned(states, pads)
    with torch.no_grad():
        whole = model(previous, now, context)
        state = model.init_state(3)
        for t in range(num_t):
            one, state = model.step(previous[:, t], now[:, t], context, state)
            assert_same(one, whole[:, t])
        # The same rows in two pieces, the state handed on; both end where stepping ended.
        cut = num_t // 2
        first, handed = None, model.init_state(3)
        if cut:
            first, handed = model.scan(previous[:, :cut], now[:, :cut], context, handed)
            assert_same(first, whole[:, :cut])
        rest, end = model.scan(previous[:, cut:], now[:, cut:], context, handed)
        assert_same(rest, whole[:, cut:])
        for a, b in zip(tree_leaves(end), tree_leaves(state), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("arch", "kind"), ALL)
def test_loss_from_only_leaves_rows_out(arch: str, kind: str) -> None:
    model = build(arch, kind)
    states, pads, context = random_frames(2, 10, dtype=torch.float64)
    previous, now, target = aligned(states, pads)
    whole, part = model(previous, now, context), model(previous, now, context, loss_from=5)
    assert_same(part, whole[:, 5:])
    args = (previous, target, context, model.rules, WEIGHTS)
    torch.testing.assert_close(loss(whole, *args, loss_from=5), loss(part, *args, loss_from=5))


@pytest.mark.parametrize(("arch", "kind"), ALL)
def test_causal(arch: str, kind: str) -> None:
    """Output t does not move when anything after t moves: states from t on, pads from t+1 on."""
    model = build(arch, kind)
    states, pads, context = random_frames(2, 14, seed=1, dtype=torch.float64)
    others, other_pads, _ = random_frames(2, 14, seed=2, dtype=torch.float64)
    for row in (1, 4, 12):
        mixed = State(
            torch.cat([states.numbers[:, :row], others.numbers[:, row:]], 1),
            torch.cat([states.categories[:, :row], others.categories[:, row:]], 1),
            torch.cat([states.flags[:, :row], others.flags[:, row:]], 1),
        )
        mixed_pads = Pads(
            torch.cat([pads.numbers[:, : row + 1], other_pads.numbers[:, row + 1 :]], 1),
            torch.cat([pads.buttons[:, : row + 1], other_pads.buttons[:, row + 1 :]], 1),
        )
        before, now, _ = aligned(states, pads)
        before_mixed, now_mixed, _ = aligned(mixed, mixed_pads)
        # After `aligned`, output row-1 is the prediction of state[row].
        assert_same(model(before_mixed, now_mixed, context)[:, :row], model(before, now, context)[:, :row], 0.0)


@pytest.mark.parametrize(("arch", "kind"), LEARNING)
def test_alignment_pads_of_a_frame_move_that_frame(arch: str, kind: str) -> None:
    """A button pressed in row t moves the prediction of state[t], and none before it."""
    model = build(arch, kind)
    states, pads, context = random_frames(2, 9, dtype=torch.float64)
    row = 5
    for button in range(pads.buttons.shape[-1]):
        pressed = pads.buttons.clone()
        pressed[:, row, 1, button] ^= True
        before, now, _ = aligned(states, pads)
        _, now_pressed, _ = aligned(states, Pads(pads.numbers, pressed))
        one, other = model(before, now, context), model(before, now_pressed, context)
        assert_same(one[:, : row - 1], other[:, : row - 1], 0.0)
        assert all((a[:, row - 1] != b[:, row - 1]).any() for a, b in zip(tensors(one), tensors(other), strict=True))


@pytest.mark.parametrize(("arch", "kind"), LEARNING)
def test_every_parameter_gets_gradient(arch: str, kind: str) -> None:
    model = build(arch, kind)
    states, pads, context = random_frames(6, 20, dtype=torch.float64, missing=True)
    previous, now, target = aligned(states, pads)
    total, _, _ = loss(model(previous, now, context), previous, target, context, model.rules, WEIGHTS)
    total.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any() or not parameter.grad.isfinite().all()
    ]
    assert not without


@pytest.mark.parametrize(("arch", "kind"), ALL)
def test_stepping_leaves_the_given_state_alone(arch: str, kind: str) -> None:
    """A state may be forked: two futures from one past do not see each other."""
    model = build(arch, kind)
    states, pads, context = random_frames(2, 12, dtype=torch.float64)
    previous, now, _ = aligned(states, pads)
    with torch.no_grad():
        _, state = model.scan(previous[:, :6], now[:, :6], context, model.init_state(2))
        copy = tree_map(torch.clone, state)
        one, _ = model.step(previous[:, 6], now[:, 6], context, state)
        _, other = model.step(previous[:, 7], now[:, 7], context, state)
        model.step(previous[:, 8], now[:, 8], context, other)
        model.scan(previous[:, 6:], now[:, 6:], context, state)
        again, _ = model.step(previous[:, 6], now[:, 6], context, state)
    for a, b in zip(tree_leaves(state), tree_leaves(copy), strict=True):
        assert torch.equal(a, b)
    assert_same(one, again, 0.0)


@pytest.mark.parametrize(("arch", "kind"), ALL)
def test_state_does_not_grow(arch: str, kind: str) -> None:
    model = build(arch, kind)
    states, pads, context = random_frames(1, 30, dtype=torch.float64)
    previous, now, _ = aligned(states, pads)
    start = model.init_state(1)
    _, later = model.scan(previous, now, context, start)
    assert [leaf.shape for leaf in tree_leaves(later)] == [leaf.shape for leaf in tree_leaves(start)]
    assert [leaf.dtype for leaf in tree_leaves(later)] == [leaf.dtype for leaf in tree_leaves(start)]
    # No leaf is a view that keeps a long history alive.
    assert all(leaf.untyped_storage().nbytes() <= 2 * leaf.nbytes for leaf in tree_leaves(later))


@pytest.mark.parametrize(("arch", "kind"), ALL)
def test_sequences_of_a_batch_do_not_see_each_other(arch: str, kind: str) -> None:
    model = build(arch, kind)
    states, pads, context = random_frames(3, 8, dtype=torch.float64, missing=True)
    previous, now, _ = aligned(states, pads)
    alone = model(previous[1:2], now[1:2], context[1:2])
    assert_same(model(previous, now, context)[1:2], alone)


@pytest.mark.parametrize(("arch", "kind"), ALL)
def test_weights_survive_a_file(arch: str, kind: str, tmp_path: Path) -> None:
    model = build(arch, kind, double=False)
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    loaded = load_model(path)
    assert loaded.config == model.config
    states, pads, context = random_frames(2, 6)
    previous, now, _ = aligned(states, pads)
    assert_same(loaded(previous, now, context), model.eval()(previous, now, context), 0.0)


@pytest.mark.parametrize(("arch", "kind"), LEARNING)
def test_loss_falls(arch: str, kind: str) -> None:
    model = build(arch, kind, double=False).train()
    states, pads, context = random_frames(4, 12, missing=True)
    previous, now, target = aligned(states, pads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    values = []
    for _ in range(25):
        optimizer.zero_grad()
        total, _, _ = loss(model(previous, now, context), previous, target, context, model.rules, WEIGHTS)
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert values[-1] < 0.92 * values[0]


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "kind"), [(arch, kind) for arch, kind in LEARNING if kind == "residual"])
def test_one_graph(arch: str, kind: str) -> None:
    """Forward, loss and a step of the closed loop trace whole: no data-dependent Python, no value read back."""
    model = build(arch, kind, double=False)
    states, pads, context = random_frames(2, 8)
    previous, now, target = aligned(states, pads)

    def total(previous: State, now: Pads, target: State) -> torch.Tensor:
        prediction = model(previous, now, context, loss_from=2)
        return loss(prediction, previous, target, context, model.rules, WEIGHTS, loss_from=2)[0]

    compiled = torch.compile(total, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(previous, now, target), total(previous, now, target))
    step = torch.compile(advance_model, backend="eager", fullgraph=True)
    carried = nothing_seen(model, 2)
    for _ in range(2):
        frame, carried = step(model, carried, states[:, 0], pads[:, 1], context)
    assert frame.numbers.isfinite().all()


@pytest.mark.parametrize(("arch", "kind"), LEARNING)
def test_low_precision_only_rounds(arch: str, kind: str) -> None:
    """Under bfloat16 autocast the loss is taken in float32 and stays near."""
    model = build(arch, kind, double=False)
    states, pads, context = random_frames(4, 12, missing=True)
    previous, now, target = aligned(states, pads)

    def total() -> torch.Tensor:
        return loss(model(previous, now, context), previous, target, context, model.rules, WEIGHTS)[0]

    exact = total()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = total()
    assert rounded.dtype == torch.float32
    rounded.backward()
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
