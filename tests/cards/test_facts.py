"""The mission's derived figures, to the unit; and the card's arithmetic is training's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mission import (
    CONTEXT,
    NUM_FRAMES,
    NUM_GAMES,
    NUM_TRAIN_EXAMPLES,
    NUM_VAL_EXAMPLES,
    mission_lengths,
    write_counts,
)

from worldmodel.cards.data import REFERENCE_BYTES, DataFacts, Lengths, data_facts
from worldmodel.cards.facts import count_examples, facts_of, total_examples, windows_of
from worldmodel.cards.timing import Speeds, Timing
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import open_dataset
from worldmodel.errors import WrongUse
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate
from worldmodel.runs.card import Estimate
from worldmodel.training.config import Experiment, find_experiment, load_experiment
from worldmodel.training.plan import make_plan

MISSION = "mamba2-medium-gpu"


def mission_experiment(*overrides: str) -> Experiment:
    return load_experiment(find_experiment(MISSION), overrides=["training.epochs=3", *overrides])


def test_the_mission_card_to_the_unit(mission_data: DataFacts) -> None:
    facts = facts_of(mission_experiment(), mission_data)
    assert (mission_data.num_games, mission_data.num_frames) == (22_000, 206_754_081)
    assert str(facts.examples.train) == "185,648,963"
    assert str(facts.examples.val) == "20,885,118"
    assert str(facts.batches_per_epoch) == "181,298"
    assert str(facts.num_steps) == f"{3 * 181_298:,}"
    assert round(facts.rows_per_epoch) == 181
    assert facts.total.value == NUM_FRAMES - CONTEXT * NUM_GAMES == 206_534_081
    assert round(mission_data.num_frames * REFERENCE_BYTES / 1e9, 1) == 74.4
    assert facts.num_parameters == pytest.approx(4_300_000, rel=0.05)


def test_the_mission_cards_times(mission_data: DataFacts) -> None:
    facts = facts_of(mission_experiment(), mission_data)
    timing = Timing(facts, Speeds.guessed(Estimate(batch_s=0.06, load_s=164, source="the card")), 2.78, 5.0)
    assert timing.between_rows_s == pytest.approx(60)
    assert timing.epoch_s / 60 == pytest.approx(181, abs=0.5)
    assert timing.training_s / 3600 == pytest.approx(9.1, abs=0.05)
    assert timing.pessimistic_s / 3600 == pytest.approx(45, abs=1)
    assert timing.usd == pytest.approx(25, abs=0.5)
    assert timing.pessimistic_usd == pytest.approx(125, abs=2.5)
    assert 86400 / timing.total_s == pytest.approx(2.6, abs=0.05)


def test_by_list_order_is_the_reference_split(mission_data: DataFacts) -> None:
    """Theirs and ours differ in the split alone: on any other split, list order still gives the mission's figures."""
    lengths = mission_data.lengths
    assert lengths is not None
    shuffled = np.random.default_rng(0).random(NUM_GAMES) >= 0.1
    ours = Lengths(lengths.num_frames, shuffled)
    counted = count_examples(mission_data, mission_experiment(), ours)
    assert counted.train.value != NUM_TRAIN_EXAMPLES
    assert counted.total.value == NUM_TRAIN_EXAMPLES + NUM_VAL_EXAMPLES
    reference = count_examples(mission_data, mission_experiment(), ours.by_list_order())
    assert (reference.train.value, reference.val.value) == (NUM_TRAIN_EXAMPLES, NUM_VAL_EXAMPLES)


def test_a_manifest_alone_gives_the_mission_card(mission_dataset: Path, tmp_path: Path) -> None:
    shutil.copy(mission_dataset / "manifest.json", tmp_path)
    for path in (tmp_path, tmp_path / "manifest.json"):
        data = data_facts(path)
        assert data.lengths is None
        assert data.train_share == 0.9
        facts = facts_of(mission_experiment(), data)
        assert (str(facts.examples.train), str(facts.examples.val)) == ("185,648,963", "20,885,118")
        assert (str(facts.total), str(facts.batches_per_epoch)) == ("206,534,081", "181,298")
        strided = facts_of(mission_experiment("data.stride=7"), data)
        assert not strided.examples.train.is_exact
        assert strided.examples.train.value == pytest.approx(NUM_TRAIN_EXAMPLES / 7, rel=1e-3)


