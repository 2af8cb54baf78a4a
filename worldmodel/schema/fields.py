"""**The one table of game-state fields.** Parser, store, masks, codec, heads, losses, metrics, docs follow from it.

Owns: every field name, its byte offset, its meaning. Must not: hold behaviour (named functions of derived fields
live in `derived.py`).

Sources: byte offsets and first versions are Slippi's (project-slippi/slippi-wiki, SPEC.md), checked against payload
sizes of real replays of every version from 0.1 to 3.19; scales and vocabularies are those of the mission's run card.
`drift` is measured: the mean error of a trained `tiny` eight frames into 512 rollouts of held-out real games, rounded.
"""

from __future__ import annotations

from worldmodel.schema.field import (
    Buttons,
    Category,
    Event,
    Field,
    Flags,
    Mirror,
    Number,
    OutOfRange,
    Prior,
    Scope,
    Version,
    Wire,
)

_V0_2: Version = (0, 2, 0)
_V1_2: Version = (1, 2, 0)
_V2_0: Version = (2, 0, 0)
_V2_1: Version = (2, 1, 0)
_V2_2: Version = (2, 2, 0)
_V3_5: Version = (3, 5, 0)
_V3_8: Version = (3, 8, 0)
_V3_11: Version = (3, 11, 0)
_V3_15: Version = (3, 15, 0)
_V3_17: Version = (3, 17, 0)


def _post(offset: int, type: str) -> tuple[Wire, ...]:
    return (Wire(Event.POST, offset, type),)  # type: ignore[arg-type]


def _pre(offset: int, type: str) -> tuple[Wire, ...]:
    return (Wire(Event.PRE, offset, type),)  # type: ignore[arg-type]


def _roles(*names: str) -> frozenset[str]:
    return frozenset(names)


_UNKNOWN = "unknown, as before that version; never zero"

_GROUND_CODES = (
    (65535, 0),
    # Pokémon Stadium's floor, platforms and edges have ids past the vocabulary; no legal stage uses 23 to 30 for long
    # (they belong to the Stadium's transformations), so those give up their codes.
    *zip((34, 35, 36, 51, 52, 53, 54), range(24, 31), strict=True),
    *((ground, 31) for ground in range(23, 31)),
)

