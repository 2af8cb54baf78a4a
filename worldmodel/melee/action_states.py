"""Action states: their names, and a partition into groups that metrics, events and the viewer use.

Owns: names, groups, and which states are certainly in the air or on the ground. Must not: guess what an id past 340
means: those are each character's own (mostly specials) and share the group `special`.

Names are the game's debug-menu labels, as in Slippi's published id list. `AIRBORNE_STATES` and `GROUNDED_STATES` were
measured on 248 real games: common states seen for at least 500 frames whose `airborne` flag is the same in at least
99.9 % of them. (Landing on the last frame of an air state, or being pushed off while shielding, makes the rest.)
"""

from __future__ import annotations

NUM_STATES = 400
"""Ids that have a group. Replays hold a few beyond (Kirby's copies, bosses)."""

NUM_COMMON_STATES = 341
"""Ids below mean the same for every character."""

_TABLE: tuple[tuple[str, int, str], ...] = (
    (
        "dead",
        0,
        "DeadDown DeadLeft DeadRight DeadUp DeadUpStar DeadUpStarIce DeadUpFall DeadUpFallHitCamera "
        "DeadUpFallHitCameraFlat DeadUpFallIce DeadUpFallHitCameraIce Sleep",
    ),
    ("respawn", 12, "Rebirth RebirthWait"),
    ("standing", 14, "Wait"),
    ("walk", 15, "WalkSlow WalkMiddle WalkFast"),
    ("turn", 18, "Turn TurnRun"),
    ("dash", 20, "Dash"),
    ("run", 21, "Run RunDirect RunBrake"),
    ("jump_squat", 24, "KneeBend"),
    ("jump", 25, "JumpF JumpB JumpAerialF JumpAerialB"),
    ("fall", 29, "Fall FallF FallB FallAerial FallAerialF FallAerialB"),
    ("special_fall", 35, "FallSpecial FallSpecialF FallSpecialB"),
    ("tumble", 38, "DamageFall"),
    ("crouch", 39, "Squat SquatWait SquatRv"),
    ("landing", 42, "Landing LandingFallSpecial"),
    ("jab", 44, "Attack11 Attack12 Attack13 Attack100Start Attack100Loop Attack100End"),
    ("dash_attack", 50, "AttackDash"),
    ("tilt", 51, "AttackS3Hi AttackS3HiS AttackS3S AttackS3LwS AttackS3Lw AttackHi3 AttackLw3"),
    ("smash", 58, "AttackS4Hi AttackS4HiS AttackS4S AttackS4LwS AttackS4Lw AttackHi4 AttackLw4"),
    ("aerial", 65, "AttackAirN AttackAirF AttackAirB AttackAirHi AttackAirLw"),
    ("aerial_landing", 70, "LandingAirN LandingAirF LandingAirB LandingAirHi LandingAirLw"),
    (
        "damage",
        75,
        "DamageHi1 DamageHi2 DamageHi3 DamageN1 DamageN2 DamageN3 DamageLw1 DamageLw2 DamageLw3 "
        "DamageAir1 DamageAir2 DamageAir3",
    ),
    ("damage_fly", 87, "DamageFlyHi DamageFlyN DamageFlyLw DamageFlyTop DamageFlyRoll"),
    (
        "item",
        92,
        "LightGet HeavyGet LightThrowF LightThrowB LightThrowHi LightThrowLw LightThrowDash LightThrowDrop "
        "LightThrowAirF LightThrowAirB LightThrowAirHi LightThrowAirLw HeavyThrowF HeavyThrowB HeavyThrowHi "
        "HeavyThrowLw LightThrowF4 LightThrowB4 LightThrowHi4 LightThrowLw4 LightThrowAirF4 LightThrowAirB4 "
        "LightThrowAirHi4 LightThrowAirLw4 HeavyThrowF4 HeavyThrowB4 HeavyThrowHi4 HeavyThrowLw4 "
        "SwordSwing1 SwordSwing3 SwordSwing4 SwordSwingDash BatSwing1 BatSwing3 BatSwing4 BatSwingDash "
        "ParasolSwing1 ParasolSwing3 ParasolSwing4 ParasolSwingDash HarisenSwing1 HarisenSwing3 HarisenSwing4 "
        "HarisenSwingDash StarRodSwing1 StarRodSwing3 StarRodSwing4 StarRodSwingDash LipStickSwing1 LipStickSwing3 "
        "LipStickSwing4 LipStickSwingDash ItemParasolOpen ItemParasolFall ItemParasolFallSpecial "
        "ItemParasolDamageFall LGunShoot LGunShootAir LGunShootEmpty LGunShootAirEmpty FireFlowerShoot "
        "FireFlowerShootAir ItemScrew ItemScrewAir DamageScrew DamageScrewAir ItemScopeStart ItemScopeRapid "
        "ItemScopeFire ItemScopeEnd ItemScopeAirStart ItemScopeAirRapid ItemScopeAirFire ItemScopeAirEnd "
        "ItemScopeStartEmpty ItemScopeRapidEmpty ItemScopeFireEmpty ItemScopeEndEmpty ItemScopeAirStartEmpty "
        "ItemScopeAirRapidEmpty ItemScopeAirFireEmpty ItemScopeAirEndEmpty LiftWait LiftWalk1 LiftWalk2 LiftTurn",
    ),
    ("shield", 178, "GuardOn Guard GuardOff GuardSetOff GuardReflect"),
    (
        "down",
        183,
        "DownBoundU DownWaitU DownDamageU DownStandU DownAttackU DownFowardU DownBackU DownSpotU "
        "DownBoundD DownWaitD DownDamageD DownStandD DownAttackD DownFowardD DownBackD DownSpotD",
    ),
    ("tech", 199, "Passive PassiveStandF PassiveStandB PassiveWall PassiveWallJump PassiveCeil"),
    (
        "shield_break",
        205,
        "ShieldBreakFly ShieldBreakFall ShieldBreakDownU ShieldBreakDownD ShieldBreakStandU ShieldBreakStandD FuraFura",
    ),
    ("grab", 212, "Catch CatchPull CatchDash CatchDashPull CatchWait CatchAttack CatchCut"),
    ("throw", 219, "ThrowF ThrowB ThrowHi ThrowLw"),
    (
        "grabbed",
        223,
        "CapturePulledHi CaptureWaitHi CaptureDamageHi CapturePulledLw CaptureWaitLw CaptureDamageLw "
        "CaptureCut CaptureJump CaptureNeck CaptureFoot",
    ),
    ("dodge", 233, "EscapeF EscapeB Escape EscapeAir"),
    ("clank", 237, "ReboundStop Rebound"),
    ("thrown", 239, "ThrownF ThrownB ThrownHi ThrownLw ThrownLwWomen"),
    ("platform_drop", 244, "Pass"),
    ("teeter", 245, "Ottotto OttottoWait"),
    ("wall_bounce", 247, "FlyReflectWall FlyReflectCeil StopWall StopCeil"),
    ("fall", 251, "MissFoot"),
    ("ledge", 252, "CliffCatch CliffWait"),
    (
        "ledge_option",
        254,
        "CliffClimbSlow CliffClimbQuick CliffAttackSlow CliffAttackQuick CliffEscapeSlow CliffEscapeQuick "
        "CliffJumpSlow1 CliffJumpSlow2 CliffJumpQuick1 CliffJumpQuick2",
    ),
    ("taunt", 264, "AppealR AppealL"),
    ("grabbed", 266, "ShoulderedWait ShoulderedWalkSlow ShoulderedWalkMiddle ShoulderedWalkFast ShoulderedTurn"),
    ("thrown", 271, "ThrownFF ThrownFB ThrownFHi ThrownFLw"),
    ("grabbed", 275, "CaptureCaptain CaptureYoshi YoshiEgg CaptureKoopa CaptureDamageKoopa CaptureWaitKoopa"),
    ("thrown", 281, "ThrownKoopaF ThrownKoopaB"),
    ("grabbed", 283, "CaptureKoopaAir CaptureDamageKoopaAir CaptureWaitKoopaAir"),
    ("thrown", 286, "ThrownKoopaAirF ThrownKoopaAirB"),
    ("grabbed", 288, "CaptureKirby CaptureWaitKirby"),
    ("thrown", 290, "ThrownKirbyStar ThrownCopyStar ThrownKirby"),
    ("item", 293, "BarrelWait"),
    ("disabled", 294, "Bury BuryWait BuryJump DamageSong DamageSongWait DamageSongRv DamageBind"),
    ("grabbed", 301, "CaptureMewtwo CaptureMewtwoAir"),
    ("thrown", 303, "ThrownMewtwo ThrownMewtwoAir"),
    (
        "item",
        305,
        "WarpStarJump WarpStarFall HammerWait HammerWalk HammerTurn HammerKneeBend HammerFall HammerJump "
        "HammerLanding KinokoGiantStart KinokoGiantStartAir KinokoGiantEnd KinokoGiantEndAir KinokoSmallStart "
        "KinokoSmallStartAir KinokoSmallEnd KinokoSmallEndAir",
    ),
    ("entry", 322, "Entry EntryStart EntryEnd"),
    ("disabled", 325, "DamageIce DamageIceJump"),
    ("grabbed", 327, "CaptureMasterhand CapturedamageMasterhand CapturewaitMasterhand"),
    ("thrown", 330, "ThrownMasterhand"),
    ("grabbed", 331, "CaptureKirbyYoshi KirbyYoshiEgg CaptureLeadead CaptureLikelike"),
    ("down", 335, "DownReflect"),
    ("grabbed", 336, "CaptureCrazyhand CapturedamageCrazyhand CapturewaitCrazyhand"),
    ("thrown", 339, "ThrownCrazyhand"),
    ("item", 340, "BarrelCannonWait"),
)
"""(group, first id, names of consecutive ids). The rows follow one another without a gap."""


