"""Episodes: where they begin, when they end, what a seed fixes, and that it is the one transition that plays them."""

from __future__ import annotations

import copy

import pytest
import torch
from fading import DEATH, LIFE, faded

from worldmodel.dataset.store import Dataset
from worldmodel.dynamics.moment import flat_carried, stack_moments, tensors_of_moment
from worldmodel.dynamics.policies import policy
from worldmodel.dynamics.world import Moment, World
from worldmodel.env.controller import settle
from worldmodel.env.duel import Duel
from worldmodel.env.matches import Matches, Outcome
from worldmodel.env.setup import make_matches
from worldmodel.env.starts import Starts, fresh_starts, replay_starts
from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Pads
from worldmodel.schema import LAYOUT

STOCKS, PERCENT = LAYOUT.number("stocks"), LAYOUT.number("percent")


def pads_at_random(num_worlds: int, num_frames: int, seed: int = 0) -> list[Pads]:
    g = torch.Generator().manual_seed(seed)
    return [
        Pads(torch.rand(num_worlds, 2, 5, generator=g) * 2 - 1, torch.rand(num_worlds, 2, 8, generator=g) < 0.2)
        for _ in range(num_frames)
    ]


def play(matches: Matches, pads: list[Pads], seed: int | None = 0) -> list[Outcome]:
    matches.reset(seed)
    return [matches.step(now) for now in pads]


def same(one: list[Outcome], two: list[Outcome]) -> bool:
    return all(
        torch.equal(getattr(a.state, name), getattr(b.state, name))
        for a, b in zip(one, two, strict=True)
        for name in ("numbers", "categories", "flags")
    ) and all(torch.equal(a.reward, b.reward) for a, b in zip(one, two, strict=True))


def copy_of(moment: Moment) -> Moment:
    return moment.map(torch.clone)