# A table reads best with several cells on a line:
# fmt: off
_STATE: tuple[Field, ...] = (
    Field(
        name="percent", scope=Scope.PLAYER, dtype="f4", unit="percent", narrow=True,
        wire=_post(0x16, "f4"), codec=Number(scale=0.01, step_scale=0.1, bounds=(0.0, 999.0), noise=True),
        loss="continuous", drift=0.5, roles=_roles("percent"),
        doc="Damage taken. Fractional in the replay and kept so.",
    ),
    Field(
        name="x", scope=Scope.PLAYER, dtype="f4", unit="game units",
        wire=_post(0x0A, "f4"),
        codec=Number(scale=0.05, step_scale=0.5, prior=Prior.INTEGRATE, gate=1e-3, noise=True,
            velocity=("velocity_x", "knockback_x"), bounds=(-400.0, 400.0)),
        mirror=Mirror.NEGATE, loss="continuous", drift=2.5, roles=_roles("position", "position_x"),
        doc="Position, horizontal; 0 is the middle of the stage.",
    ),
    Field(
        name="y", scope=Scope.PLAYER, dtype="f4", unit="game units",
        wire=_post(0x0E, "f4"),
        codec=Number(scale=0.05, step_scale=0.5, prior=Prior.INTEGRATE, gate=1e-3, noise=True,
            velocity=("velocity_y", "knockback_y"), bounds=(-400.0, 400.0)),
        loss="continuous", drift=2.5, roles=_roles("position", "position_y"),
        doc="Position, vertical; 0 is near the main floor.",
    ),
    Field(
        name="shield", scope=Scope.PLAYER, dtype="f4", unit="shield points", narrow=True,
        wire=_post(0x1A, "f4"), codec=Number(scale=0.01, step_scale=8.0, bounds=(0.0, 60.0), noise=True),
        loss="continuous", drift=0.1, roles=_roles("shield"),
        doc="Shield left, 60 when full.",
    ),
    Field(
        name="self_x_air", scope=Scope.PLAYER, dtype="f4", unit="game units / frame", since=_V3_5, missing=_UNKNOWN,
        wire=_post(0x35, "f4"), codec=Number(scale=0.05, step_scale=5.0, noise=True, bounds=(-60.0, 60.0)),
        mirror=Mirror.NEGATE, loss="velocity", drift=0.3, roles=_roles("velocity", "velocity_x"),
        doc="Self-induced horizontal speed. On the ground too it is the speed that moved the body.",
    ),
    Field(
        name="self_y", scope=Scope.PLAYER, dtype="f4", unit="game units / frame", since=_V3_5, missing=_UNKNOWN,
        narrow=True,
        wire=_post(0x39, "f4"), codec=Number(scale=0.05, step_scale=5.0, noise=True, bounds=(-60.0, 60.0)),
        loss="velocity", drift=0.4, roles=_roles("velocity", "velocity_y"),
        doc="Self-induced vertical speed.",
    ),
    Field(
        name="self_x_ground", scope=Scope.PLAYER, dtype="f4", unit="game units / frame", since=_V3_5, missing=_UNKNOWN,
        wire=_post(0x45, "f4"), codec=Number(scale=0.05, step_scale=5.0, noise=True, bounds=(-60.0, 60.0)),
        mirror=Mirror.NEGATE, loss="velocity", drift=0.2, roles=_roles("velocity", "velocity_ground"),
        doc="Self-induced speed along the ground.",
    ),
    Field(
        name="knockback_x", scope=Scope.PLAYER, dtype="f4", unit="game units / frame", since=_V3_5, missing=_UNKNOWN,
        wire=_post(0x3D, "f4"), codec=Number(scale=0.05, step_scale=10.0, noise=True, bounds=(-60.0, 60.0)),
        mirror=Mirror.NEGATE, loss="velocity", drift=0.05, roles=_roles("velocity", "knockback_x"),
        doc="Horizontal speed from being hit.",
    ),
    Field(
        name="knockback_y", scope=Scope.PLAYER, dtype="f4", unit="game units / frame", since=_V3_5, missing=_UNKNOWN,
        wire=_post(0x41, "f4"), codec=Number(scale=0.05, step_scale=10.0, noise=True, bounds=(-60.0, 60.0)),
        loss="velocity", drift=0.1, roles=_roles("velocity", "knockback_y"),
        doc="Vertical speed from being hit.",
    ),
    Field(
        name="state_age", scope=Scope.PLAYER, dtype="f4", unit="frames", since=_V0_2, missing=_UNKNOWN, narrow=True,
        wire=_post(0x22, "f4"),
        codec=Number(reference="prior", scale=0.01, prior=Prior.TICK_UP, restart="action_state", gate=1e-3,
            bounds=(-10.0, 2000.0), buckets=150, bucket_dim=8),
        loss="state_age", roles=_roles("state_age"),
        doc="Frames in the present action state; fractional where the animation is played faster or slower.",
    ),
    Field(
        name="hitlag", scope=Scope.PLAYER, dtype="f4", unit="frames", since=_V3_8, missing=_UNKNOWN, narrow=True,
        wire=_post(0x49, "f4"),
        codec=Number(reference="value", scale=0.1, step_scale=0.2, prior=Prior.TICK_DOWN, bounds=(0.0, 120.0)),
        loss="dynamics", roles=_roles("hitlag"),
        doc="Frames of freeze left after a hit, for both sides of it.",
    ),
    Field(
        name="stocks", scope=Scope.PLAYER, dtype="u1", unit="stocks",
        wire=_post(0x21, "u1"),
        codec=Number(reference="value", scale=0.25, step_scale=1.0, bounds=(0.0, 99.0), integer=True),
        loss="dynamics", roles=_roles("stocks"),
        doc="Lives left.",
    ),
    Field(
        name="combo_count", scope=Scope.PLAYER, dtype="u1", unit="hits",
        wire=_post(0x1F, "u1"),
        codec=Number(reference="value", scale=0.1, step_scale=0.5, bounds=(0.0, 255.0), integer=True),
        loss="dynamics", roles=_roles("combo"),
        doc="Hits in the present combo, as the game counts them.",
    ),
    Field(
        name="misc_as", scope=Scope.PLAYER, dtype="f4", unit="depends on the action state", since=_V2_0,
        missing=_UNKNOWN, narrow=True,
        wire=_post(0x2B, "f4"),
        roles=_roles("misc_as"),
        doc="Per-state variable. In hitstun: frames of it left, as a float. Else often an integer's bits "
            "(a subnormal float), so it is stored bit for bit and never seen by a model; see `hitstun`.",
    ),
    Field(
        name="hitstun", scope=Scope.PLAYER, dtype="f4", unit="frames", since=_V2_0, missing=_UNKNOWN, derive="hitstun",
        codec=Number(reference="value", scale=0.02, step_scale=0.5, prior=Prior.TICK_DOWN, bounds=(-10.0, 500.0)),
        loss="dynamics", roles=_roles("hitstun"),
        doc="Frames of hitstun left: `misc_as` while the hitstun flag is set, else 0.",
    ),
    Field(
        name="facing", scope=Scope.PLAYER, dtype="f4", unit="-1 left, +1 right", narrow=True,
        wire=_post(0x12, "f4"), codec=Flags(true_when="positive"),
        mirror=Mirror.FLIP, loss="binary", roles=_roles("facing"),
        doc="Direction the body faces.",
    ),
    Field(
        name="airborne", scope=Scope.PLAYER, dtype="u1", unit="0 ground, 1 air", since=_V2_0, missing=_UNKNOWN,
        wire=_post(0x2F, "u1"), codec=Flags(),
        loss="binary", roles=_roles("airborne"),
        doc="Whether in the air.",
    ),
    Field(
        name="state_flags", scope=Scope.PLAYER, dtype="u8", unit="40 bits", since=_V2_0, missing=_UNKNOWN, narrow=True,
        wire=_post(0x26, "u1x5"),
        codec=Flags(bits=40, true_when="bit", names=(
            "", "", "", "", "reflect", "", "", "",
            "", "", "intangible", "fastfall", "", "in_hitlag", "", "",
            "", "", "", "", "", "", "", "shielding",
            "", "in_hitstun", "touching_shield", "", "reflect_bubble", "powershield", "", "",
            "", "", "", "follower", "inactive", "", "dead", "offscreen",
        )),
        loss="binary", roles=_roles("state_flags"),
        doc="Five bytes of flags, byte 1 in the lowest eight bits. Names where Slippi knows one.",
    ),
    Field(
        name="action_state", scope=Scope.PLAYER, dtype="u2", unit="action state id", narrow=True,
        wire=_post(0x08, "u2"), codec=Category(vocab=400, dim=32),
        loss="action", roles=_roles("action_state"),
        doc="Animation state. Ids past 398 (a few of Kirby's copies, bosses) share the entry *other*.",
    ),
    Field(
        name="jumps", scope=Scope.PLAYER, dtype="u1", unit="jumps", since=_V2_0, missing=_UNKNOWN,
        wire=_post(0x32, "u1"), codec=Category(vocab=8, dim=4),
        loss="jumps", roles=_roles("jumps"),
        doc="Jumps left.",
    ),
    Field(
        name="l_cancel", scope=Scope.PLAYER, dtype="u1", unit="0 none, 1 success, 2 missed", since=_V2_0,
        missing=_UNKNOWN,
        wire=_post(0x33, "u1"), codec=Category(vocab=3, dim=2, out_of_range=OutOfRange.REJECT),
        loss="l_cancel", roles=_roles("l_cancel"),
        doc="Outcome of an l-cancel, on the frame of landing.",
    ),
    Field(
        name="hurtbox_state", scope=Scope.PLAYER, dtype="u1", unit="0 vulnerable, 1 invulnerable, 2 intangible",
        since=_V2_1, missing=_UNKNOWN,
        wire=_post(0x34, "u1"), codec=Category(vocab=3, dim=2, out_of_range=OutOfRange.REJECT),
        loss="hurtbox", roles=_roles("hurtbox"),
        doc="Whether attacks can hit.",
    ),
    Field(
        name="ground", scope=Scope.PLAYER, dtype="u2", unit="ground id", since=_V2_0, missing=_UNKNOWN, narrow=True,
        wire=_post(0x30, "u2"), codec=Category(vocab=32, dim=4, alias=_GROUND_CODES, offset=1),
        loss="ground", roles=_roles("ground"),
        doc="Last ground stood on; 65535 is none. The surfaces of a transformed Stadium share the entry *other*.",
    ),
    Field(
        name="last_attack_landed", scope=Scope.PLAYER, dtype="u1", unit="attack id",
        wire=_post(0x1E, "u1"), codec=Category(vocab=64, dim=8),
        loss="last_attack", roles=_roles("last_attack"),
        doc="Attack of this player that last hit.",
    ),
    Field(
        name="last_hit_by", scope=Scope.PLAYER, dtype="u1", unit="port, 6 nobody",
        wire=_post(0x20, "u1"), codec=Category(vocab=8, dim=2),
        loss="last_hit_by", roles=_roles("last_hit_by"),
        doc="Port of the player that last hit this one.",
    ),
    Field(
        name="character", scope=Scope.PLAYER, dtype="u1", unit="internal character id",
        wire=_post(0x07, "u1"), codec=Category(vocab=33, dim=8, predicted=False, out_of_range=OutOfRange.REJECT),
        roles=_roles("character"),
        doc="Changes in a game only between Zelda and Sheik.",
    ),
    Field(
        name="animation_index", scope=Scope.PLAYER, dtype="u4", unit="animation id", since=_V3_11, missing=_UNKNOWN,
        narrow=True,
        wire=_post(0x4D, "u4"),
        roles=_roles("animation"),
        doc="Animation played; nearly a function of character and action state. Stored, not modelled.",
    ),
)