def _unroll() -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: list[str] = []
    groups: list[str] = []
    for group, first, row in _TABLE:
        if first != len(names):
            raise ValueError(f"the row of {group!r} starts at {first}, the one before ends at {len(names)}")
        names += row.split()
        groups += [group] * (len(names) - first)
    own = range(len(names), NUM_STATES)
    return tuple(names) + tuple(f"Special{number}" for number in own), tuple(groups) + ("special",) * len(own)


NAMES, GROUP_OF = _unroll()
"""Name, and group, by id 0 .. 399."""

GROUPS: dict[str, frozenset[int]] = {
    group: frozenset(number for number, own in enumerate(GROUP_OF) if own == group) for group in dict.fromkeys(GROUP_OF)
}
"""Ids of each group, in order of first appearance. Every id below `NUM_STATES` is in exactly one."""

GROUP_NAMES: tuple[str, ...] = tuple(GROUPS)
"""Names of the groups; a group's position here is its code."""


def _named(names: str) -> frozenset[int]:
    return frozenset(NAMES.index(name) for name in names.split())


LEDGE_GRABS: frozenset[int] = _named("CliffCatch")
"""The first state on a ledge. Whoever grabs it again was off it in between."""

GRAB_HOLDS: frozenset[int] = _named("CatchPull CatchDashPull")
"""The first state of a grab that has caught somebody. In 84 real games all 511 catches began with one of the two."""

