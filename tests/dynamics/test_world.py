"""Worlds: forks do not touch each other, what is kept comes back bit for bit, a history is steps one after another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from frames_at_random import random_frames
from safetensors import safe_open
from safetensors.torch import save_file

from worldmodel.dynamics.live import Live
from worldmodel.dynamics.moment import stack_moments, tensors_of_moment
from worldmodel.dynamics.policies import policies, policy
from worldmodel.dynamics.rollout import burn_in, nothing_seen, own_and_count, rollout
from worldmodel.dynamics.world import Moment, World, load_moment, save_moment
from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, architectures, make_model
from worldmodel.nn.frames import Pads, State, aligned

SMALL = {
    "mamba2": {"d_model": 32, "n_layers": 2, "d_state": 8, "headdim": 16},
    "mlp": {"context_len": 4, "d_token": 16, "hidden_dim": 32, "trunk_dim": 24},
}
every_arch = pytest.mark.parametrize("arch", architectures())


def build(arch: str = "mamba2", seed: int = 0, **more: object) -> WorldModel:
    torch.manual_seed(seed)
    return make_model({"arch": arch, **SMALL.get(arch, {}), **more}).double().eval()


def same(one: Moment, other: Moment) -> bool:
    """Bit for bit."""
    pairs = zip(tensors_of_moment(one), tensors_of_moment(other), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def same_state(one: State, other: State) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in State.__slots__)


def steps(world: World, moment: Moment, pads: Pads) -> Moment:
    for t in range(pads.numbers.shape[1]):
        moment = world.step(moment, pads[:, t])
    return moment


@every_arch
def test_forks_do_not_touch_each_other(arch: str) -> None:
    world = World(build(arch))
    states, pads, context = random_frames(3, 12, dtype=torch.float64)
    moment = world.begin(states[:, :4], pads[:, :4], context)
    before = moment.map(torch.clone)
    one = steps(world, moment, pads[:, 4:])
    other = steps(world, moment, pads[:, 4:].map(lambda t: t.flip(1)))
    assert same(moment, before)
    assert same(steps(world, moment, pads[:, 4:]), one)
    assert one.frames.tolist() == other.frames.tolist() == [8, 8, 8]
    if arch in SMALL:
        assert not same(one, other)


@every_arch
@pytest.mark.parametrize("num_rows", [1, 2, 5, 9])
def test_begun_over_a_history_is_stepped_through_it(arch: str, num_rows: int) -> None:
    """However long the history: the model has then seen what it would have seen frame by frame."""
    model = build(arch)
    states, pads, context = random_frames(2, 10, dtype=torch.float64, missing=True)
    moment = World(model).begin(states[:, :num_rows], pads[:, :num_rows], context)
    carried, dead_rows = own_and_count(nothing_seen(model, 2))
    with torch.no_grad():
        for t in range(1, num_rows):
            dead_rows = model.rules.laws.mortality.count(dead_rows, states[:, t - 1])
            _, carried = model.step(states[:, t - 1], pads[:, t], context, carried)
    assert same_state(moment.state, states[:, num_rows - 1])
    whole = Moment(moment.state, (carried, dead_rows), context, torch.zeros(2, dtype=torch.int64))
    for a, b in zip(tensors_of_moment(moment), tensors_of_moment(whole), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@every_arch
def test_rollout_is_dynamics_rollout_and_stepping(arch: str) -> None:
    world = World(build(arch))
    states, pads, context = random_frames(2, 12, dtype=torch.float64)
    moment = world.begin(states[:, :4], pads[:, :4], context)
    dream = world.rollout(moment, pads[:, 4:])
    carried, last = burn_in(world.model, states[:, :4], pads[:, :4], context)
    assert same_state(dream, rollout(world.model, carried, last, pads[:, 4:], context))
    assert same_state(dream[:, -1], steps(world, moment, pads[:, 4:]).state)


@pytest.mark.parametrize("heads", ["residual", "card"])
def test_step_is_forward_over_600_frames(heads: str) -> None:
    """float64: what ten seconds of steps predict is what the parallel form predicts of the same frames."""
    model = build(heads=heads)
    states, pads, context = random_frames(2, 40, dtype=torch.float64)
    world = World(model)
    moment = world.begin(states[:, :1], pads[:, :1], context)
    long = Pads(*(t.repeat(1, 15, *(1,) * (t.ndim - 2)) for t in (pads.numbers, pads.buttons)))
    dream = world.rollout(moment, long)
    seen = State(
        *(
            torch.cat([getattr(states[:, :1], name), getattr(dream, name)], 1)
            for name in ("numbers", "categories", "flags")
        )
    )
    pads_too = Pads(
        torch.cat([pads.numbers[:, :1], long.numbers], 1), torch.cat([pads.buttons[:, :1], long.buttons], 1)
    )
    previous, now, _ = aligned(seen, pads_too)
    with torch.no_grad():
        parallel = model(previous, now, context)
        carried = model.init_state(2)
        for t in range(600):
            alone, carried = model.step(previous[:, t], now[:, t], context, carried)
            for name in ("numbers", "gates", "categories", "flags"):
                one, other = getattr(alone, name), getattr(parallel[:, t], name)
                if one is not None:
                    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_worlds_are_chosen_and_mixed() -> None:
    world = World(build())
    states, pads, context = random_frames(4, 8, dtype=torch.float64, missing=True)
    moment = world.begin(states[:, :3], pads[:, :3], context)
    later = steps(world, moment, pads[:, 3:])
    assert len(moment) == 4
    assert len(moment[1]) == len(moment[-1]) == 1
    assert same(moment[-1], moment[3:])
    assert same(moment[torch.tensor([2, 2, 0])], stack_moments([moment[2], moment[2], moment[0]]))
    mask = torch.tensor([True, False, True, False])
    mixed = later.where(mask, moment)
    assert same(mixed[mask], later[mask])
    assert same(mixed[~mask], moment[~mask])
    # What a world becomes does not depend on its neighbours.
    alone = steps(world, moment[2], pads[2:3, 3:])
    for a, b in zip(tensors_of_moment(alone), tensors_of_moment(later[2]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    with pytest.raises(IndexError):
        moment[4]


@every_arch
@pytest.mark.parametrize("temperature", [None, 1.0])
def test_what_is_kept_comes_back_bit_for_bit(arch: str, temperature: float | None, tmp_path: Path) -> None:
    """Also the chances: a world that is drawn goes on as it would have gone on."""
    world = World(build(arch), temperature=temperature, seed=7)
    states, pads, context = random_frames(3, 12, dtype=torch.float64)
    moment = steps(world, world.begin(states[:, :3], pads[:, :3], context), pads[:, 3:6])
    world.save(moment, tmp_path / "moment")
    went_on = steps(world, moment, pads[:, 6:])
    again = World(build(arch), temperature=temperature, seed=99)
    back = again.load(tmp_path / "moment")
    assert same(back, moment)
    assert same(steps(again, back, pads[:, 6:]), went_on)


def test_a_moment_is_only_for_its_model(tmp_path: Path) -> None:
    world = World(build())
    moment = world.fresh(["Battlefield"], [("Fox", "Falco")])
    path = tmp_path / "moment"
    save_moment(moment, path, world.model)
    assert same(load_moment(path, world.model), moment)
    with pytest.raises(WrongUse, match="other weights"):
        load_moment(path, build(seed=1))
    with pytest.raises(WrongUse, match="no chances"):
        World(build(), temperature=1.0).load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WrongUse):
        load_moment(path, world.model)
    for other in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(WrongUse):
            load_moment(other, world.model)


@pytest.mark.parametrize("part", ["state.numbers", "context.stage", "frames", "carried.0", "last carried"])
def test_a_moment_without_a_part_is_one_line(part: str, tmp_path: Path) -> None:
    """As an older version kept them, before there was that part."""
    world = World(build())
    path = tmp_path / "moment"
    save_moment(world.fresh(["Battlefield"], [("Fox", "Falco")]), path, world.model)
    with safe_open(str(path), framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    last = max((name for name in tensors if name.startswith("carried.")), key=lambda name: int(name.split(".")[1]))
    del tensors[last if part == "last carried" else part]
    save_file(tensors, path, about)
    with pytest.raises(WrongUse, match=r"without .* expected all that a loop carries") as told:
        load_moment(path, world.model)
    assert "\n" not in str(told.value)


def test_seeds_make_chances() -> None:
    def dream(seed: int) -> State:
        world = World(build(), temperature=1.0, seed=seed)
        states, pads, context = random_frames(2, 12, dtype=torch.float64)
        return world.rollout(world.begin(states[:, :4], pads[:, :4], context), pads[:, 4:])

    assert same_state(dream(3), dream(3))
    assert not same_state(dream(3), dream(4))


@pytest.mark.parametrize("temperature", [None, 0.7])
def test_worlds_in_place_are_the_same_worlds(temperature: float | None) -> None:
    world = World(build(), temperature=temperature, seed=5)
    states, pads, context = random_frames(3, 12, dtype=torch.float64)
    moment = world.begin(states[:, :4], pads[:, :4], context)
    kept = moment.map(torch.clone)
    live = Live(World(world.model, temperature=temperature, seed=5), moment)
    for t in range(4, 12):
        live.step(pads[:, t])
    assert same(live.moment(), steps(world, moment, pads[:, 4:]))
    assert same(moment, kept)
    mask = torch.tensor([False, True, False])
    now = live.moment()
    live.replace(mask, moment)
    assert same(live.moment(), moment.where(mask, now))


@pytest.mark.slow
@pytest.mark.timeout(900)  # a compiler's minutes on a busy machine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("temperature", [None, 1.0])
def test_a_compiled_world_is_the_same_world(temperature: float | None) -> None:
    """float64, any number of worlds, and worlds in place too."""
    model = build()
    for num_worlds in (1, 3):
        states, pads, context = random_frames(num_worlds, 12, dtype=torch.float64)
        ends = []
        for compile in (False, True):
            world = World(model, temperature=temperature, seed=2, compile=compile)
            ends.append(steps(world, world.begin(states[:, :4], pads[:, :4], context), pads[:, 4:]))
        world = World(model, temperature=temperature, seed=2)
        live = Live(world, world.begin(states[:, :4], pads[:, :4], context), compile=temperature is None)
        for t in range(4, 12):
            live.step(pads[:, t])
        for end in (ends[1], live.moment()):
            for a, b in zip(tensors_of_moment(ends[0]), tensors_of_moment(end), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_captured_step_is_the_same_step() -> None:
    model = build().to("cuda")
    world = World(model)
    states, pads, context = random_frames(3, 12, dtype=torch.float64)
    moment = world.begin(states[:, :4].to("cuda"), pads[:, :4].to("cuda"), context.to("cuda"))
    live = Live(world, moment)
    assert same(live.moment(), moment)  # capturing leaves no trace
    for t in range(4, 12):
        live.step(pads[:, t].to("cuda"))
    for a, b in zip(
        tensors_of_moment(live.moment()), tensors_of_moment(steps(world, moment, pads[:, 4:].to("cuda"))), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", policies())
def test_policies_hold_pads_that_can_be_held(name: str) -> None:
    from worldmodel.schema import LAYOUT

    world = World(build())
    moment = world.fresh(["Battlefield", 32], [("Fox", "Falco"), ("Marth", "Peach")])
    pads = policy(name)(moment.state, moment.frames, torch.Generator().manual_seed(0))
    again = policy(name)(moment.state, moment.frames, torch.Generator().manual_seed(0))
    assert torch.equal(pads.numbers, again.numbers)
    assert torch.equal(pads.buttons, again.buttons)
    assert pads.numbers.shape == (2, 2, len(LAYOUT.pad_numbers))
    assert pads.numbers.dtype == moment.state.numbers.dtype
    assert pads.buttons.dtype == torch.bool
    low, high = torch.tensor([row.codec.bounds for row in LAYOUT.pad_numbers], dtype=torch.float64).T
    assert ((pads.numbers >= low) & (pads.numbers <= high)).all()
    if name in ("hold-forward", "approach"):  # they begin face to face
        assert pads.numbers[0].abs().sum() == 2
        assert pads.numbers[0, 0].sum() == -pads.numbers[0, 1].sum() == 1


def test_unknown_policies_are_named() -> None:
    with pytest.raises(WrongUse, match="neutral"):
        policy("nobody")
