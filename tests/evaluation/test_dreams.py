"""Measures of whole rollouts, on frames made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memory_games import MemoryDataset
from torch import Tensor

from worldmodel.evaluation import dreams
from worldmodel.evaluation.dreams import EVENT_COUNTS, IMPOSSIBLE, WINDOW_FRAMES
from worldmodel.melee.stages import GEOMETRY
from worldmodel.nn.frames import Context, DeviceBlock, State
from worldmodel.schema import LAYOUT, STAGE
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.schema.events import EVENTS

NUM_T = 4


def still(num_t: int = NUM_T) -> tuple[State, State, Context]:
    """One start, frames that are all like it, and a context where nothing is missing, on Battlefield."""
    dataset = MemoryDataset([30])
    start = dataset.states()[:1]
    start.numbers[...] = 1.0
    start.numbers[..., LAYOUT.number("position_y")] = 0.0
    frames = State(*(getattr(start, n)[:, None].repeat(1, num_t, 1, 1) for n in ("numbers", "categories", "flags")))
    context = DeviceBlock.from_block(dataset.load(np.array([0]))).context
    context.stage[:] = 31 + STAGE.offset
    return start, frames, context


def changed(frames: State, role: str, value: float, *, t: int = 2, player: int = 1) -> State:
    numbers = frames.numbers.clone()
    numbers[0, t, player, LAYOUT.number(role)] = value
    return State(numbers, frames.categories, frames.flags)


@pytest.mark.parametrize(
    ("role", "value", "expected"),
    [
        ("percent", torch.nan, "not_finite"),
        ("percent", -1.0, "out_of_bounds"),
        ("position_x", 400.0, "runaway"),
        ("stocks", 2.0, "stocks_rose"),
    ],
)
def test_impossible_states_are_seen_in_their_frame(role: str, value: float, expected: str) -> None:
    start, frames, context = still()
    assert not dreams.impossible_states(frames, start, context).any()
    found = dreams.impossible_states(changed(frames, role, value), start, context)[0]
    assert found.shape == (NUM_T, len(IMPOSSIBLE))
    assert [IMPOSSIBLE[kind] for kind in found.any(0).nonzero().flatten()] == [expected]
    assert found.any(1).tolist() == [False, False, True, False]


def test_what_a_replay_lacks_contradicts_nothing() -> None:
    start, frames, context = still()
    risen = changed(frames, "stocks", 3.0)
    at = list(CONTRADICTIONS).index("stocks_up")
    assert dreams.facts(risen, start, context).contradicts[0, :, 1, at].tolist() == [False, False, True, False]
    context.present_numbers[:, LAYOUT.number("stocks")] = False
    facts = dreams.facts(risen, start, context)
    assert not facts.contradicts[..., at].any()
    assert not facts.knows[0, at]


def test_the_first_frame_is_compared_with_the_start() -> None:
    start, frames, context = still()
    start.numbers[..., LAYOUT.number("stocks")] = 0.0
    at = list(CONTRADICTIONS).index("stocks_up")
    assert dreams.facts(frames, start, context).contradicts[0, :, 0, at].tolist() == [True, False, False, False]


def test_off_stage_is_past_the_edge_or_a_blast_zone() -> None:
    stage = GEOMETRY[31]
    start, frames, context = still()

    def off(role: str, value: float) -> bool:
        return bool(dreams.facts(changed(frames, role, value), start, context).off_stage.any())

    assert not off("position_x", stage.edge - 0.1)
    assert off("position_x", stage.edge + 0.1)
    assert off("position_x", -stage.edge - 0.1)
    assert off("position_y", stage.bottom - 1)
    assert off("position_y", stage.top + 1)
    context.stage[:] = 10 + STAGE.offset  # a stage whose geometry is not known
    assert not off("position_x", 300.0)


def test_drift_counts_rollouts_and_not_what_is_off_in_truth_too() -> None:
    start, frames, context = still()
    away = changed(frames, "position_x", 100.0)
    true, dreamed = dreams.facts(frames, start, context), dreams.facts(away, start, context)
    numerator, denominator = dreams.curve_terms(away, frames, dreamed, true)
    assert numerator[0, :, 1].tolist() == [0, 0, 1, 0]
    assert denominator[0, :, 1].tolist() == [1, 1, 1, 1]
    assert dreams.curve_terms(away, away, dreamed, dreamed)[0][..., 1].sum() == 0


def times(num_t: int, *at: int, player: int = 0) -> Tensor:
    """(1,T,2,E): the first kind of event at some frames."""
    out = torch.zeros(1, num_t, 2, len(EVENTS), dtype=torch.bool)
    out[0, list(at), player, 0] = True
    return out


def counts(dream: Tensor, truth: Tensor) -> dict[str, float]:
    return dict(zip(EVENT_COUNTS, dreams.event_counts(dream, truth)[0, 0].tolist(), strict=True))


def test_events_are_matched_within_the_window_and_by_player() -> None:
    w = WINDOW_FRAMES
    near = counts(times(40, 10 + w), times(40, 10))
    assert near == {"true": 1, "found": 1, "dreamed": 1, "right": 1, "true_all": 1, "dreamed_all": 1}
    far = counts(times(40, 11 + w), times(40, 10))
    assert (far["found"], far["right"]) == (0, 0)
    other = counts(times(40, 10, player=1), times(40, 10))
    assert (other["found"], other["right"]) == (0, 0)


def test_the_last_frames_are_not_held_against_either_side() -> None:
    """The partner of an event there may lie beyond the end."""
    late = counts(times(40, 38), times(40, 37))
    assert late == {"true": 0, "found": 0, "dreamed": 0, "right": 0, "true_all": 1, "dreamed_all": 1}
    # One of the last frames may still be the partner of an earlier one.
    assert counts(times(40, 38), times(40, 34))["found"] == 1


def test_a_conditioned_event_must_be_of_its_kind_player_and_time() -> None:
    event, player = torch.tensor([0]), torch.tensor([1])

    def produced(*at: int, player_of: int = 1) -> bool:
        return bool(dreams.produced(times(30, *at, player=player_of), event, player, 9))

    assert produced(9)
    assert produced(9 - WINDOW_FRAMES)
    assert produced(9 + WINDOW_FRAMES)
    assert not produced(10 + WINDOW_FRAMES)
    assert not produced(9, player_of=0)
    assert not bool(dreams.produced(times(30, 9, player=1), torch.tensor([1]), player, 9))


def test_frames_until_the_first_wrong_one() -> None:
    wrong = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]], dtype=torch.bool)
    assert dreams.frames_until(wrong).tolist() == [2, 4, 0, 1]