def equal(one: Moment, two: Moment) -> bool:
    pairs = zip(tensors_of_moment(one), tensors_of_moment(two), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_is_the_one_transition(dreamer: WorldModel) -> None:
    """The same frames as a bare world under the settled pads, bit for bit."""
    matches = make_matches(dreamer, 3, stages=["Battlefield"])
    pads = pads_at_random(3, 20)
    outcomes = play(matches, pads)
    world = World(dreamer)
    moment = world.fresh(["Battlefield"] * 3, [("Fox", "Marth")] * 3)
    for now, outcome in zip(pads, outcomes, strict=True):
        moment = world.step(moment, settle(now))
        assert torch.equal(outcome.state.numbers, moment.state.numbers)
        assert torch.equal(outcome.state.categories, moment.state.categories)
        assert torch.equal(outcome.state.flags, moment.state.flags)


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_in_place_is_the_same(dreamer: WorldModel, temperature: float | None) -> None:
    """One set of buffers: the same frames, rewards and ends, over new episodes and a second reset."""
    pads = pads_at_random(5, 17)
    kept, in_place = (
        make_matches(dreamer, 5, max_frames=6, temperature=temperature, in_place=flag) for flag in (False, True)
    )
    for seed in (0, 1):
        one, two = play(kept, pads, seed), play(in_place, pads, seed)
        assert same(one, two)
        assert [o.began.tolist() for o in one] == [o.began.tolist() for o in two]
        assert equal(kept.moment, in_place.moment)
    moment = in_place.moment
    copy = copy_of(moment)
    in_place.step(pads[0])
    assert equal(moment, copy)


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_compiled_is_nearly_the_same(dreamer: WorldModel, in_place: bool) -> None:
    """A few frames: the last digits differ, so that codes may part later."""
    pads = pads_at_random(3, 6)
    plain = play(make_matches(dreamer, 3, max_frames=3), pads)
    compiled = play(make_matches(dreamer, 3, max_frames=3, in_place=in_place, compile=True), pads)
    for mine, theirs in zip(plain, compiled, strict=True):
        assert mine.began.tolist() == theirs.began.tolist()
        assert torch.allclose(mine.state.numbers, theirs.state.numbers, rtol=1e-4, atol=1e-3)


def test_terminated_rewarded_and_begun_anew(fading: WorldModel) -> None:
    """Two stocks are two lives and the death between them."""
    matches = make_matches(fading, 2, stocks=2, reward="damage_and_stocks")
    last = LIFE + DEATH + LIFE
    outcomes = play(matches, pads_at_random(2, 2 * last + 10))
    for number, outcome in enumerate(outcomes, start=1):
        frame = number % (last + 1)
        ends, begins = frame == last, frame == 0
        assert outcome.terminated.tolist() == [ends] * 2
        assert outcome.began.tolist() == [begins] * 2
        assert outcome.frames.tolist() == [frame] * 2
        assert not outcome.truncated.any()
        percent, died = faded(frame)
        expected = 1.0 if died else max(0.0, percent - faded(frame - 1)[0]) / 100
        assert outcome.reward[0].tolist() == pytest.approx([expected, -expected])
        if begins:
            assert outcome.state.numbers[:, :, STOCKS].tolist() == [[2, 2], [2, 2]]
            assert outcome.state.numbers[:, 1, PERCENT].tolist() == [0, 0]


def test_truncated_by_time_and_never_both(fading: WorldModel) -> None:
    outcomes = play(make_matches(fading, 1, stocks=1, max_frames=LIFE), pads_at_random(1, LIFE))
    assert [bool(o.truncated) for o in outcomes] == [False] * LIFE  # the last stock falls in that very frame
    assert bool(outcomes[-1].terminated)
    outcomes = play(make_matches(fading, 1, stocks=1, max_frames=LIFE - 1), pads_at_random(1, LIFE))
    assert [frame for frame, o in enumerate(outcomes, start=1) if bool(o.truncated)] == [LIFE - 1]
    assert bool(outcomes[-1].began)


def test_worlds_end_one_by_one(fading: WorldModel) -> None:
    """Starts with 3 stocks and with 1: the one world begins anew while the other plays on."""
    world = World(fading)
    many, few = (fresh_starts(world, stages=[31], stocks=stocks) for stocks in (3, 1))
    starts = Starts(stack_moments([many.moment, few.moment]), None, many.about + few.about)
    matches = Matches(world, starts, 2)
    matches.reset(options={"start": [0, 1]})
    seen = []
    for now in pads_at_random(2, 9):
        outcome = matches.step(now)
        seen.append((outcome.terminated.tolist(), outcome.began.tolist(), outcome.frames.tolist()))
    assert seen[4] == ([False, True], [False, False], [5, 5])
    assert seen[5] == ([False, False], [False, True], [6, 0])
    assert seen[6][2] == [7, 1]
    assert matches.start_numbers[0] == 0


def test_moments_stay_what_they_are(dreamer: WorldModel) -> None:
    """A kept moment is a fork, also over a step in which worlds begin anew in place."""
    matches = make_matches(dreamer, 4, max_frames=3)
    matches.reset(0)
    kept = []
    for now in pads_at_random(4, 9):
        kept.append((matches.moment, copy_of(matches.moment)))
        matches.step(now)
    assert all(equal(moment, copy) for moment, copy in kept)
    start = copy_of(matches.starts.moment)
    assert equal(matches.starts.moment, start)


def test_a_new_episode_is_the_one_that_a_reset_gives(dreamer: WorldModel) -> None:
    """Nothing of the episode before is left over: neither in the frame, nor in what the model carries."""
    pads = pads_at_random(1, 11)
    matches = make_matches(dreamer, 1, stages=[31], max_frames=5)
    again = play(matches, pads)[6:]
    straight = play(make_matches(dreamer, 1, stages=[31]), pads[6:11])
    assert same(again, straight)
    assert any(bool((tensor != 0).any()) for tensor in flat_carried(matches.moment.carried))


def test_same_seed_same_frames(dreamer: WorldModel) -> None:
    pads = pads_at_random(6, 15)
    runs = [play(make_matches(dreamer, 6, temperature=1.0, max_frames=7), pads, seed) for seed in (5, 5, 6)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    again = make_matches(dreamer, 6, temperature=1.0, max_frames=7)
    play(again, pads, 6)
    assert same(play(again, pads, 5), runs[0])  # whatever was played before


def test_worlds_differ_when_they_are_drawn(dreamer: WorldModel) -> None:
    now = [Pads(p.numbers[:1].expand(4, 2, 5), p.buttons[:1].expand(4, 2, 8)) for p in pads_at_random(1, 20)]
    drawn = play(make_matches(dreamer, 4, temperature=1.0, stages=[31]), now)[-1].state.numbers
    sure = play(make_matches(dreamer, 4, stages=[31]), now)[-1].state.numbers
    assert len(drawn.flatten(1).unique(dim=0)) == 4
    assert len(sure.flatten(1).unique(dim=0)) == 1


def test_outcomes_can_be_trained_on(dreamer: WorldModel) -> None:
    matches = make_matches(dreamer, 2)
    first = matches.reset(0)
    outcome = matches.step(pads_at_random(2, 1)[0])
    layer = torch.nn.Linear(len(LAYOUT.numbers), 1)
    (layer(first.numbers).sum() + layer(outcome.state.numbers).sum() + outcome.reward.sum()).backward()
    assert layer.weight.grad is not None


# ---- replays -----------------------------------------------------------------------------------------------------


def test_starts_are_moments_of_the_replays(dreamer: WorldModel, dataset: Dataset) -> None:
    world = World(dreamer)
    starts = replay_starts(world, dataset, num_starts=5, seed=1, history_frames=30, recorded_frames=40)
    again = replay_starts(world, dataset, num_starts=5, seed=1, history_frames=30, recorded_frames=40)
    other = replay_starts(world, dataset, num_starts=5, seed=2, history_frames=30, recorded_frames=40)
    assert starts.about == again.about != other.about
    assert equal(starts.moment, again.moment)
    ids = dataset.games["game_id"].to_pylist()
    for place, origin in enumerate(starts.about):
        game = dataset.game(ids.index(origin.game_id))
        row = origin.frame_id - game.info["first_frame_id"]
        assert float(starts.moment.state.numbers[place, 1, PERCENT]) == game["p1.percent"][row]
        assert starts.pads is not None
        for frame in range(40):  # the first recorded pads are those of the next row
            assert float(starts.pads.numbers[place, frame, 0, 0]) == game["p0.pad.stick_x"][row + 1 + frame]


def test_an_opponent_of_a_replay_presses_what_was_pressed(dreamer: WorldModel, dataset: Dataset) -> None:
    matches = make_matches(
        dreamer, 3, until_recorded=True, dataset=dataset, num_starts=4, history_frames=10, recorded_frames=12
    )
    duel = Duel(matches, player=1, opponent="replay")
    duel.reset(0)
    for frame in range(30):
        start, begins = matches.start_numbers.clone(), frame % 13 == 12
        outcome = duel.step(torch.zeros(3, 5), torch.zeros(3, 8, dtype=torch.bool))
        assert outcome.began.tolist() == [begins] * 3
        assert outcome.truncated.tolist() == [frame % 13 == 11] * 3  # the recording ends
        if not begins:
            assert matches.starts.pads is not None
            assert torch.equal(outcome.pads.numbers[:, 0], matches.starts.pads.numbers[start, frame % 13, 0])
            assert not outcome.pads.numbers[:, 1].any()


def test_sides_are_turned(fading: WorldModel) -> None:
    """p1 is the one that fades."""
    for player, sign in ((0, 1.0), (1, -1.0)):
        duel = Duel(make_matches(fading, 1, reward="damage"), player=player)
        duel.reset(0)
        outcome = duel.step(torch.zeros(1, 5), torch.zeros(1, 8, dtype=torch.bool))
        assert outcome.reward[0].tolist() == [sign * 10, -sign * 10]
        assert float(outcome.state.numbers[0, 1 - player, PERCENT]) == 10


def test_opponents_by_name_and_by_function(dreamer: WorldModel) -> None:
    for opponent in ("approach", policy("approach")):
        duel = Duel(make_matches(dreamer, 2), opponent=opponent)
        duel.reset(0)
        outcome = duel.step(torch.zeros(2, 5), torch.zeros(2, 8, dtype=torch.bool))
        assert outcome.pads.numbers[:, 1, 0].tolist() == [-1.0, -1.0]  # p1 begins on the right


# ---- wrong use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"stage": ["Battlefield"]}, "option 'stage'"),
        ({"stages": ["Battlefeld"]}, "do you mean Battlefield"),
        ({"stages": []}, "no stage"),
        ({"reward": "points"}, "reward 'points'"),
        ({"max_frames": 0}, "0 frames"),
        ({"num_starts": 3}, "num_starts for new matches"),
        ({"until_recorded": True}, "without recorded pads"),
    ],
)
def test_wrong_options_are_one_line(dreamer: WorldModel, wrong: dict[str, object], words: str) -> None:
    with pytest.raises(WrongUse, match=words) as caught:
        make_matches(dreamer, 1, **wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_wrong_resets_and_steps(dreamer: WorldModel, dataset: Dataset) -> None:
    matches = make_matches(dreamer, 2)
    with pytest.raises(WrongUse, match="reset first"):
        matches.step(pads_at_random(2, 1)[0])
    with pytest.raises(WrongUse, match="reset option 'seed'"):
        matches.reset(options={"seed": 1})
    with pytest.raises(WrongUse, match="start 6"):
        matches.reset(options={"start": 6})
    with pytest.raises(WrongUse, match="opponent 'fox'"):
        Duel(matches, opponent="fox")
    with pytest.raises(WrongUse, match="player 2"):
        Duel(matches, player=2)
    with pytest.raises(WrongUse, match="stocks for moments"):
        make_matches(dreamer, 1, dataset=dataset, stocks=2)
    with pytest.raises(WrongUse, match="ask for less history"):
        make_matches(dreamer, 1, dataset=dataset, recorded_frames=10**6)


# ---- on a GPU ----------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("temperature", [None, 1.0])
def test_a_captured_graph_plays_the_same_matches(dreamer: WorldModel, temperature: float | None) -> None:
    """On a device: what ended is known on the host in time, and a graph's draws begin where the seed says."""
    model = copy.deepcopy(dreamer).to("cuda")
    pads = [now.to("cuda") for now in pads_at_random(5, 17)]
    kept, in_place = (
        make_matches(model, 5, max_frames=6, temperature=temperature, in_place=flag) for flag in (False, True)
    )
    for seed in (0, 1, 0):
        one, two = play(kept, pads, seed), play(in_place, pads, seed)
        for mine, theirs in zip(one, two, strict=True):
            assert torch.equal(mine.began, theirs.began)
            assert torch.equal(mine.frames, theirs.frames)
            if temperature is None:
                assert torch.allclose(mine.state.numbers, theirs.state.numbers, rtol=1e-4, atol=1e-3)
    again = play(in_place, pads, 0)
    assert same(again, play(in_place, pads, 0))
