"""What holds in every row of every synthetic game, and what must occur at all."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.melee.action_states import AIRBORNE_STATES, GROUNDED_STATES
from worldmodel.melee.pad import BUTTONS
from worldmodel.replays.synth import ids
from worldmodel.replays.synth.profiles import ATTRIBUTE
from worldmodel.replays.synth.sim import FLAG
from worldmodel.schema.laws import AWAY

SLOPED_STAGES = (2, 8)


def both(mask):
    """(T, G) rows for both players."""
    return np.repeat(mask[..., None], 2, axis=-1)


def test_stocks_never_rise_and_fall_by_one_in_their_row_of_a_death(played):
    """The first one, but of who went out by the top."""
    change = np.diff(played.stocks.astype(int), axis=0)
    assert set(np.unique(change)) == {-1, 0}
    by_top = played.action_state == ids.DEAD_UP
    fell = ids.IS_DEAD[played.action_state] & ~by_top
    assert ((change == -1) & ~by_top[1:] == fell[1:] & ~fell[:-1]).all()
    rows = np.argwhere((change == -1) & by_top[1:])
    assert len(rows), "somebody goes out by the top"
    late = AWAY[ids.DEAD_UP].stock
    for t, game, player in rows:
        own = by_top[:, game, player]
        assert own[t + 1 - late : t + 2].all()
        assert not own[t - late]


def test_percent_falls_only_at_a_respawn(played):
    falls = np.diff(played.percent, axis=0) < 0
    assert falls.any()
    assert (played.action_state[1:][falls] == ids.REBIRTH).all()
    assert (played.percent[1:][falls] == 0).all()


def test_dead_fighters_respawn_and_are_guarded(played):
    starts = np.argwhere((played.action_state[1:] == ids.REBIRTH) & (played.action_state[:-1] != ids.REBIRTH))
    assert len(starts) > 3
    for t, game, player in starts:
        assert ids.IS_DEAD[played.action_state[t - 58 : t + 1, game, player]].all()
        assert played.last_hit_by[t + 1, game, player] == ids.NOBODY
    leaves = (played.action_state[1:] == ids.FALL) & (played.action_state[:-1] == ids.REBIRTH_WAIT)
    assert leaves.any()
    assert (played.hurtbox_state[1:][leaves] == 1).all()


def test_hitlag_freezes_positions_and_counts_down(played):
    frozen = (played.hitlag[1:] > 0) & (played.hitlag[:-1] > 0)
    assert frozen.sum() > 500
    for name in ("x", "y", "percent", "action_state", "knockback_x", "knockback_y", "misc_as"):
        values = getattr(played, name)
        same = values[1:] == values[:-1]
        again = (played.hitlag[1:] > played.hitlag[:-1]) & frozen  # hit a second time while frozen
        assert same[frozen & ~again].all(), name
    counted = frozen & (played.hitlag[1:] <= played.hitlag[:-1])
    assert (played.hitlag[1:][counted] == played.hitlag[:-1][counted] - 1).all()


def test_ages_count_by_one_and_stand_still_in_hitlag(played):
    same = (played.action_state[1:] == played.action_state[:-1]) & (played.state_age[1:] > 1)
    step = np.diff(played.state_age, axis=0)
    frozen = (played.hitlag[1:] > 0) & (played.hitlag[:-1] > 0)
    assert set(np.unique(step[same & frozen])) <= {0}
    moving = same & (played.hitlag[1:] == 0) & (played.hitlag[:-1] == 0)
    assert set(np.unique(step[moving])) == {1}


def test_position_is_the_sum_of_velocities(played):
    """The prior of the world model: exact in float32, outside hitlag, landing, death, respawn."""
    held = ids.IS_HELD[played.action_state]
    usual = (played.hitlag[1:] == 0) & ~held[1:] & ~held[:-1]
    landed = (played.airborne[1:] == 0) & (played.airborne[:-1] == 1)
    expected_x = played.x[:-1] + (played.self_x_air[1:] + played.knockback_x[1:])
    expected_y = played.y[:-1] + (played.self_y[1:] + played.knockback_y[1:])
    assert (played.x[1:] == expected_x)[usual].all()
    assert (np.abs(played.y[1:] - expected_y) < 1e-5)[usual & ~landed].all()
    assert usual.mean() > 0.8


def test_ground_speed_is_the_speed_on_the_ground(played):
    usual = (played.airborne[1:] == 0) & (played.airborne[:-1] == 0) & (played.hitlag[1:] == 0)
    assert (played.self_x_air[1:] == played.self_x_ground[1:])[usual].all()
    assert (played.self_x_ground[1:] == 0)[played.airborne[1:] == 1].mean() > 0.99


def test_flags_say_what_the_fields_say(played):
    def has(name):
        return (played.state_flags & FLAG[name]) != 0

    assert (has("in_hitlag") == (played.hitlag > 0)).all()
    assert (has("in_hitstun") == played.in_hitstun).all()
    assert (has("in_hitstun") == (played.misc_as > 0)).all()
    assert (has("dead") == ids.IS_DEAD[played.action_state]).all()
    assert (has("fastfall") == played.fast_falling).all()
    assert (has("intangible") == (played.hurtbox_state == 2)).all()


def test_hitstun_counts_down_outside_hitlag(played):
    both_stunned = played.in_hitstun[1:] & played.in_hitstun[:-1] & (played.hitlag[1:] == 0)
    assert both_stunned.sum() > 1000
    assert (played.misc_as[1:] == played.misc_as[:-1] - 1)[both_stunned].all()


def test_states_are_where_the_game_has_them(played):
    """No fighter stands in an air state or flies in a ground state (measured facts of real replays)."""
    states = played.action_state
    in_air = np.isin(states, list(AIRBORNE_STATES - {ids.ENTRY}))
    assert played.airborne[in_air].mean() > 0.999
    assert played.airborne[np.isin(states, list(GROUNDED_STATES))].max() == 0


def test_gravity_and_terminal_velocity(played):
    fastest = np.maximum(ATTRIBUTE["fast_fall"], ATTRIBUTE["terminal"])[played.states[0].profile]
    assert (played.self_y >= -fastest - 3.2).all()  # an air dodge may be faster
    jumping = (played.action_state[1:] == ids.JUMP_F) & (played.state_age[1:] > 1) & ~played.fast_falling[1:]
    jumping &= (played.hitlag[1:] == 0) & (played.airborne[:-1] == 1)
    gravity = np.broadcast_to(ATTRIBUTE["gravity"][played.states[0].profile], played.x.shape)[1:]
    fall = played.self_y[:-1] - played.self_y[1:]
    assert np.allclose(fall[jumping], gravity[jumping], atol=1e-5) or (fall[jumping] <= gravity[jumping] + 1e-5).all()


def test_a_press_of_jump_squats_in_the_same_row(played):
    """Alignment: pads of row t act in row t."""
    jump = (played.pad_buttons & BUTTONS["x"]) != 0
    edge = jump[1:] & ~jump[:-1]
    free = ids.STANDS[played.action_state[:-1]] & (played.hitlag[:-1] == 0)
    asked = edge & free
    assert asked.sum() > 50
    assert (played.action_state[1:][asked] == ids.KNEE_BEND).mean() > 0.9  # an up-special, or a slide off the edge
    started = (played.action_state[1:] == ids.KNEE_BEND) & (played.action_state[:-1] != ids.KNEE_BEND)
    stick_up = (played.pad_stick_y[1:] >= 0.66) & (played.pad_stick_y[:-1] < 0.66)
    assert (edge | stick_up)[started].all()


def test_l_cancels_last_one_row_and_halve_the_lag(played):
    for value in (1, 2):
        assert (played.l_cancel == value).sum() > 20
    shown = played.l_cancel > 0
    landings = (played.action_state >= ids.LANDING_AIR_N) & (played.action_state <= ids.LANDING_AIR_N + 4)
    assert landings[shown].all()
    assert (played.state_age[shown] == 0).all()
    assert not (shown[1:] & shown[:-1])[played.hitlag[1:] == 0].any()


@pytest.mark.parametrize("name", ["x", "y", "percent", "shield", "self_x_air", "self_y", "knockback_x", "knockback_y"])
def test_numbers_are_finite_float32(played, name):
    values = getattr(played, name)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_they_fight(played):
    """Everything that a model is to learn occurs."""
    rows = both(played.live)
    share = {name: ids_[played.action_state][rows].mean() for name, ids_ in _GROUPS.items()}
    assert share["shield"] > 0.005
    assert share["aerial"] > 0.03
    assert share["fly"] > 0.02
    hits = np.diff(played.percent, axis=0) > 0
    assert hits.mean() * 60 > 0.1  # hits per second and player; real games have about 0.3
    assert (np.diff(played.stocks.astype(int), axis=0) < 0).sum() > 20
    assert 0.25 < played.airborne[rows].mean() < 0.7
    assert set(np.unique(played.jumps)) == {0, 1, 2}
    assert (played.shield >= 0).all()
    assert (played.shield <= 60).all()
    assert played.combo_count.max() >= 3
    assert set(np.unique(played.last_hit_by)) == {0, 1, ids.NOBODY}
    assert (played.surface > 0).any()


_GROUPS = {"shield": ids.SHIELDS, "aerial": ids.IS_AERIAL, "fly": ids.IS_FLY}


def test_pads_are_on_the_grid(played):
    for name in ("stick_x", "stick_y", "cstick_x", "cstick_y"):
        steps = getattr(played, f"pad_{name}") * 80
        assert np.allclose(steps, np.round(steps), atol=1e-4)
        assert (np.abs(steps)[np.abs(steps) > 0.5] > 22.5).all()
    assert (np.hypot(played.pad_stick_x, played.pad_stick_y) <= 1.0001).all()
    steps = played.pad_trigger * 140
    assert np.allclose(steps, np.round(steps), atol=1e-4)