_BUTTON_MASKS = (0x0100, 0x0200, 0x0400, 0x0800, 0x0010, 0x0040, 0x0020, 0x0008)  # A B X Y Z L R D-pad-up

_AXIS = Number(scale=1.0, bounds=(-1.0, 1.0))

_PAD: tuple[Field, ...] = (
    Field(
        name="stick_x", scope=Scope.PAD, dtype="f4", unit="-1 .. 1", narrow=True,
        wire=_pre(0x19, "f4"), codec=_AXIS,
        mirror=Mirror.NEGATE, roles=_roles("stick_x"),
        doc="Main stick as the game used it (dead zone applied).",
    ),
    Field(
        name="stick_y", scope=Scope.PAD, dtype="f4", unit="-1 .. 1", narrow=True,
        wire=_pre(0x1D, "f4"), codec=_AXIS,
        roles=_roles("stick_y"),
        doc="Main stick as the game used it.",
    ),
    Field(
        name="cstick_x", scope=Scope.PAD, dtype="f4", unit="-1 .. 1", narrow=True,
        wire=_pre(0x21, "f4"), codec=_AXIS,
        mirror=Mirror.NEGATE, roles=_roles("cstick_x"),
        doc="C-stick as the game used it.",
    ),
    Field(
        name="cstick_y", scope=Scope.PAD, dtype="f4", unit="-1 .. 1", narrow=True,
        wire=_pre(0x25, "f4"), codec=_AXIS,
        roles=_roles("cstick_y"),
        doc="C-stick as the game used it.",
    ),
    Field(
        name="trigger", scope=Scope.PAD, dtype="f4", unit="0 .. 1", narrow=True,
        wire=_pre(0x29, "f4"), codec=Number(scale=1.0, bounds=(0.0, 1.0)),
        roles=_roles("trigger"),
        doc="Analog trigger as the game used it (the harder pressed of the two). Some replays hold garbage here.",
    ),
    Field(
        name="buttons", scope=Scope.PAD, dtype="u4", unit="button bits", narrow=True,
        wire=_pre(0x2D, "u4"), codec=Buttons(masks=_BUTTON_MASKS),
        roles=_roles("buttons"),
        doc="Buttons as the game used them; the upper half repeats stick and trigger directions.",
    ),
    Field(
        name="raw_buttons", scope=Scope.PAD, dtype="u2", unit="button bits", narrow=True,
        wire=_pre(0x31, "u2"),
        roles=_roles("raw_buttons"),
        doc="Buttons physically down.",
    ),
    Field(
        name="raw_trigger_l", scope=Scope.PAD, dtype="f4", unit="0 .. 1", narrow=True,
        wire=_pre(0x33, "f4"),
        roles=_roles("raw_trigger_l"),
        doc="Left trigger, physical.",
    ),
    Field(
        name="raw_trigger_r", scope=Scope.PAD, dtype="f4", unit="0 .. 1", narrow=True,
        wire=_pre(0x37, "f4"),
        roles=_roles("raw_trigger_r"),
        doc="Right trigger, physical.",
    ),
    Field(
        name="raw_stick_x", scope=Scope.PAD, dtype="i1", unit="-128 .. 127", since=_V1_2, missing=_UNKNOWN,
        wire=_pre(0x3B, "i1"),
        mirror=Mirror.NEGATE, roles=_roles("raw_stick_x"),
        doc="Main stick, physical.",
    ),
    Field(
        name="raw_stick_y", scope=Scope.PAD, dtype="i1", unit="-128 .. 127", since=_V3_15, missing=_UNKNOWN,
        wire=_pre(0x40, "i1"),
        roles=_roles("raw_stick_y"),
        doc="Main stick, physical.",
    ),
    Field(
        name="raw_cstick_x", scope=Scope.PAD, dtype="i1", unit="-128 .. 127", since=_V3_17, missing=_UNKNOWN,
        wire=_pre(0x41, "i1"),
        mirror=Mirror.NEGATE, roles=_roles("raw_cstick_x"),
        doc="C-stick, physical.",
    ),
    Field(
        name="raw_cstick_y", scope=Scope.PAD, dtype="i1", unit="-128 .. 127", since=_V3_17, missing=_UNKNOWN,
        wire=_pre(0x42, "i1"),
        roles=_roles("raw_cstick_y"),
        doc="C-stick, physical.",
    ),
)

_FRAME: tuple[Field, ...] = (
    Field(
        name="random_seed", scope=Scope.FRAME, dtype="u4", unit="seed", since=_V2_2,
        wire=(Wire(Event.FRAME_START, 0x05, "u4"), Wire(Event.PRE, 0x07, "u4")),
        roles=_roles("random_seed"),
        doc="Random seed at the start of the frame; before 2.2 the first player's copy of it.",
    ),
)

_GAME: tuple[Field, ...] = (
    Field(
        name="stage", scope=Scope.GAME, dtype="u2", unit="external stage id",
        codec=Category(vocab=33, dim=4, predicted=False),
        roles=_roles("stage"),
        doc="Stage, from the Game Start event. 31 is Battlefield, 32 Final Destination.",
    ),
)
# fmt: on

FIELDS: tuple[Field, ...] = _STATE + _PAD + _FRAME + _GAME
"""Every row, in the order of columns."""

HITSTUN_FLAG = "in_hitstun"