TECHS: frozenset[int] = GROUPS["tech"] - _named("PassiveWallJump")
"""Techs. The jump off a wall is left out: of 29 seen in 84 real games 17 followed a jump, only 7 a launch."""

# fmt: off
AIRBORNE_STATES: frozenset[int] = frozenset((
    0, 1, 2, 4, 6, 7, 12, 13, 25, 26, 27, 28, 29, 32, 35, 38, 65, 66, 67, 68, 69, 87, 88, 89, 90, 91,
    203, 224, 236, 244, 247, 251, 252, 253, 260, 261, 262, 263, 322, 323, 324,
))
"""Common states that are always in the air."""

GROUNDED_STATES: frozenset[int] = frozenset((
    14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 39, 40, 41, 42, 43, 44, 45, 46, 48, 50, 51, 53, 55, 56, 57, 58, 60,
    62, 63, 64, 70, 71, 72, 73, 74, 178, 179, 180, 181, 182, 184, 186, 187, 188, 189, 192, 194, 195, 196, 197,
    199, 200, 201, 212, 213, 214, 216, 217, 222, 226, 227, 228, 233, 234, 235, 238, 245, 246, 264,
))
"""Common states that are always on the ground."""
# fmt: on


def state_name(action_state: int) -> str:
    """Name of an action state; ids past the table are named by their number."""
    return NAMES[action_state] if 0 <= action_state < NUM_STATES else f"Special{action_state}"


def group_of(action_state: int) -> str:
    """Group of an action state; ids past the table are characters' own."""
    return GROUP_OF[action_state] if 0 <= action_state < NUM_STATES else "special"
