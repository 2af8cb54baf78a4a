"""Row weights: what they are on hand-made rows, and the shares that they give events in a sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frames_at_random import random_frames
from tiny_experiment import make_experiment

from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import Dataset
from worldmodel.errors import WrongUse
from worldmodel.evaluation import heldout
from worldmodel.nn.frames import DeviceBlock, State, aligned
from worldmodel.schema import LAYOUT
from worldmodel.training.config import Emphasis
from worldmodel.training.emphasis import (
    CHANGE,
    Condition,
    Emphasizer,
    conditions_met,
    make_emphasis,
    row_weights,
    solve_weights,
)

SHARES = {"hit": 0.2, "landing": 0.1}


def test_the_greatest_weight_counts_and_players_are_weighed_apart() -> None:
    states, pads, context = random_frames(1, 2)
    before, _, _ = aligned(states, pads)
    still = State(before.numbers, before.categories, before.flags)
    percent, state = LAYOUT.number("percent"), LAYOUT.category("action_state")
    numbers, codes = before.numbers.clone(), before.categories.clone()
    numbers[0, 0, 0, percent] = before.numbers[0, 0, 0, percent] + 1
    codes[0, 0, :, state] = (before.categories[0, 0, :, state] + 1) % 300
    conditions = (Condition(CHANGE, 3.0, 0, 0, None), Condition("hit", 7.0, 0, 0, 0.1))
    weigh = Emphasizer(conditions, 1)
    assert weigh(before, still, context).tolist() == [[[1.0, 1.0]]]
    assert weigh(before, State(before.numbers, codes, before.flags), context).tolist() == [[[3.0, 3.0]]]
    assert weigh(before, State(numbers, codes, before.flags), context).tolist() == [[[7.0, 3.0]]]
    lighter = Emphasizer((Condition(CHANGE, 0.5, 0, 0, None),), 1)
    assert lighter(before, State(numbers, codes, before.flags), context).tolist() == [[[0.5, 0.5]]]


def test_what_a_replay_cannot_tell_is_not_emphasised() -> None:
    states, pads, context = random_frames(3, 30, missing=True)
    previous, _, target = aligned(states, pads)
    weights = Emphasizer((Condition("landing", 9.0, 0, 0, 0.1),), 1)(previous, target, context)
    assert weights.dtype == torch.float32
    assert (weights[0] == 9).any()
    assert (weights[1] == 1).all()  # no `airborne` before Slippi 2.0


def test_events_have_their_share_of_weight_in_the_sample(dataset: Dataset) -> None:
    experiment = make_experiment(emphasis={"action_change": 2.0, "events": SHARES})
    emphasis = make_emphasis(experiment, dataset)
    assert emphasis is not None
    # All windows of all training games are the sample here: weigh them once more, as a step does.
    data = experiment.data
    games = dataset.rows(split="train")
    block = DeviceBlock.from_block(load_block(dataset, games))
    windows = heldout.windows(dataset.num_frames_per_game[games], length=data.length, burn_in=data.loss_from)
    states, pads, context = block.gather(torch.from_numpy(windows[:, :2].copy()), data.length + 1)
    previous, _, target = aligned(states, pads)
    rows = slice(data.loss_from, None)
    weights = emphasis(previous, target, context)[:, rows]
    met = conditions_met(previous, target, context, tuple(SHARES))[:, rows]
    total = float(weights.sum())
    of = {name: float(weights[met[..., k]].sum()) / total for k, name in enumerate(SHARES)}
    assert of == {name: pytest.approx(share, rel=1e-3) for name, share in SHARES.items()}
    for condition in emphasis.conditions:
        if condition.name in SHARES:
            assert condition.share == pytest.approx(SHARES[condition.name], rel=1e-6)
            assert condition.frequency == pytest.approx(
                float(met[..., list(SHARES).index(condition.name)].float().mean()), rel=1e-6
            )
    assert {float(value) for value in weights.unique()} <= {1.0, *(np.float32(c.weight) for c in emphasis.conditions)}


def test_it_is_a_function_of_experiment_and_dataset(dataset: Dataset) -> None:
    for data in ({}, {"burn_in": 0, "length": 40}):
        experiment = make_experiment(emphasis={"events": SHARES}, data=data)
        one, other = make_emphasis(experiment, dataset), make_emphasis(experiment, dataset)
        assert one is not None
        assert other is not None
        assert one.conditions == other.conditions
    text = "\n".join(one.describe())
    assert "hit" in text
    assert "20.0% of the loss's row weight" in text
    assert "all other rows weigh 1" in text


def test_no_emphasis_is_none(dataset: Dataset) -> None:
    assert make_emphasis(make_experiment(), dataset) is None
    assert make_emphasis(make_experiment(emphasis={}), dataset) is None
    only_changes = make_emphasis(make_experiment(emphasis={"action_change": 4.0}), dataset)
    assert only_changes is not None
    assert [(c.name, c.weight, c.wanted) for c in only_changes.conditions] == [(CHANGE, 4.0, None)]


def test_weights_are_capped_and_that_is_said(dataset: Dataset) -> None:
    emphasis = make_emphasis(make_experiment(emphasis={"events": {"hit": 0.9}, "max_weight": 5.0}), dataset)
    assert emphasis is not None
    assert emphasis.conditions[0].weight == 5.0
    assert emphasis.conditions[0].share < 0.9
    assert "instead of 90.0%" in emphasis.describe()[1]


@pytest.mark.parametrize(
    ("events", "found"), [({"dead": 0.1}, "did you mean 'death'"), ({"hit": 0.5, "death": 0.5}, "sum to 1")]
)
def test_bad_settings_are_refused(dataset: Dataset, events: dict[str, float], found: str) -> None:
    with pytest.raises(WrongUse, match=found):
        make_emphasis(make_experiment(emphasis={"events": events}), dataset)


def test_solving_with_overlaps_and_the_never_seen() -> None:
    """1,000 rows: 100 changes, 20 events a (half of them with a change), 5 events b (all with a), c never."""
    met = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]], bool)
    counts = np.array([890, 90, 5, 10, 5])
    settings = Emphasis(action_change=2.0, events={"hit": 0.3, "death": 0.1, "tech": 0.1}, max_weight=500.0)
    weights = solve_weights(met, counts, [None, 0.3, 0.1, 0.1], settings)
    row = row_weights(met, weights) * counts
    assert weights[0] == 2.0
    assert row[met[:, 1]].sum() / row.sum() == pytest.approx(0.3, rel=1e-6)
    assert row[met[:, 2]].sum() / row.sum() == pytest.approx(0.1, rel=1e-6)
    assert weights[3] == 500.0
