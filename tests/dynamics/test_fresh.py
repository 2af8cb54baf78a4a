"""A new match begins as replays begin: held against the first rows of real and synthetic ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from worldmodel.dynamics.fresh import fresh_state
from worldmodel.dynamics.recording import Recording, open_recording
from worldmodel.errors import WrongUse
from worldmodel.melee.characters import EXTERNAL_NAMES
from worldmodel.melee.stages import GEOMETRY
from worldmodel.replays.synth.generate import write_games
from worldmodel.schema import LAYOUT


def differences(recording: Recording, *, stocks: int) -> set[str]:
    """Names of what a fresh match has otherwise than a recording's first row, of what that records."""
    states, _, context = recording.tensors()
    made, _ = fresh_state([recording.stage], [recording.characters], stocks=stocks)
    pairs = (
        (LAYOUT.numbers, made.numbers, states.numbers, context.present_numbers),
        (LAYOUT.categories, made.categories, states.categories, context.present_categories),
        (LAYOUT.flag_bits, made.flags, states.flags, context.present_flags),
    )
    return {
        row.name
        for rows, ours, theirs, present in pairs
        for k, row in enumerate(rows)
        if present[0, k] and not torch.equal(ours[0, :, k], theirs[0, 0, :, k])
    }


@pytest.mark.replays
def test_as_real_replays_begin(real_replays) -> None:
    files = sorted((real_replays / "train").rglob("*.slp"))
    assert len(files) > 200
    for file in files[::4]:
        recording = open_recording(str(file))
        assert differences(recording, stocks=4) == set(), file.name


def test_as_synthetic_replays_begin(tmp_path: Path) -> None:
    """But for the place, and the flag of the dead: the generator is simpler than the game there."""
    write_games(tmp_path / "synth", 6, seed=3)
    for file in sorted((tmp_path / "synth").rglob("*.slp")):
        recording = open_recording(str(file))
        stocks = int(recording.frames.columns["p0.stocks"][0])
        assert differences(recording, stocks=stocks) <= {"x", "y", "dead"}


def test_every_stage_and_every_character() -> None:
    stages, pairs = list(GEOMETRY) * len(EXTERNAL_NAMES), [(who, 2) for who in EXTERNAL_NAMES for _ in GEOMETRY]
    state, context = fresh_state(stages, pairs, stocks=1)
    assert state.numbers.shape == (len(stages), 2, len(LAYOUT.numbers))
    place = state.numbers[..., [LAYOUT.number("position_x"), LAYOUT.number("position_y")]]
    for k, number in enumerate(stages):
        stage = GEOMETRY[number]
        assert stage.left < place[k, 0, 0] < 0 < place[k, 1, 0] < stage.right
        assert ((place[k, :, 1] > stage.floor) & (place[k, :, 1] < stage.top)).all()
    assert (state.numbers[..., LAYOUT.number("stocks")] == 1).all()
    assert state.flags[..., LAYOUT.flag("facing")].tolist() == [[True, False]] * len(stages)
    assert context.present_numbers.all()


def test_names_and_ids_mean_the_same() -> None:
    one, _ = fresh_state(["final destination", "Yoshi's Story"], [("fox", "Dr. Mario"), (19, "2")])
    other, _ = fresh_state([32, 8], [(2, 22), ("Sheik", 2)])
    assert torch.equal(one.numbers, other.numbers)
    assert torch.equal(one.categories, other.categories)


@pytest.mark.parametrize(
    ("stages", "characters", "stocks"),
    [
        (["Batlefield"], [("Fox", "Fox")], 4),
        ([9], [("Fox", "Fox")], 4),
        ([31], [("Fox", "Nobody")], 4),
        ([31], [("Fox", 33)], 4),
        ([31], [("Fox",)], 4),
        ([31, 31], [("Fox", "Fox")], 4),
        ([31], [("Fox", "Fox")], 0),
        ([31], [("Fox", "Fox")], 100),
    ],
)
def test_what_cannot_begin_is_refused(stages: list, characters: list, stocks: int) -> None:
    with pytest.raises(WrongUse):
        fresh_state(stages, characters, stocks=stocks)
