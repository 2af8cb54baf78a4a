"""The reference system's encoded file (`encoded-22k.pt`) as a dataset of ours.

Owns: which of its columns is which field, and what cannot be known of a game in it. Must not: read torch's form itself
(`torch_file` does).

The file holds `floats` (F, 56) f32, `ints` (F, 17) i64, `game_offsets` (N+1,), `encoding_config`; per player, p0 first:
28 scaled numbers and 8 integers, then once per frame the stage. Row t has the controllers read in frame t and the state
after it, as ours. The older form of 58 and 15 columns has the age of the state as a number.

What it lacks stays missing here, and is masked in losses: flags, last hit by, physical controllers, players, matches,
dates. What replays of old versions lack stands in it as zeros: velocities and hitlag that are 0 in a whole game are
taken as missing. Ages of states are whole and end at 149, unknown grounds and attacks are their table's last entry.

The split is the reference's own: the first 90 % of the games in the file's order train, the rest is held out. Nothing
in the file says which games are of one match, so a match can lie on both sides of that one border, and of no other.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from worldmodel.dataset.games import salted
from worldmodel.dataset.manifest import MANIFEST, Settings, read_manifest
from worldmodel.dataset.shard import frames_hash
from worldmodel.dataset.torch_file import TorchFile
from worldmodel.dataset.writer import NewGame, Writer, writing
from worldmodel.errors import WrongUse
from worldmodel.melee.characters import INTERNAL_TO_EXTERNAL, external_name
from worldmodel.melee.stages import stage_name
from worldmodel.schema import LAYOUT, PLAYERS, Category, Field, Scope, column_name
from worldmodel.schema.field import OutOfRange

FILTER = "encoded_file"
"""Stands for the filters in the manifest: replays and encoded files are never in one dataset."""
SHARD_FRAMES = 1 << 18
COMMIT_EVERY_S = 60.0
TRAIN_SHARE = 0.9
LACKS = (
    "no flags but facing and airborne, no last hit by, no physical controllers, no players, matches or dates; "
    "velocities and hitlag that are 0 in a whole game count as missing; the split is by place in the file"
)
_NUMBERS = (
    ("percent", "percent_scale", 0.01), ("position_x", "xy_scale", 0.05), ("position_y", "xy_scale", 0.05),
    ("shield", "shield_scale", 0.01), ("velocity_x", "velocity_scale", 0.05), ("velocity_y", "velocity_scale", 0.05),
    ("velocity_ground", "velocity_scale", 0.05), ("knockback_x", "velocity_scale", 0.05),
    ("knockback_y", "velocity_scale", 0.05),
)  # fmt: skip
_AGE = ("state_age", "state_age_scale", 0.01)
_DYNAMICS = (("hitlag", "hitlag_scale", 0.1), ("stocks", "stocks_scale", 0.25), ("combo", "combo_scale", 0.1))
_NUM_FLAGS = 3  # facing, invulnerable (known better from the hurtbox), on the ground
_STICKS = ("stick_x", "stick_y", "cstick_x", "cstick_y")
_INTEGERS = ("action_state", "jumps", "character", "l_cancel", "hurtbox", "ground", "last_attack")
_OPTIONAL = (("velocity_x", "velocity_y", "velocity_ground", "knockback_x", "knockback_y"), ("hitlag",))
"""Roles that old replays lack together; of zeros alone they are missing."""
_GRID = 80
"""Sticks lie on 1/80 (see `melee.pad`); what is that near to it was exactly there before it was scaled."""
_OTHER_KINDS = {62: "projectiles", 138: "v3 (flags and hitstun)", 144: "v3 with projectiles", 136: "v3"}


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """An encoded file, open. offsets: (N+1,) rows where games begin; age_as_number: the older of the two forms."""

    path: Path
    content_hash: str
    floats: NDArray[np.float32]
    ints: NDArray[np.int64]
    offsets: NDArray[np.int64]
    config: Mapping[str, Any]
    age_as_number: bool
    verify: Callable[[], None]

    @property
    def num_games(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedReport:
    """What one conversion did. known: games that were in the dataset before."""

    accepted: int
    rejected: dict[str, int]
    known: int
    frames: int
    seconds: float
    num_games: int
    num_frames: int
    content_hash: str


def open_encoded(path: Path) -> EncodedFile:
    """Look at a file; no tensor is read. Raises WrongUse for anything but the two forms."""
    file = TorchFile(path)
    value = file.value if isinstance(file.value, dict) else {}
    form = "an encoded file: floats (F, 56), ints (F, 17), game_offsets (N+1)"
    way_out = "give replays instead: worldmodel ingest SRC... --out DATASET"
    try:
        floats, ints, offsets = (np.asarray(value[key]) for key in ("floats", "ints", "game_offsets"))
    except KeyError as error:
        raise WrongUse(f"{path} has no {error}", form, way_out) from None
    widths = (floats.shape[-1] if floats.ndim == 2 else 0, ints.shape[-1] if ints.ndim == 2 else 0)
    if widths not in ((56, 17), (58, 15)):
        kind = _OTHER_KINDS.get(widths[0], "")
        raise WrongUse(f"{path} has {widths[0]} floats and {widths[1]} ints {kind}".rstrip(), form, way_out)
    is_whole = floats.dtype == np.float32 and ints.dtype == np.int64 and offsets.dtype == np.int64 and offsets.ndim == 1
    if not is_whole or len(floats) != len(ints) or not len(offsets) or (np.diff(offsets) < 0).any():
        raise WrongUse(f"{path} has tensors that do not fit together", form, way_out)
    if offsets[0] != 0 or offsets[-1] != len(floats):
        raise WrongUse(f"{path} has games of {offsets[-1]:,} frames, but {len(floats):,} rows", form, way_out)
    config = value.get("encoding_config") or {}
    if not isinstance(config, dict):
        config = {}
    return EncodedFile(path, file.content_hash, floats, ints, offsets, config, widths == (58, 15), file.verify)


def convert(
    path: Path,
    out: Path,
    *,
    shard_frames: int = SHARD_FRAMES,
    progress: Callable[[int, int], None] = lambda n, of: None,
) -> EncodedReport:
    """Make the dataset in `out` of an encoded file, or complete it. One file per dataset.

    The file is compared with its own checksums first. Raises WrongUse (another form, damaged, another file's dataset),
    WorldModelError (disk full). Interrupted, it goes on where it was: the last commit stands.
    """
    began = time.monotonic()
    file = open_encoded(path)
    name = f"{path.name} {file.content_hash[:16]}"
    settings = Settings((FILTER,), 1, False, shard_frames)
    rejected: Counter[str] = Counter()
    accepted = known = frames = 0
    with writing(out, settings) as writer:
        seen = {record for _, record in writer.seen_files()}
        if strangers := [record for record in seen if not record.startswith(f"{name} ")]:
            raise WrongUse(f"{out} holds {strangers[0].rpartition(' ')[0]}", name, "convert into a new folder")
        if len(seen) < file.num_games:
            file.verify()
        last = time.monotonic()
        for index in range(file.num_games):
            record = f"{name} {index}"
            if record in seen:
                known += 1
                continue
            problem = _add(writer, file, index, record)
            if problem:
                rejected[problem] += 1
            else:
                accepted += 1
                frames += int(file.offsets[index + 1] - file.offsets[index])
            progress(index + 1, file.num_games)
            if time.monotonic() - last > COMMIT_EVERY_S:
                writer.commit()
                last = time.monotonic()
        manifest = writer.commit()
    return EncodedReport(
        accepted=accepted,
        rejected=dict(sorted(rejected.items())),
        known=known,
        frames=frames,
        seconds=time.monotonic() - began,
        num_games=manifest.num_games,
        num_frames=manifest.num_frames,
        content_hash=manifest.content_hash,
    )


def dataset_of(path: Path, cache: Path | None = None, *, say: Callable[[str], None] = lambda text: None) -> Path:
    """The dataset of an encoded file, converted once: in `cache`, or beside the file. Raises as `convert`.

    A folder that is a dataset is its own.
    """
    if path.is_dir():
        return path
    file = open_encoded(path)
    out = (cache or path.parent) / f"{path.stem}-{file.content_hash[:12]}"
    if (out / MANIFEST).exists():
        counts = read_manifest(out).counts
        if counts["accepted"] + sum(counts["rejected"].values()) == file.num_games:
            say(f"{path.name} was converted before: {out}")
            return out
    say(f"converting {path.name} ({file.num_games:,} games, {len(file.floats):,} frames) into {out}; {LACKS}")
    out.parent.mkdir(parents=True, exist_ok=True)
    report = convert(path, out)
    turned_down = "".join(f", {num:,} {reason}" for reason, num in report.rejected.items())
    say(f"converted in {report.seconds:.0f} s: {report.num_games:,} games, {report.num_frames:,} frames{turned_down}")
    return out


# ---- one game ----------------------------------------------------------------------------------------------------


def _add(writer: Writer, file: EncodedFile, index: int, record: str) -> str:
    """Add a game, or put on record why not. Returns that reason, or ""."""
    rows = slice(int(file.offsets[index]), int(file.offsets[index + 1]))
    floats, ints = np.asarray(file.floats[rows]), np.asarray(file.ints[rows])
    sha256 = hashlib.sha256(floats.tobytes() + ints.tobytes()).hexdigest()
    reason, detail, columns = "", "", {}
    if len(floats) == 0:
        reason = "no_frames"
    elif not np.isfinite(floats).all():
        reason, detail = "not_finite", f"{int((~np.isfinite(floats)).sum())} values"
    else:
        columns = _columns(floats, ints, file)
        detail = _outside(columns)
        reason = "out_of_vocabulary" if detail else ""
    writer.add_file(sha256, record, "rejected" if reason else "accepted", reason, detail)
    if not reason:
        is_train = index < int(file.num_games * TRAIN_SHARE)
        writer.add_game(NewGame(_row(columns, ints, sha256, record, writer.salt, is_train), columns, {}))
    return reason


def _columns(floats: NDArray[np.float32], ints: NDArray[np.int64], file: EncodedFile) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    num_floats, num_ints = floats.shape[1] // 2, (ints.shape[1] - 1) // 2
    for place, player in enumerate(PLAYERS):
        own = iter(floats[:, place * num_floats : (place + 1) * num_floats].T)
        codes = iter(ints[:, place * num_ints : (place + 1) * num_ints].T)

        def put(role: str, values: NDArray[Any], player: str = player) -> None:
            row = LAYOUT.the(role)
            columns[column_name(row, player)] = _typed(row, values)

        for role, key, scale in (*_NUMBERS, *((_AGE,) if file.age_as_number else ()), *_DYNAMICS):
            put(role, _unscaled(next(own), float(file.config.get(key, scale))))
        facing, _, on_ground = (next(own) > 0.5 for _ in range(_NUM_FLAGS))
        put("facing", np.where(facing, 1.0, -1.0))
        put("airborne", ~on_ground)
        for role in _STICKS:
            put(role, _on_grid(2.0 * next(own).astype(np.float64) - 1.0))
        put("trigger", next(own))
        word = np.zeros(len(floats), np.uint32)
        for mask in cast(Any, LAYOUT.pad_buttons.codec).masks:
            word |= np.where(next(own) > 0.5, np.uint32(mask), np.uint32(0))
        put("buttons", word)
        for role in _INTEGERS:
            values = next(codes)
            put(role, np.where(values == 0, 65535, values - 1) if role == "ground" else values)
        if not file.age_as_number:
            put("state_age", next(codes))
    for roles in _OPTIONAL:
        names = [column_name(LAYOUT.the(role), player) for role in roles for player in PLAYERS]
        if not any(columns[name].any() for name in names):
            for name in names:
                del columns[name]
    return columns


def _unscaled(values: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    """As it was before it was scaled; a whole number exactly, where rounding alone has moved it."""
    wide = values.astype(np.float64) / scale
    whole = np.rint(wide)
    return np.where(np.abs(wide - whole) <= 1.5e-7 * np.maximum(1.0, np.abs(whole)), whole, wide)


def _on_grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = np.rint(values * _GRID) / _GRID
    return np.asarray(np.where(np.abs(values - steps) < 1e-5, steps, values))


def _typed(row: Field, values: NDArray[Any]) -> NDArray[Any]:
    dtype = np.dtype(row.dtype)
    if dtype.kind == "f":
        return np.asarray(values, dtype)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max), dtype)


def _outside(columns: Mapping[str, NDArray[Any]]) -> str:
    """A value that no replay has, in a field that has none for *other*; "" if there is none."""
    for player in PLAYERS:
        for row in LAYOUT.categories:
            codec, name = cast(Category, row.codec), column_name(row, player)
            if codec.out_of_range is OutOfRange.REJECT and name in columns and columns[name].max() >= codec.vocab:
                return f"{name} is {columns[name].max()}"
    return ""


def _row(
    columns: Mapping[str, NDArray[Any]], ints: NDArray[np.int64], sha256: str, record: str, salt: bytes, is_train: bool
) -> dict[str, Any]:
    stage = int(ints[0, -1])
    row: dict[str, Any] = {
        "game_id": sha256[:16],
        "sha256": sha256,
        "frames_hash": frames_hash(dict(columns), {}),
        "name": record,
        "num_frames": len(ints),
        "first_frame_id": -123,
        "num_rollback_rows": 0,
        "version": "encoded",
        "stage_name": stage_name(stage),
        "match_fingerprint": salted(sha256, salt),
        "match_group": salted(sha256, salt),
        "split": "train" if is_train else "val",
    }
    row |= {game_row.name: stage for game_row in LAYOUT.rows if game_row.scope is Scope.GAME}
    for player in PLAYERS:
        internal = int(columns[column_name(LAYOUT.the("character"), player)][0])
        external = INTERNAL_TO_EXTERNAL.get(internal, internal)
        first_stocks = int(columns[column_name(LAYOUT.the("stocks"), player)][0])
        row |= {f"{player}_character": external, f"{player}_character_name": external_name(external)}
        row |= {f"{player}_stocks": first_stocks, f"{player}_kind": "human"}
    return row