def test_a_manifest_from_before_it_had_splits(tmp_path: Path) -> None:
    """Totals are exact; the split is not in it, so those figures say that they are about right."""
    write_counts(tmp_path / "d", *mission_lengths(), with_splits=False)
    (tmp_path / "d" / "games-0.parquet").unlink()
    facts = facts_of(mission_experiment(), data_facts(tmp_path / "d"))
    assert (facts.total.value, facts.total.is_exact) == (206_534_081, True)
    assert str(facts.examples.train) == "about 185,880,673"
    assert facts.examples.train.value == pytest.approx(NUM_TRAIN_EXAMPLES, rel=0.002)
    assert not facts.batches_per_epoch.is_exact


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 20), st.integers(1, 9))
def test_windows_by_counting(lengths: list[int], context: int, stride: int) -> None:
    experiment = mission_experiment(f"data.context_len={context}", f"data.stride={stride}", "model.chunk_size=1")
    by_hand = sum(1 for length in lengths for start in range(0, length, stride) if start + context < length)
    assert windows_of(np.array(lengths), experiment) == by_hand
    data = DataFacts(Path(), "", len(lengths), sum(lengths), 0, min(lengths), None)
    total = total_examples(data, experiment)
    if total.is_exact:
        assert total.value == by_hand


def test_a_longer_stride_is_near(mission_data: DataFacts) -> None:
    """From totals alone, with games cut into strides, the estimate is close and says that it is one."""
    experiment = mission_experiment("data.stride=7")
    alone = DataFacts(Path(), "", mission_data.num_games, mission_data.num_frames, 0, 1800, None)
    total = total_examples(alone, experiment)
    assert not total.is_exact
    assert total.value == pytest.approx(total_examples(mission_data, experiment).value, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"mode": "sequence", "length": 16, "burn_in": 4}},
        {"data": {"mode": "sequence", "length": 8, "burn_in": 2, "carry": 3}},
        {"data": {"mode": "window", "context_len": 10, "stride": 3}},
    ],
)
def test_the_card_counts_as_training_does(tmp_path: Path, changes: dict[str, object]) -> None:
    for name, data in generate(12, 1, rules=Rules(max_frames=300)):
        (tmp_path / name).write_bytes(data)
    ingest(iter_sources([tmp_path]), tmp_path / "dataset", filters=(), min_frames=1, workers=1)
    sections = {
        "model": {"arch": "mamba2", "d_model": 32, "n_layers": 1, "d_state": 8, "headdim": 16},
        "training": {"epochs": 2, "batch_size": 16, "val_windows": 32, "val_every_fraction": 0.3},
    } | changes
    experiment = Experiment.model_validate(sections)
    plan = make_plan(experiment, open_dataset(tmp_path / "dataset"), torch.device("cpu"))
    shutil.rmtree(tmp_path / "dataset" / "shards")  # a card needs none of them
    facts = facts_of(experiment, data_facts(tmp_path / "dataset"))
    table, manifest = data_facts(tmp_path / "dataset").lengths, data_facts(tmp_path / "dataset").splits
    assert table is not None
    assert manifest is not None
    for split in ("train", "val"):
        assert (len(table.of(split)), table.of(split).sum()) == (manifest[split].num_games, manifest[split].num_frames)
    assert facts.examples.train.value == plan.batches.windows.num_windows
    assert facts.steps_per_epoch.value == plan.steps_per_epoch
    assert facts.num_steps.value == plan.num_steps
    assert facts.targets_per_window * plan.batches.size / experiment.data.carry == plan.targets_per_step
    validations = sum(plan.validates_after(step) for step in range(1, plan.steps_per_epoch + 1))
    assert facts.validations_per_epoch == validations


def test_no_dataset_says_so(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="no folder"):
        data_facts(tmp_path / "none")
    write_counts(tmp_path / "d", np.array([20, 30]), np.array([True, False]))
    assert data_facts(tmp_path / "d").train_share == 0.5
    (tmp_path / "d" / "games-0.parquet").write_bytes(b"damaged")
    with pytest.raises(WrongUse, match="games-0"):
        data_facts(tmp_path / "d")
