"""What disturbs the frames that are shown: the card's noise to the letter, ours in physical units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from frames_at_random import random_frames
from tiny_experiment import make_experiment

from worldmodel.dynamics.objective import group_counts
from worldmodel.dynamics.step import advance
from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, make_model
from worldmodel.nn.frames import Context, Pads, State, aligned
from worldmodel.schema import LAYOUT
from worldmodel.schema.field import Number
from worldmodel.training.config import ContextNoise, ScheduledSampling
from worldmodel.training.disturbance import (
    OFF,
    TOUCHED,
    CardNoise,
    Disturbance,
    Drift,
    Presented,
    Slots,
    ar1,
    make_disturbances,
    step_generator,
    touched_on,
)

CPU = torch.device("cpu")
B, T, N = 4000, 10, len(LAYOUT.numbers)
ALL = Slots(0, B, B)
EPOCH = 100
STEPS = 10 * EPOCH
STRONG = 3 * EPOCH
"""A step at which everything is as strong as it gets."""
DRIFTS = torch.tensor([row.drift for row in LAYOUT.numbers])
MODEL = make_model({"arch": "copy_last"})


def card(**settings: object) -> CardNoise:
    return CardNoise(ScheduledSampling(**settings), STEPS, EPOCH, seed=0, device=CPU)  # type: ignore[arg-type]


def drift(seed: int = 0, length: int = T, **settings: object) -> Drift:
    return Drift(ContextNoise(**settings), STEPS, length=length, seed=seed, device=CPU)  # type: ignore[arg-type]


BOTH: list[Callable[[], Disturbance]] = [card, drift]


@pytest.fixture(scope="module")
def previous() -> State:
    """Numbers in the middle of their bounds, so that nothing is projected."""
    generator = torch.Generator().manual_seed(0)
    return State(
        20 + torch.randn(B, T, 2, N, generator=generator),
        torch.randint(0, 3, (B, T, 2, len(LAYOUT.categories)), generator=generator),
        torch.rand(B, T, 2, len(LAYOUT.flag_bits), generator=generator) > 0.5,
    )


def context(present: bool = True, num_b: int = B) -> Context:
    def full(size: int) -> torch.Tensor:
        return torch.full((num_b, size), present)

    return Context(torch.zeros(num_b).long(), full(N), full(len(LAYOUT.categories)), full(len(LAYOUT.flag_bits)))


def run(
    disturbance: Disturbance,
    previous: State,
    *,
    step: int = STRONG,
    slots: Slots = ALL,
    within: Context | None = None,
    model: WorldModel = MODEL,
) -> Presented:
    num_b, num_t = previous.numbers.shape[:2]
    pads = Pads(torch.zeros(num_b, num_t, 2, 1), torch.zeros(num_b, num_t, 2, 1).bool())
    return disturbance.apply(
        Presented(previous, previous), previous, pads, within or context(num_b=num_b),
        step=step, model=model, slots=slots,
    )  # fmt: skip


# ---- the card's --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "rate", "noise"), [(0, 0, 0), (1, 0.1, 0.1 / 3), (2, 0.2, 0.2 / 3), (3, 0.3, 0.1), (9, 0.3, 0.1)]
)
def test_the_cards_schedule(epoch: int, rate: float, noise: float) -> None:
    found = card().strength(epoch)
    assert (found.rate, found.noise) == (pytest.approx(rate), pytest.approx(noise))
    assert (found == OFF) == (epoch == 0)


def test_only_core_and_velocity_may_be_touched() -> None:
    """Four core numbers and five speeds; never stocks, hitlag, combo, hitstun or the age of a state."""
    allowed = {LAYOUT.the(role) for role in ("percent", "shield", "position_x", "position_y")}
    allowed |= set(LAYOUT.with_role("velocity"))
    assert {LAYOUT.numbers[index] for index in TOUCHED} == allowed
    assert len(allowed) == 9
    # Ours touches the same: the mask is the schema's.
    assert {row for row in LAYOUT.rows if row.drift} == allowed


def test_what_the_card_touches_on_a_batch(previous: State) -> None:
    shown = run(card(), previous).shown
    touched = touched_on(previous, shown)
    assert [index for index in range(N) if touched[index]] == list(TOUCHED)
    changed = shown.numbers != previous.numbers
    assert not changed[:, :-3].any()  # the last three frames only
    assert changed[:, -3:, 0].any()  # both players
    assert changed[:, -3:, 1].any()
    assert shown.categories is previous.categories
    assert shown.flags is previous.flags


def test_the_cards_rate_is_per_sample_and_its_noise_on_scaled_values(previous: State) -> None:
    shown = run(card(), previous).shown
    delta = (shown.numbers - previous.numbers)[:, -3:][..., list(TOUCHED)]
    chosen = (delta != 0).flatten(1).any(1)
    assert (delta[chosen] != 0).all()  # a sample is touched everywhere or nowhere
    assert chosen.float().mean().item() == pytest.approx(0.3, abs=0.03)
    scale = torch.tensor([LAYOUT.numbers[index].codec.scale for index in TOUCHED])  # type: ignore[union-attr]
    scaled = delta[chosen] * scale
    assert torch.allclose(scaled.std((0, 1, 2)), torch.full((9,), 0.1), atol=0.005)
    assert torch.allclose(scaled.mean((0, 1, 2)), torch.zeros(9), atol=0.005)


def test_the_card_is_off_in_its_first_epoch(previous: State) -> None:
    assert run(card(), previous, step=EPOCH - 1).shown is previous
    assert run(card(), previous, step=EPOCH).shown is not previous


def test_more_frames_than_there_are(previous: State) -> None:
    changed = run(card(corrupt_frames=99, rate=1.0), previous).shown.numbers != previous.numbers
    assert changed[..., list(TOUCHED)].all()


# ---- ours --------------------------------------------------------------------------------------------------------


def test_the_ramp_truly_reaches() -> None:
    """At `ramp` of all steps, not an epoch or a run later, and however few steps there are."""
    noise = drift(rate=0.4, ramp=0.2)
    reached = int(0.2 * STEPS)
    assert noise.strength(0).rate == 0
    assert noise.strength(reached // 2) == replace(noise.strength(0), rate=0.2, noise=0.5)
    assert noise.strength(reached - 1).noise < 1
    for step in (reached, reached + 1, STEPS - 1):
        assert noise.strength(step) == replace(noise.strength(0), rate=0.4, noise=1.0)
    assert drift(rate=0.4, ramp=0.0).strength(0).rate == 0.4
    few = Drift(ContextNoise(rate=0.4, ramp=0.1), 3, length=T, seed=0, device=CPU)
    assert [few.strength(step).rate for step in range(3)] == [0, 0.4, 0.4]


def test_drift_has_its_size_in_the_fields_unit_on_every_frame(previous: State) -> None:
    presented = run(drift(rate=0.5), previous)
    delta = presented.shown.numbers - previous.numbers
    touched = DRIFTS > 0
    assert not delta[..., ~touched].any()
    chosen = (delta != 0).flatten(1).any(1)
    assert chosen.float().mean().item() == pytest.approx(0.5, abs=0.03)
    size = delta[chosen][..., touched].std((0, 2)) / DRIFTS[touched]
    assert torch.allclose(size, torch.ones_like(size), atol=0.06)  # every one of the frames: stationary
    assert delta[chosen][..., touched].mean((0, 1, 2)).abs().max() < 0.1
    assert presented.origin is presented.shown  # corrective
    assert run(drift(targets="clean"), previous).origin is previous


def test_drift_is_correlated_over_time_and_not_across_samples(previous: State) -> None:
    delta = (run(drift(rate=1.0, correlation=0.8), previous).shown.numbers - previous.numbers)[..., DRIFTS > 0]
    path = (delta / DRIFTS[DRIFTS > 0]).permute(1, 0, 2, 3).flatten(1)
    for lag in (1, 2, 5):
        assert (path[:-lag] * path[lag:]).mean().item() == pytest.approx(0.8**lag, abs=0.02)
    assert (path[:, ::2] * path[:, 1::2]).mean().abs() < 0.02


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.99])
def test_ar1_is_the_recursion_in_closed_form(correlation: float) -> None:
    mix = ar1(12, correlation).double()
    white = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = [white[0]]
    for t in range(1, 12):
        rows.append(correlation * rows[-1] + (1 - correlation**2) ** 0.5 * white[t])
    torch.testing.assert_close(mix @ white, torch.stack(rows), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close((mix @ mix.T).diagonal(), torch.ones(12).double(), rtol=1e-6, atol=1e-6)


def test_drift_stays_in_bounds_and_leaves_the_rest_bit_for_bit() -> None:
    states, pads, within = random_frames(64, T + 1)
    previous, _, _ = aligned(states, pads)
    numbers = previous.numbers.clone()
    numbers[..., LAYOUT.number("percent")] = 0.0
    numbers[..., LAYOUT.number("shield")] = 60.0
    numbers[..., LAYOUT.number("hitlag")] = 1e9  # out of bounds, but none of ours
    previous = State(numbers, previous.categories, previous.flags)
    shown = run(drift(rate=1.0), previous, slots=Slots(0, 64, 64), within=within).shown
    for index, row in enumerate(LAYOUT.numbers):
        assert isinstance(row.codec, Number)
        if row.drift:
            assert row.codec.bounds[0] <= shown.numbers[..., index].min()
            assert shown.numbers[..., index].max() <= row.codec.bounds[1]
        else:
            assert torch.equal(shown.numbers[..., index], numbers[..., index])
    assert (shown.numbers[..., LAYOUT.number("percent")] > 0).any()
    assert shown.categories is previous.categories
    assert shown.flags is previous.flags


def test_sizes_by_name() -> None:
    x = LAYOUT.the("position_x").name
    sizes = drift(scale=2.0, fields={x: 0.25}).sizes
    wanted = [0.25 if row.name == x else 2.0 * row.drift for row in LAYOUT.numbers]
    assert sizes == wanted
    with pytest.raises(WrongUse, match="did you mean 'percent'"):
        drift(fields={"procent": 1.0})
    with pytest.raises(WrongUse, match="stocks"):
        drift(fields={LAYOUT.the("stocks").name: 1.0})


@pytest.mark.parametrize("kind", ["residual", "card"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_corrective_target_leads_back_to_the_truth(kind: str, missing: bool) -> None:
    """Fed the true prediction from a disturbed frame, `advance` lands on the true next one, as far as laws allow.

    A percent that was shown too high cannot fall back: nobody heals, so a dream does not either.
    """
    model = make_model({"arch": "mlp", "heads": kind, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8}).double()
    states, pads, within = random_frames(6, T + 1, dtype=torch.float64, missing=missing)
    previous, _, target = aligned(states, pads)
    presented = run(drift(rate=1.0), previous, slots=Slots(0, 6, 6), within=within, model=model)
    assert not torch.equal(presented.origin.numbers, previous.numbers)
    prediction = model.rules.encode_state(presented.origin, target)
    landed = advance(presented.origin, prediction, within, model.rules)
    kept = model.rules.laws(presented.origin, target, within)
    torch.testing.assert_close(landed.numbers, kept.numbers, rtol=0, atol=1e-9)
    cut = {
        row.name
        for row, held in zip(LAYOUT.numbers, (kept.numbers == target.numbers).all(2).all(1).all(0), strict=True)
        if not held
    }
    assert cut <= {"percent", "x", "y"}, "the dead do not move either"
    assert torch.equal(landed.categories, kept.categories)
    assert torch.equal(landed.flags, kept.flags)


# ---- both --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", BOTH)
def test_what_is_missing_stays_as_it_is(make: Callable[[], Disturbance], previous: State) -> None:
    shown = run(make(), previous, within=context(present=False)).shown
    assert torch.equal(shown.numbers, previous.numbers)


@pytest.mark.parametrize("make", BOTH)
def test_old_replays_are_disturbed_in_what_they_have(make: Callable[[], Disturbance]) -> None:
    """Real layouts: a replay without velocities gets noise on positions, percent and shield only."""
    states, pads, within = random_frames(300, T + 1, missing=True)
    previous, _, _ = aligned(states, pads)
    shown = run(make(), previous, slots=Slots(0, 300, 300), within=within).shown
    for b in (0, 1, 2):  # the three kinds of `random_context`
        touched = touched_on(previous[b::3], shown[b::3])
        assert torch.equal(touched, within.present_numbers[b] & (DRIFTS > 0))


@pytest.mark.parametrize("make", BOTH)
def test_two_halves_are_the_whole(make: Callable[[], Disturbance], previous: State) -> None:
    """What a slot of the global batch sees does not depend on how many processes share the batch."""
    whole = run(make(), previous).shown.numbers
    for world in (2, 8):
        size = B // world
        parts = [
            run(make(), previous[k * size : (k + 1) * size], slots=Slots(k * size, size, B)).shown.numbers
            for k in range(world)
        ]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", BOTH)
def test_a_step_draws_what_it_always_draws(make: Callable[[], Disturbance], previous: State) -> None:
    first = run(make(), previous, step=STRONG).shown.numbers
    assert torch.equal(first, run(make(), previous, step=STRONG).shown.numbers)
    assert not torch.equal(first, run(make(), previous, step=STRONG + 1).shown.numbers)


def test_streams_and_seeds_draw_differently(previous: State) -> None:
    drawn = {
        torch.rand(1, generator=step_generator(seed, step, CPU, stream=stream)).item()
        for seed in (0, 1)
        for step in (0, 7)
        for stream in (0, 1)
    }
    assert len(drawn) == 8
    one, other = (run(drift(seed=seed), previous).shown.numbers for seed in (0, 1))
    assert not torch.equal(one, other)


def test_they_act_one_after_the_other(previous: State) -> None:
    experiment = make_experiment(scheduled_sampling={}, context_noise={"ramp": 0.0}, data={"length": T, "burn_in": 4})
    both = make_disturbances(experiment, STEPS, EPOCH, CPU)
    assert [type(one) for one in both] == [CardNoise, Drift]
    presented = run(both[0], previous)
    assert presented.origin is previous
    again = both[1].apply(
        presented, previous, Pads(torch.zeros(0), torch.zeros(0)), context(), step=STRONG, model=MODEL, slots=ALL
    )
    assert not torch.equal(again.shown.numbers, presented.shown.numbers)
    assert make_disturbances(make_experiment(), STEPS, EPOCH, CPU) == []


def test_settled_batches_are_compiled_once() -> None:
    """Undisturbed, noise with clean targets, corrective noise, own frames: one graph serves them all."""
    from torch._dynamo.testing import CompileCounter

    from worldmodel.training.step import Objective

    model = make_model({"arch": "mlp", "context_len": 4, "d_token": 8, "hidden_dim": 8, "trunk_dim": 8})
    states, pads, within = random_frames(4, T + 1)
    previous, now, target = aligned(states, pads)
    noisy = State(previous.numbers + 1, previous.categories, previous.flags)
    own = previous.map(torch.clone)
    patterns = [(previous, previous), (noisy, previous), (noisy, noisy), (own, own), (own, previous)]
    counts = group_counts(within, T - 4, model.rules).sum(0)
    for settle, given, wanted in ((True, patterns, 1), (False, patterns[:2], 2)):
        torch._dynamo.reset()
        counter = CompileCounter()
        objective = Objective(model, make_experiment(), CPU)
        objective.compile(backend=counter, dynamic=False, fullgraph=True)
        for shown, origin in given:
            presented = Presented(shown, origin).settled() if settle else Presented(shown, origin)
            objective(presented, now, target, within, counts, None, None, 4)
        assert counter.frame_count == wanted, "without it there would be nothing to settle"
    torch._dynamo.reset()


def test_they_are_told_before_the_run() -> None:
    lines = CardNoise(ScheduledSampling(), 3 * EPOCH, EPOCH, seed=0, device=CPU).describe()
    assert LAYOUT.the("percent").name in lines[0]
    assert LAYOUT.the("stocks").name in lines[1]
    assert [line.split(":")[0].strip() for line in lines[2:]] == ["epoch 1", "epoch 2", "epoch 3"]
    assert "rate 0, noise 0" in lines[2]
    assert "rate 0.2, noise 0.0667" in lines[4]
    ours = drift(rate=0.5, ramp=0.1).describe()
    assert "x 2.5 game units" in ours[0]
    assert LAYOUT.the("stocks").name not in ours[0]
    assert ours[1].endswith("0: 0 x 0  50: 0.25 x 0.5  100: 0.5 x 1")
