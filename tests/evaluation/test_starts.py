"""Frozen starts: spread evenly, before their events, the same every time, told apart by one digest."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from memory_games import MemoryDataset

from worldmodel.evaluation import heldout
from worldmodel.evaluation import starts as starts_room
from worldmodel.evaluation.starts import LEAD_FRAMES, Starts
from worldmodel.schema.events import EVENTS


def starts(lengths: list[int], num_starts: int, seed: int = 0) -> np.ndarray:
    games = heldout.choose_games(MemoryDataset(lengths))  # type: ignore[arg-type]
    return starts_room.uniform(games, num_starts=num_starts, earliest=4, horizon=10, seed=seed).at


def test_starts_are_spread_evenly_and_fit_into_their_games() -> None:
    found = starts([100, 80, 60, 14, 15], 22)
    # 14 frames: 4 before, the start, 10 to dream, less one: unusable. 15 frames: exactly one start.
    *long_games, too_short, just_enough = np.bincount(found[:, 0], minlength=5).tolist()
    assert set(long_games) <= {5, 6}
    assert (too_short, just_enough) == (0, 1)
    lengths = np.array([100, 80, 60, 14, 15])
    assert (found[:, 1] >= 4).all()
    assert (found[:, 1] + 10 < lengths[found[:, 0]]).all()
    assert len(np.unique(found, axis=0)) == len(found)


def test_starts_are_frozen_by_the_seed_and_independent_of_other_games() -> None:
    assert (starts([100, 80], 10) == starts([100, 80], 10)).all()
    assert (starts([100, 80], 10)[:, 1] != starts([100, 80], 10, seed=1)[:, 1]).any()
    alone, together = starts([100], 5), starts([100, 80, 90], 15)
    assert (together[together[:, 0] == 0, 1] == alone[:, 1]).all()


def test_more_games_than_starts_gives_each_chosen_game_one() -> None:
    found = starts([100] * 9, 4)
    assert len(np.unique(found[:, 0])) == 4


def test_no_game_is_long_enough() -> None:
    assert starts([10, 5], 4).shape == (0, 2)


# ---- before events ----


def before_events(dataset: MemoryDataset, num_starts: int = 10**9, seed: int = 0) -> Starts:
    games = heldout.choose_games(dataset)  # type: ignore[arg-type]
    return starts_room.before_events(
        dataset,  # type: ignore[arg-type]
        games, num_starts=num_starts, earliest=4, horizon=14, seed=seed,
    )  # fmt: skip


def test_each_conditioned_start_has_its_event_so_many_frames_later(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset([60, 50, 30, 12])
    found = before_events(dataset)
    expected = set()
    for place in range(4):
        happened, _ = dataset.game(place).events()
        for row, player, event in zip(*np.nonzero(happened), strict=True):
            if row - LEAD_FRAMES >= 4 and row - LEAD_FRAMES + 14 < dataset.num_frames_per_game[place]:
                expected.add((place, int(row) - LEAD_FRAMES, int(event), int(player)))
    got = rows(found)
    assert len(got) == len(expected) > 50
    assert set(got) == expected
    assert got == sorted(got)


def test_fewer_conditioned_starts_are_a_seeded_choice_of_each_kind(in_memory: SimpleNamespace) -> None:
    dataset = in_memory.dataset([60, 50, 40])
    everything = set(rows(before_events(dataset)))
    few, again, other = (before_events(dataset, 3, seed) for seed in (0, 0, 1))
    counts = np.bincount(few.event[:, 0], minlength=len(EVENTS))
    assert counts.max() == 3
    assert set(rows(few)) <= everything
    np.testing.assert_array_equal(few.at, again.at)
    assert few.at.tolist() != other.at.tolist()


def rows(found: Starts) -> list[tuple[int, ...]]:
    """(place, row, event, player) of each."""
    return [(*at, *event) for at, event in zip(found.at.tolist(), found.event.tolist(), strict=True)]


def test_the_references_seeds_are_its_own_whatever_ours_is() -> None:
    games = heldout.choose_games(MemoryDataset([80, 90, 20]))  # type: ignore[arg-type]
    found = starts_room.of_the_reference(games, earliest=5)
    assert len(found) == 300
    assert set(found.at[:, 0].tolist()) == {0, 1}, "the third game is too short"
    assert (found.at[:, 1] >= 5).all()
    assert (found.at[:, 1] + found.horizon < games.num_frames[found.at[:, 0]]).all()


# ---- the digest ----


def test_the_digest_tells_data_rows_events_and_horizons_apart() -> None:
    games = heldout.choose_games(MemoryDataset([80, 90]))  # type: ignore[arg-type]
    none = np.zeros((0, 2), np.int64)

    def digest(content: str = "a", row: int = 7, event: int = 1, horizon: int = 9, name: str = "uniform") -> str:
        lists = {
            name: Starts(horizon, np.array([[0, row]]), none),
            "e": Starts(9, np.array([[1, 2]]), np.array([[event, 0]])),
        }
        return starts_room.digest(content, games, lists)

    others = {digest(content="b"), digest(row=8), digest(event=2), digest(horizon=8), digest(name="long")}
    assert len(others) == 5
    assert digest() == digest()
    assert digest() not in others
