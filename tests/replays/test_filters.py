"""Every rule rejects what it is for, says what it found, and lets an ordinary game pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slp_bytes as b

from worldmodel.errors import WrongUse
from worldmodel.replays.filters import DEFAULT_FILTERS, FILTERS, STRUCTURAL, apply_filters
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.replay import Replay


def ordinary() -> Replay:
    """A clean game of 1,900 frames: columns hold 0 except that sticks and buttons move."""
    rng = np.random.default_rng(0)
    replay = parse_replay(b.plain(1))
    replay.num_frames = 1900
    replay.columns = {name: np.zeros(1900, dtype=values.dtype) for name, values in replay.columns.items()}
    for name in ("p0.pad.stick_x", "p1.pad.stick_x"):
        replay.columns[name] = rng.choice([-1.0, 0.0, 1.0], 1900).astype(np.float32)
    return replay


def _set(**values: Any) -> Callable[[Replay], None]:
    return lambda replay: [setattr(replay, name, value) for name, value in values.items()] and None


def _player(**values: Any) -> Callable[[Replay], None]:
    def change(replay: Replay) -> None:
        replay.players = (replay.players[0], replace(replay.players[1], **values))

    return change


def _column(name: str, value: float, row: int = 77) -> Callable[[Replay], None]:
    return lambda replay: replay.columns[name].__setitem__(row, value)


def _mostly_idle(replay: Replay) -> None:
    replay.columns["p1.pad.stick_x"][:] = 0
    replay.columns["p1.pad.buttons"][::50] = 1


def _shorten(replay: Replay) -> None:
    replay.num_frames = 1799
    replay.columns = {name: values[:1799] for name, values in replay.columns.items()}


CASES = {
    "not_two_players": (lambda r: setattr(r, "players", r.players[:1]), "1 players"),
    "teams": (_set(is_teams=True), "teams"),
    "not_human": (_player(kind="cpu"), "port 2 is cpu"),
    "odd_mode": (_set(scene=(2, 19)), "scene 19"),
    "illegal_stage": (_set(stage=25), "stage 25 (Icicle Mountain)"),
    "not_four_stocks": (_player(stocks=1), "4 and 1 stocks"),
    "items_on": (_set(items_on=True), "items"),
    "odd_start": (_set(first_frame_id=65793), "first frame 65793"),
    "no_end": (_set(end_method="none"), "no Game End"),
    "unnatural_end": (_set(end_method="no_contest", quitter=1), "no_contest, port 2 quit"),
    "too_short": (_shorten, "1799 frames"),
    "ice_climbers": (_player(character=14), "port 2 is Ice Climbers"),
    "idle_player": (_mostly_idle, "port 2 changes its pad in 3.9%"),
    "unknown_value": (_column("p1.character", 33), "p1.character 33"),
    "not_finite": (_column("p0.y", np.nan), "p0.y nan"),
}


def test_an_ordinary_game_passes_every_rule() -> None:
    assert all(rule(ordinary()) is None for rule in FILTERS.values())
    assert apply_filters(ordinary(), FILTERS) is None


def test_every_rule_has_a_case_and_a_line_of_help() -> None:
    assert CASES.keys() == FILTERS.keys()
    assert all((rule.__doc__ or "").strip() and "\n" not in (rule.__doc__ or "").strip() for rule in FILTERS.values())
    assert FILTERS.keys() - DEFAULT_FILTERS == {"ice_climbers", "unnatural_end"}


@pytest.mark.parametrize("name", FILTERS)
def test_a_rule_rejects_its_case_and_can_be_switched_off(name: str) -> None:
    change, found = CASES[name]
    replay = ordinary()
    change(replay)
    reason, detail = apply_filters(replay, [name]) or ("", "")
    assert reason == name
    assert found in detail
    without = apply_filters(replay, FILTERS.keys() - {name})
    assert without is None or name in STRUCTURAL
    assert (apply_filters(replay) is None) == (name not in DEFAULT_FILTERS)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (_set(game_mode=0), "odd_mode"),
        (_set(end_method="none"), "no_end"),
        (_set(end_method="unresolved"), "unnatural_end"),
        (_set(end_method="game", quitter=0), "unnatural_end"),
        (_column("p0.l_cancel", 3), "unknown_value"),
        (_column("p1.pad.trigger", np.inf), "not_finite"),
        (_column("p1.misc_as", np.nan), None),  # an integer's bits: no model sees it as a number
        (_column("p0.action_state", 999), None),  # shares the entry "other"
        (_set(end_method="time"), None),
        (_set(end_method="resolved"), None),
        (_set(scene=None), None),
    ],
)
def test_edges(change: Callable[[Replay], None], name: str | None) -> None:
    replay = ordinary()
    change(replay)
    enabled = FILTERS.keys() - {"ice_climbers"}
    assert (apply_filters(replay, enabled) or (None,))[0] == name


def test_minimum_length_is_a_parameter() -> None:
    assert apply_filters(ordinary(), min_frames=1901) == ("too_short", "1900 frames")
    assert apply_filters(ordinary(), min_frames=1900) is None


def test_a_field_that_the_replay_lacks_breaks_no_rule() -> None:
    replay = ordinary()
    for name in [name for name in replay.columns if "pad" not in name]:
        del replay.columns[name]
    assert apply_filters(replay, FILTERS) is None


def test_an_unknown_filter_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match="use idle_player"):
        apply_filters(ordinary(), ["idle_players"])
