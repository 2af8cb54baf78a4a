"""Self-forcing: whose frames are shown where, that they are the model's own, and that nothing else is touched."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from frames_at_random import random_frames
from tiny_experiment import make_experiment
from torch.utils._python_dispatch import TorchDispatchMode

from worldmodel.dynamics.objective import loss
from worldmodel.dynamics.rollout import burn_in, rollout
from worldmodel.dynamics.step import advance
from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, make_model
from worldmodel.nn.frames import Context, Pads, State, aligned
from worldmodel.training.config import Experiment, SelfForcing
from worldmodel.training.disturbance import Presented, Slots, make_disturbances
from worldmodel.training.self_forcing import OwnFrames, curriculum

CPU = torch.device("cpu")
B, T = 8, 12
STEPS = 1000
ALL = Slots(0, B, B)
MODELS: dict[str, dict[str, Any]] = {
    "mamba2": {"arch": "mamba2", "d_model": 16, "n_layers": 1, "d_state": 4, "headdim": 8, "chunk_size": 4},
    "mlp": {"arch": "mlp", "context_len": 4, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8},
}
FULL = {"every": 3, "max_frames": 4, "begin": 0.0, "reach": 0.0}

Batch = tuple[State, Pads, State, Context]


def experiment(mode: str = "sequence", **settings: object) -> Experiment:
    data = {"mode": "sequence", "length": T, "burn_in": 3}
    if mode == "window":
        data = {"mode": "window", "context_len": T}
    base = make_experiment().model_dump(mode="json")
    return Experiment.model_validate(base | {"data": data, "self_forcing": FULL | settings})


def make(mode: str = "sequence", **settings: object) -> OwnFrames:
    (one,) = make_disturbances(experiment(mode, **settings), STEPS, 100, CPU)
    assert isinstance(one, OwnFrames)
    return one


def model_of(arch: str, heads: str = "residual", *, seed: int = 0) -> WorldModel:
    torch.manual_seed(seed)
    return make_model(MODELS[arch] | {"heads": heads})


@pytest.fixture(scope="module")
def batch() -> Batch:
    states, pads, context = random_frames(B, T + 1, missing=True)
    previous, now, target = aligned(states, pads)
    return previous, now, target, context


def run(
    own: OwnFrames, model: WorldModel, batch: Batch, *, step: int = 0, slots: Slots = ALL, noisy: State | None = None
) -> Presented:
    previous, pads, _, context = batch
    part = slice(slots.first, slots.first + slots.num_local)
    shown = (noisy or previous)[part]
    return own.apply(
        Presented(shown, previous[part]), previous[part], pads[part], context[part], step=step, model=model, slots=slots
    )


def differs(left: State, right: State) -> torch.Tensor:
    """(B,T) bool: any value of a row differs."""
    return (
        (left.numbers != right.numbers).flatten(2).any(-1)
        | (left.categories != right.categories).flatten(2).any(-1)
        | (left.flags != right.flags).flatten(2).any(-1)
    )


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("mode", ["sequence", "window"])
def test_own_frames_stand_where_they_should_and_nowhere_else(arch: str, mode: str, batch: Batch) -> None:
    """Other slots, and rows before and after, are those that were presented, bit for bit."""
    previous, pads, _, context = batch
    model, own = model_of(arch), make(mode)
    presented = run(own, model, batch)
    s, chosen = own.start(0), [0, 3, 6]
    if mode == "window":
        assert s == T - 1 - 4  # the last frames of the context
    expected = torch.zeros(B, T, dtype=torch.bool)
    for slot in chosen:
        expected[slot, s + 1 : s + 5] = True
    found = differs(presented.shown, previous)
    assert not (found & ~expected).any()
    assert found[chosen, s + 1].all()  # an untrained model is not exactly right on frames at random
    # They are what a rollout gives, begun from the true frames.
    whole = Pads(torch.cat([pads.numbers[:, :1], pads.numbers], 1), torch.cat([pads.buttons[:, :1], pads.buttons], 1))
    memory, last = burn_in(model.eval(), previous[chosen, : s + 1], whole[chosen, : s + 1], context[chosen])
    wanted = rollout(model, memory, last, pads[chosen, s : s + 4], context[chosen])
    assert not differs(presented.shown[chosen, s + 1 : s + 5], wanted).any()
    # What is shown there is also what targets are relative to; elsewhere targets are as they were.
    assert not differs(presented.origin, presented.shown).any()


def test_targets_lead_from_own_frames_to_the_truth(batch: Batch) -> None:
    previous, _, target, context = batch
    model = model_of("mamba2").double()
    presented = run(make(), model, (previous.double(), batch[1].double(), target.double(), context))
    prediction = model.rules.encode_state(presented.origin, target.double())
    landed = advance(presented.origin, prediction, context, model.rules)
    torch.testing.assert_close(landed.numbers, target.numbers.double(), rtol=0, atol=1e-9)


def test_it_starts_from_what_was_presented(batch: Batch) -> None:
    """After noise with clean targets: own frames follow the noisy ones, and the noisy rows keep their clean origin."""
    previous = batch[0]
    noisy = State(previous.numbers + 0.5, previous.categories, previous.flags)
    own = make()
    plain, after_noise = run(own, model_of("mamba2"), batch), run(own, model_of("mamba2"), batch, noisy=noisy)
    s = own.start(0)
    mine = slice(s + 1, s + 5)
    assert differs(plain.shown[0:1, mine], after_noise.shown[0:1, mine]).all()
    assert not differs(after_noise.origin[0:1, mine], after_noise.shown[0:1, mine]).any()
    assert not differs(after_noise.origin[1:3], previous[1:3]).any()
    assert not differs(after_noise.shown[1:3], noisy[1:3]).any()


@pytest.mark.parametrize("cut", [(0, 4, 8), (0, 1, 2, 8), (0, 2, 4, 6, 8)])
def test_parts_are_the_whole(cut: tuple[int, ...], batch: Batch) -> None:
    """Which slots are chosen goes by the global batch; a process may have none."""
    model, own = model_of("mamba2"), make()
    whole = run(own, model, batch).shown
    for low, high in pairwise(cut):
        part = run(own, model, batch, slots=Slots(low, high - low, B)).shown
        torch.testing.assert_close(part.numbers, whole.numbers[low:high], rtol=1e-5, atol=1e-5)
        assert torch.equal(part.categories, whole.categories[low:high])
        assert torch.equal(part.flags, whole.flags[low:high])
    presented = Presented(batch[0][1:3], batch[0][1:3])
    assert own.apply(
        presented, batch[0][1:3], batch[1][1:3], batch[3][1:3], step=0, model=model, slots=Slots(1, 2, B)
    ) is presented  # fmt: skip


def test_the_curriculum_reaches_and_begins_in_steps() -> None:
    settings = SelfForcing(max_frames=5, begin=0.2, reach=0.6)
    found = [curriculum(settings, 100, step) for step in range(100)]
    assert found[:20] == [0] * 20
    assert found[20] == 1
    assert found == sorted(found)
    assert set(found) == {0, 1, 2, 3, 4, 5}
    assert found[59] == 4
    assert found[60:] == [5] * 40
    at_once = SelfForcing(max_frames=5, begin=0.5, reach=0.5)
    assert [curriculum(at_once, 10, step) for step in range(10)] == [0] * 5 + [5] * 5
    lines = make(max_frames=5, begin=0.2, reach=0.6).describe()
    assert lines[1].strip() == "own frames by step  0: 0  200: 1  300: 2  400: 3  500: 4  600: 5"
    assert make(max_frames=1, begin=0.0, reach=1.0).describe()[1].strip() == "own frames by step  0: 1"


def test_before_it_begins_nothing_is_touched(batch: Batch) -> None:
    presented = run(make(begin=0.5, reach=0.6), model_of("mamba2"), batch)
    assert not differs(presented.shown, batch[0]).any()


def test_the_start_is_drawn_from_seed_and_step() -> None:
    """Every own frame has a loss (burn-in 3), and is inside the sequence."""
    own, again = make(), make()
    starts = [own.start(step) for step in range(200)]
    assert starts == [again.start(step) for step in range(200)]
    assert (min(starts), max(starts)) == (2, T - 1 - 4)
    assert len(set(starts)) == T - 1 - 4 - 2 + 1
    assert {make("window").start(step) for step in range(20)} == {T - 1 - 4}


def test_it_draws_the_same_frames_again_and_leaves_the_mode(batch: Batch) -> None:
    model = model_of("mamba2").train()
    one, other = run(make(), model, batch, step=5).shown, run(make(), model, batch, step=5).shown
    assert torch.equal(one.numbers, other.numbers)
    assert model.training
    assert all(module.training for module in model.modules())
    assert not one.numbers.requires_grad
    run(make(), model.eval(), batch)
    assert not model.training


@pytest.mark.parametrize("heads", ["residual", "card"])
@pytest.mark.parametrize("arch", MODELS)
def test_wild_own_frames_do_not_poison_training(arch: str, heads: str, batch: Batch) -> None:
    """A model that answers wildly, or with no number at all: frames stay in bounds, loss and gradient finite."""
    _, pads, target, context = batch
    for wild in (1.0, 1e4, float("nan")):
        model = model_of(arch, heads)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(wild)
        shown = run(make(), model, batch).shown
        assert shown.numbers.isfinite().all()
        inside = (shown.numbers >= model.rules.low) & (shown.numbers <= model.rules.high)
        assert inside.all()
        sane = model_of(arch, heads)  # what a step would do with such frames
        weights = experiment().weights
        costs = loss(sane(shown, pads, context), shown, target, context, sane.rules, weights)
        costs.total.backward()
        assert costs.total.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in sane.parameters())


def test_nothing_waits_for_the_device(batch: Batch) -> None:
    seen: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func.name())
            return func(*args, **(kwargs or {}))

    model, own = model_of("mamba2"), make()
    with Watch():
        run(own, model, batch)
    assert len(seen) > 100
    assert not {name for name in seen if "local_scalar" in name or "nonzero" in name or "item" in name}


def test_half_precision_goes_through(batch: Batch) -> None:
    settings = experiment().model_dump(mode="json")
    settings["training"]["precision"] = "bf16"
    (own,) = make_disturbances(Experiment.model_validate(settings), STEPS, 100, CPU)
    assert isinstance(own, OwnFrames)
    shown = run(own, model_of("mamba2"), batch).shown
    assert shown.numbers.dtype == torch.float32
    assert shown.numbers.isfinite().all()


def test_more_own_frames_than_are_shown_are_refused() -> None:
    make("window", max_frames=T - 1)
    with pytest.raises(WrongUse, match=f"at most {T - 1}"):
        make("window", max_frames=T)
