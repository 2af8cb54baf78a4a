"""Facts of the game hold together; the numbers that real replays contradict would fail here first."""

import itertools

import pytest

from worldmodel.melee import action_states, characters, pad, stages
from worldmodel.schema import LAYOUT


def test_every_state_is_in_exactly_one_group():
    members = list(itertools.chain.from_iterable(action_states.GROUPS.values()))
    assert sorted(members) == list(range(action_states.NUM_STATES))
    assert len(action_states.NAMES) == len(action_states.GROUP_OF) == action_states.NUM_STATES
    assert len(set(action_states.NAMES)) == action_states.NUM_STATES


@pytest.mark.parametrize(
    ("number", "name", "group"),
    [
        (0, "DeadDown", "dead"),
        (11, "Sleep", "dead"),
        (12, "Rebirth", "respawn"),
        (14, "Wait", "standing"),
        (24, "KneeBend", "jump_squat"),
        (27, "JumpAerialF", "jump"),
        (38, "DamageFall", "tumble"),
        (69, "AttackAirLw", "aerial"),
        (91, "DamageFlyRoll", "damage_fly"),
        (178, "GuardOn", "shield"),
        (199, "Passive", "tech"),
        (236, "EscapeAir", "dodge"),
        (253, "CliffWait", "ledge"),
        (322, "Entry", "entry"),
        (340, "BarrelCannonWait", "item"),
        (341, "Special341", "special"),
        (525, "Special525", "special"),
    ],
)
def test_known_states(number, name, group):
    assert action_states.state_name(number) == name
    assert action_states.group_of(number) == group


def test_air_and_ground_states_are_apart_and_common():
    assert not action_states.AIRBORNE_STATES & action_states.GROUNDED_STATES
    assert max(action_states.AIRBORNE_STATES | action_states.GROUNDED_STATES) < action_states.NUM_COMMON_STATES


def test_character_ids_map_both_ways():
    for external, internal in characters.EXTERNAL_TO_INTERNAL.items():
        if external in (14, 32):
            assert characters.INTERNAL_NAMES[internal] == "Popo"
        else:
            assert characters.INTERNAL_TO_EXTERNAL[internal] == external
            assert characters.EXTERNAL_NAMES[external] == characters.INTERNAL_NAMES[internal]
    assert characters.EXTERNAL_TO_INTERNAL[2] == 1
    assert characters.EXTERNAL_TO_INTERNAL[20] == 22
    assert characters.INTERNAL_TO_EXTERNAL[11] == characters.ICE_CLIMBERS
    assert characters.external_name(77) == "character 77"


def test_vocabularies_of_the_schema_hold_all_ids():
    assert max(characters.INTERNAL_NAMES) < LAYOUT.the("character").codec.vocab
    assert max(stages.NAMES) < LAYOUT.the("stage").codec.vocab
    assert set(stages.NAMES) == set(range(33))


@pytest.mark.parametrize("stage", list(stages.GEOMETRY.values()), ids=lambda stage: stage.name)
def test_geometry_is_sane(stage):
    assert stage.left < -stage.edge < stage.edge < stage.right
    assert stage.bottom < stage.edge_height <= stage.floor + 1
    assert stage.flat <= stage.edge
    for platform in stage.platforms:
        assert -stage.edge - 5 < platform.left < platform.right < stage.edge + 5
        assert stage.floor < platform.height < stage.top
    assert len({stage.ground, *(platform.ground for platform in stage.platforms)}) == 1 + len(stage.platforms)


@pytest.mark.parametrize("stage", list(stages.GEOMETRY.values()), ids=lambda stage: stage.name)
def test_surfaces_that_change_places_lie_opposite(stage):
    spans = {platform.ground: (platform.left, platform.right, platform.height) for platform in stage.platforms}
    if stage.number != 2:  # the Fountain's side platforms move
        opposite = sorted((-right, -left, height) for left, right, height in spans.values())
        is_mirror = opposite == sorted(spans.values()) and stage.left == -stage.right
        assert is_mirror == (stage.mirrored is not None)
    for a, b in stage.mirrored or ():
        assert (a in spans) == (b in spans)
        if a in spans:
            assert spans[a][:2] == (-spans[b][1], -spans[b][0])


def test_pad_grids():
    masks = LAYOUT.pad_buttons.codec.masks
    assert set(masks) <= set(pad.BUTTONS.values())
    assert pad.stick_grid(22.4 / 80) == 0.0
    assert pad.stick_grid(-0.2876) == -23 / 80
    assert pad.stick_grid(3.0) == 1.0
    assert pad.trigger_grid(42 / 140) == 0.0
    assert pad.trigger_grid(43 / 140) == 43 / 140
    assert pad.button_names(0x0800 | 0x8000_0000) == ("y", "trigger")
    assert pad.button_names(pad.NEUTRAL_BUTTONS) == ()
